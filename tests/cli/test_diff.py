"""`netc diff`: where two plans of a network differ, and what each costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netc.cli.main import main

DIGITS = "models/digits.net"
ASKED = ("--cluster", "p100", "--batch", "64", "--devices", "4")


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main([*arguments, *ASKED, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_layers_that_differ_are_those_that_compiling_splits_otherwise(
    capsys: pytest.CaptureFixture[str],
) -> None:
    *layers, result = said(capsys, "diff", DIGITS, "data", "hybrid", "--scheme", "a")
    whole = {}
    for name in ("data", "hybrid"):
        rows = said(capsys, "compile", DIGITS, "--strategy", name, "--scheme", "a")
        whole[name] = (
            rows[-1]["step_seconds"],
            {row["layer"]: row["split"] for row in rows if row["event"] == "layer"},
        )
    (first, ones), (second, others) = whole.values()
    expected = [layer for layer, split in ones.items() if split != others[layer]]
    assert [row["layer"] for row in layers] == expected and result["differing"] == len(expected)
    assert (result["first"]["seconds"], result["second"]["seconds"]) == (first, second)
    for row in layers:
        assert row["first"]["split"] == ones[row["layer"]]
        assert row["second"]["split"] == others[row["layer"]]


def test_a_plan_does_not_differ_from_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "plan.toml")
    assert main(["compile", DIGITS, *ASKED, "--strategy", "model", "--save-strategy", file]) == 0
    capsys.readouterr()
    (result,) = said(capsys, "diff", DIGITS, "model", file)
    assert result["differing"] == 0
    assert result["first"]["seconds"] == result["second"]["seconds"]


def test_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", DIGITS, "data", "hybrid", *ASKED]) == 0
    shown = capsys.readouterr().out
    assert "layers differ" in shown and "n | k" in shown and "hybrid, scheme a" in shown


def test_no_such_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", DIGITS, "data", "date", *ASKED]) == 2
    assert "did you mean 'data'?" in capsys.readouterr().err
