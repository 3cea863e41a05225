"""Pictures in texts are what the commands above them draw, to the byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netc.cli.main import main

ROOT = Path(__file__).parents[2]


DRAWN = [
    (text.relative_to(ROOT).as_posix(), *found)
    for text in (ROOT / "README.md", ROOT / "docs" / "plan.md")
    for found in re.findall(r"`netc (plan [^`]+\.svg)`[^`]*\n\n!\[.*\]\((.*)\)", text.read_text())
]


@pytest.mark.parametrize(("text", "command", "picture"), DRAWN)
def test_a_picture_is_drawn_by_its_command(
    text: str, command: str, picture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *words, name = command.split()
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "no-times-of-this-machine"))
    assert main([*words, str(tmp_path / name)]) == 0
    shown = (ROOT / text).parent / picture
    assert (tmp_path / name).read_bytes() == shown.read_bytes()


def test_the_texts_have_pictures() -> None:
    assert [text for text, *_ in DRAWN] == ["README.md", "docs/plan.md", "docs/plan.md"]


def test_every_picture_of_the_docs_is_shown_somewhere() -> None:
    texts = [path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))]
    names = {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    shown = {name for name in names if any(f"pictures/{name})" in text for text in texts)}
    assert names == shown
