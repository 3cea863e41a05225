"""`rate_batch` of a recipe: the rate in proportion to the batch (Goyal et al. 2017, 2.1)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.cli.main import main
from netc_runtime.io.checkpoint import latest, load, meta_of, settings_in

TEXT = """net t
input image 1x8x8
fc 10
softmax_loss
train { data digits() ; batch 96 ; sgd lr=0.125 momentum=0.5 decay=1e-3 ; epochs 4
        schedule step(every=2ep, gamma=0.5) }
"""
SCALED = "train.rate_batch=48"


@dataclass
class Runs:
    """Trainings of one network."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, out: str, *words: str, network: str = "t.net") -> list[dict[str, Any]]:
        """What a training says."""
        asked = ["run", str(self.folder / network), "--out", str(self.folder / out), *words]
        if network == "t.net":
            asked += ["--kernels", "reference"]
        assert main([*asked, "--json"]) == 0
        return [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]

    def file(self, out: str) -> Path:
        file = latest(self.folder / out)
        assert file is not None
        return file

    def rates(self, out: str) -> list[float]:
        lines = (self.folder / out / "metrics.jsonl").read_text().splitlines()
        return [row["learning_rate"] for row in map(json.loads, lines) if "loss" in row]


@pytest.fixture
def runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Runs:
    (tmp_path / "t.net").write_text(TEXT)
    return Runs(tmp_path, capsys)


@pytest.mark.parametrize(("batch", "rate"), [(24, 0.0625), (48, 0.125), (96, 0.25), (72, 0.1875)])
def test_a_step_is_that_of_the_rate_in_force(runs: Runs, batch: int, rate: float) -> None:
    """To the bit."""
    words = ["--batch", str(batch), "--steps", "3"]
    start, *_ = runs.run("scaled", *words, "--set", SCALED)
    runs.run("plain", *words, "--lr", str(rate))
    assert (start["lr"], start["rate_batch"]) == (rate, 48)
    mine, other = (load(runs.file(out))[0] for out in ("scaled", "plain"))
    assert mine.keys() == other.keys()
    for name, values in mine.items():
        np.testing.assert_array_equal(values, other[name])
    assert settings_in(meta_of(runs.file("scaled")))["lr"] == str(rate)


def test_without_it_a_rate_is_for_any_batch(runs: Runs) -> None:
    for batch in ("24", "96"):
        start, *_ = runs.run("o", "--batch", batch, "--steps", "1", "--replace")
        assert (start["lr"], start["rate_batch"]) == (0.125, None)


def test_a_rate_of_the_command_is_scaled_too(runs: Runs) -> None:
    start, *_ = runs.run("o", "--set", SCALED, "--lr", "0.5", "--batch", "24", "--steps", "1")
    assert start["lr"] == 0.25
    assert runs.rates("o") == [0.25]


def test_a_compiled_program_scales_what_it_is_given(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    program = runs.folder / "t.netc"
    words = ["--set", SCALED, "--batch", "24", "--kernels", "reference", "-o", str(program)]
    assert main(["compile", str(runs.folder / "t.net"), *words]) == 0
    capsys.readouterr()
    start, *_ = runs.run("a", "--steps", "1", network="t.netc")
    assert start["lr"] == 0.0625
    start, *_ = runs.run("b", "--steps", "1", "--lr", "1", network="t.netc")
    assert start["lr"] == 0.5


@pytest.mark.parametrize(("first", "second"), [(96, 24), (24, 96)])
def test_another_batch_goes_on_at_its_rate(runs: Runs, first: int, second: int) -> None:
    """1,437 images: 14 steps of 96, 59 of 24. The rate is halved after two epochs."""
    words = ["--set", SCALED, "--resume", "--batch", str(second)]
    runs.run("o", *words[:2], "--epochs", "1", "--batch", str(first))
    start, *_ = runs.run("o", *words, "--epochs", "3")
    rate, before = 0.125 * second / 48, 0.125 * first / 48
    assert start["changed"]["lr"] == [str(before), str(rate)]
    assert start["changed"]["batch"] == [str(first), str(second)]
    was, now = 1437 // first, 1437 // second
    assert runs.rates("o") == [before] * was + [rate] * now + [rate / 2] * now


def test_a_run_says_it(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(runs.folder / "t.net"), "--out", str(runs.folder / "o"), "--steps", "1",
             "--plain"]  # fmt: skip
    assert main([*words, "--set", SCALED]) == 0
    assert "\nrate      0.25 at batch 96, from 0.125 for 48\n" in capsys.readouterr().out
    assert main([*words, "--replace"]) == 0
    assert "\nrate " not in capsys.readouterr().out
