"""What docs/python.md shows happens, and the scripts of docs/examples run."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from netc.api.choices import PLAN_NAMES
from netc.api.train_choices import TRAIN_NAMES

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
SAID = {
    "bring_pytorch_model": "pip install torch" if find_spec("torch") is None else "predicts with",
    "compare_strategies": "weights are ",
    "plan_for_elsewhere": "predicted on 'h100'",
    "train_own_images": "saved stripes.onnx stripes.safetensors",
}
"""By script what it says near its end."""


def test_every_example_of_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testfile(
        str(DOCS / "python.md"), module_relative=False, optionflags=flags, encoding="utf-8"
    )
    assert found.failed == 0 and found.attempted > 40
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(script: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, cwd=tmp_path,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert SAID.get(script.stem, "") in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == []


def test_all_words_are_named() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    for name in (*PLAN_NAMES, *TRAIN_NAMES):
        assert f"`{name}`" in page or f"`{name}=" in page, name


def test_all_examples_are_known() -> None:
    assert set(SAID) <= {path.stem for path in EXAMPLES}
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    assert all(f"examples/{path.name}" in page for path in EXAMPLES)
