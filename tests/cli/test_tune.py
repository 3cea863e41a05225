"""`netc tune`, the table it keeps, and who reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netc.cli.main import main

NETWORK = """net one
input image 8x8x8
conv 3x3 8 pad=1 | relu
fc 10
softmax_loss
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "one.net"
    path.write_text(NETWORK)
    return str(path)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def chosen(
    file: str, capsys: pytest.CaptureFixture[str], kernels: str = "fast"
) -> dict[str, dict[str, Any]]:
    """The launches by their phase and layer."""
    assert main(["explain", file, "--batch", "4", "--json", "--kernels", kernels]) == 0
    return {f"{row['layer']} {row['phase']}": row for row in lines(capsys)}


def test_what_is_fastest_is_chosen_from_then_on(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {row["chosen_by"] for row in chosen(file, capsys).values()}
    assert before == {"heuristic", ""}
    assert main(["tune", file, "--batch", "4", "--json"]) == 0
    *calls, result = lines(capsys)
    assert {row["chosen_by"] for row in chosen(file, capsys).values()} == {"measured", ""}
    assert {call["kernel"] for call in calls} == {"conv", "conv_dw"}
    assert result["calls"] == len(calls) == 2
    table = tmp_path / "cache" / "kernels.json"
    assert result["table"] == str(table)
    forward = next(call["seconds"] for call in calls if call["kernel"] == "conv")
    best = min(forward, key=forward.__getitem__)
    row = chosen(file, capsys)["conv1 forward"]
    assert row["kernels"] == f"conv.{best} + bias + relu"
    assert row["seconds"] == forward[best]
    text = table.read_text()
    slow, fast = f'"{best}": {forward[best]}', f'"{best}": 1000.0'
    assert text.count(slow) == 1
    table.write_text(text.replace(slow, fast))
    (other,) = set(forward) - {best}
    assert chosen(file, capsys)["conv1 forward"]["kernels"] == f"conv.{other} + bias + relu"


def test_small_steps_run_on_the_reference_kernels(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = chosen(file, capsys, "auto")
    assert all(".reference" in row["kernels"] for row in rows.values())
    assert main(["explain", file, "--batch", "20000", "--json", "--kernels"]) == 0
    assert any(row["kernels"].startswith("conv.winograd") for row in lines(capsys))


def test_reference_kernels_on_demand(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = chosen(file, capsys, "reference")
    assert all(".reference" in row["kernels"] for row in rows.values())
    assert main(["tune", file, "--kernels", "reference"]) == 6
    assert "error[E077]: there are no kernels to choose from" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[", "{}", '{"version": 1}', '{"version": 1, "machines": 3}'])
def test_a_damaged_table_counts_for_nothing(
    file: str, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "cache" / "kernels.json"
    table.parent.mkdir()
    table.write_text(text)
    assert "conv1 forward" in chosen(file, capsys)


def test_a_table_of_a_later_version_counts_for_nothing(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "cache" / "kernels.json"
    table.parent.mkdir()
    table.write_text('{"version": 99, "anything": []}')
    assert "conv1 forward" in chosen(file, capsys)
