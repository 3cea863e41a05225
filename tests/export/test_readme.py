"""The picture in README is what the command above it draws, to the byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netc.cli.main import main

ROOT = Path(__file__).parents[2]


def test_the_picture_in_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text()
    found = re.search(r"`netc (plan [^`]+)`[^`]*\n\n!\[.*\]\((.*)\)", text)
    assert found is not None
    *words, name = found[1].split()
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "no-times-of-this-machine"))
    assert main([*words, str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_bytes() == (ROOT / found[2]).read_bytes()


def test_every_picture_of_the_docs_is_shown_somewhere() -> None:
    texts = [path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))]
    names = {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
    shown = {name for name in names if any(f"pictures/{name})" in text for text in texts)}
    assert names == shown
