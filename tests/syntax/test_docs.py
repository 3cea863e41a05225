"""The language reference: its examples parse, and it lists every message."""

import re
from pathlib import Path

import pytest

import netc.syntax
from netc.syntax import parse_text, verify_network
from netc.syntax.layers import IDENTITY, KINDS
from netc.syntax.recipe import AUGMENTATIONS, DATA, SCHEDULES, SETTINGS

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "language.md").read_text()
EXAMPLES = re.findall(r"```net( fragment)?\n(.*?)```", REFERENCE, re.DOTALL)
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
HEAD = "net n(classes = 10)\ninput image 3x32x32\n"


@pytest.mark.parametrize(("fragment", "text"), EXAMPLES)
def test_an_example(fragment: str, text: str) -> None:
    verify_network(parse_text(HEAD + text + "fc 10 | softmax_loss" if fragment else text))


def test_every_message_is_listed() -> None:
    folder = Path(netc.syntax.__file__).parent
    used = {
        code for path in folder.glob("*.py") for code in re.findall(r'"(E\d{3})"', path.read_text())
    }
    assert re.findall(r"^\| (E\d{3}) \|", REFERENCE, re.MULTILINE) == sorted(used)


def test_every_word_is_explained() -> None:
    options = {option.name for kind in KINDS.values() for option in kind.options}
    for word in {*KINDS, IDENTITY, *options, *SETTINGS}:
        assert f"`{word}`" in REFERENCE, word
    for word in {*DATA, *SCHEDULES, *AUGMENTATIONS}:
        assert f"`{word}(" in REFERENCE, word


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_table_is_whole(path: Path) -> None:
    """An empty line ends a table: rows behind it are none, unless a header begins another."""
    lines = ["", *path.read_text(encoding="utf-8").splitlines(), ""]
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if line.startswith("| ") and not before.startswith("|"):
            assert re.fullmatch(r"\|( *:?-+:? *\|)+", after), f"no header: {line}"
