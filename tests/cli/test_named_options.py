"""What texts tell people to do can be done: every option and verb that one names is there."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from netc.cli.main import VERBS, parser

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("netc", "runtime") for path in (ROOT / folder).rglob("*.py")
)  # fmt: skip
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = {"--force-reinstall", "--config-settings", "--upgrade"}
"""Options of pip."""
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
COMMAND = re.compile(r"(?:['\"`(]|\$ |: )netc ([a-z]+)((?:[^'`\n]|'[^'\n]*')*)")
"""A verb and what follows it, where a text says that it is a command."""


def options() -> dict[str, set[str]]:
    """The options of every verb."""
    (verbs,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {
        name: {option for action in sub._actions for option in action.option_strings}
        for name, sub in verbs.choices.items()
    }


KNOWN = options()
EVERY = set().union(*KNOWN.values()) | {"--version"}


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the strings of a source, without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in said:
            yield node.lineno, node.value


def unknown(text: str) -> list[str]:
    """Return the options and verbs in `text` that there are not, also of the verb it names."""
    found = [option for option in OPTION.findall(text) if option not in EVERY | OTHERS]
    for verb, rest in COMMAND.findall(text):
        known = KNOWN.get(verb, EVERY)
        found += [] if verb in VERBS else [f"netc {verb}"]
        found += [f"netc {verb} {o}" for o in OPTION.findall(rest.split(";")[0]) if o not in known]
    return found


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page; commands in its blocks of code are quoted as in its text."""
    code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        code ^= line.startswith("```")
        yield number, f"`{line}`" if code and line.startswith("netc ") else line


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_message_names_is_there(path: Path) -> None:
    assert not [(line, wrong) for line, text in texts(path) if (wrong := unknown(text))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_a_page_names_is_there(path: Path) -> None:
    assert not [(number, wrong) for number, line in lines(path) if (wrong := unknown(line))]


def test_every_option_is_found() -> None:
    assert unknown("take '--epcohs 3'") == ["--epcohs"]
    assert unknown("`netc chek NET`") == ["netc chek"]
    assert unknown("`netc check NET --devices 4`") == ["netc check --devices"]
    assert unknown("'netc run NET --devices 4'") == []
