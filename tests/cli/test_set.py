"""`--set` at the command line: which verbs take it, what counts, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netc.cli.arguments import verbs_of
from netc.cli.main import main, parser
from netc_runtime.io.checkpoint import latest, meta_of, settings_in

TEXT = """net t
input image 1x8x8
fc 10
softmax_loss
train { data digits() ; batch 96 ; sgd lr=0.125 ; epochs 2 }
"""
Events = list[dict[str, Any]]


@pytest.fixture
def network(tmp_path: Path) -> str:
    path = tmp_path / "t.net"
    path.write_text(TEXT)
    return str(path)


def events(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Events:
    assert main([*words, "--json"]) == code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def trained(
    capsys: pytest.CaptureFixture[str], network: str, out: Path, *words: str
) -> dict[str, Any]:
    """What a training says at its start."""
    asked = ("run", network, "--kernels", "reference", "--steps", "1", "--out", str(out), *words)
    return events(capsys, *asked)[0]


def test_every_verb_takes_it_that_takes_parameters() -> None:
    known = {
        verb: {name for action in each._actions for name in action.option_strings}
        for verb, each in verbs_of(parser()).items()
    }
    # A report evaluates what was trained: its network and data, whatever the recipe.
    assert {v for v, names in known.items() if "--set" in names} == {
        verb for verb, names in known.items() if "-D" in names and verb != "report"
    }


def test_named_options_count_above_it(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--set", "train.sgd.lr=0.5", "--set", "train.epochs=3", "--set", "train.seed=4",
            "--set", "train.batch=48", "--set", "train.sgd.momentum=0.75"]  # fmt: skip
    start = trained(capsys, network, tmp_path / "a", *told)
    assert (start["lr"], start["epochs"], start["seed"], start["batch"]) == (0.5, 3, 4, 48)
    assert start["optimizer"] == {"name": "sgd", "momentum": 0.75, "decay": 0.0}
    named = ["--lr", "0.25", "--epochs", "5", "--seed", "6", "--batch", "24"]
    start = trained(capsys, network, tmp_path / "b", *named, *told)
    assert (start["lr"], start["epochs"], start["seed"], start["batch"]) == (0.25, 5, 6, 24)


def test_checkpoints_say_what_is_in_force_and_compare_it(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    trained(capsys, network, out, "--set", "train.sgd.lr=0.5", "--set", "train.augment=shift(1)")
    file = latest(out)
    assert file is not None
    settings = settings_in(meta_of(file))
    assert (settings["lr"], settings["augment"]) == ("0.5", "shift(1)")
    start = trained(capsys, network, out, "--resume", "--set", "train.sgd.lr=0.5")
    assert start["changed"] == {"augment": ["shift(1)", ""]}


def test_a_compiled_program_keeps_it(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, told = str(tmp_path / "t.netc"), ["--set", "train.sgd.lr=0.5"]
    events(capsys, "compile", network, *told, "-o", program)
    assert trained(capsys, program, tmp_path / "runs")["lr"] == 0.5
    (error,) = events(capsys, "run", program, *told, code=2)
    assert error["diagnostics"][0]["message"].startswith("'--set' cannot change a compiled program")


def test_a_report_finds_data_that_were_set(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    trained(capsys, network, out, "--set", "train.data=synthetic(train=96, test=7)")
    (result,) = (e for e in events(capsys, "report", str(out)) if e["event"] == "result")
    assert result["test_images"] == 7


def test_a_mistake_has_its_place(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", network, "--set", "train.epochs=2", "--set", "train.sgd.lr=-1"]) == 2
    assert "--> --set:2:11\n" in capsys.readouterr().err
    (error,) = events(capsys, "check", network, "--set", "train.sgd.lr=-1", code=2)
    assert error["diagnostics"][0]["place"] == "--set:1:11"


def test_a_data_set_that_is_set_is_surveyed(
    network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "train.data=synthetic(train=11, test=3)"
    (result,) = (
        each for each in events(capsys, "data", network, "--set", told) if each["event"] == "result"
    )
    assert (result["train_images"], result["test_images"]) == (11, 3)
