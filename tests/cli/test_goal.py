"""`--goal inference`: plans, prices and pictures of the step that evaluation takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from netc.cli.main import main, parser

DIGITS = "models/digits.net"
ASKED = ("--cluster", "p100", "--batch", "64")
INFERENCE = ("--goal", "inference")


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


def said(capsys: pytest.CaptureFixture[str], verb: str, *arguments: str) -> list[dict[str, Any]]:
    assert main([verb, DIGITS, *arguments, *ASKED, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("strategy", ["single", "data", "model", "hybrid", "spatial", "auto"])
def test_inference_takes_less_than_training(
    strategy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--devices", "4", "--strategy", strategy)
    trained, inferred = (
        said(capsys, "compile", *asked, *goal)[-1] for goal in ((), INFERENCE)
    )  # fmt: skip
    assert inferred["step_seconds"] < trained["step_seconds"]
    assert max(inferred["memory_bytes"]) < max(trained["memory_bytes"])
    assert inferred["scheme"] == ""


def test_one_device_holds_weights_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", DIGITS, *ASKED, *INFERENCE]) == 0
    shown = capsys.readouterr().out
    assert "batch 64, fp32, inference" in shown and ": weights 287 kB" in shown


def test_the_plan_found_is_the_best_and_is_kept_for_training_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "found.toml")
    asked = ("--devices", "4", *INFERENCE)
    found = said(capsys, "compile", *asked, "--strategy", "auto", "--save-strategy", file)
    plans = [line for line in found if line["event"] == "candidate"]
    (taken,) = (plan for plan in plans if plan["chosen"])
    fixed = [p["step_seconds"] for p in plans if not p["name"].startswith("search")]
    assert taken["step_seconds"] <= min(fixed)
    assert {each["name"] for each in plans if each["name"] not in (
        "single", "data", "model", "hybrid", "spatial")} <= {"search"}  # fmt: skip
    again = said(capsys, "compile", *INFERENCE, "--strategy", file)[-1]
    assert again["step_seconds"] == found[-1]["step_seconds"]
    trained = said(capsys, "compile", "--strategy", file)
    splits = {line["layer"]: line["split"] for line in trained if line["event"] == "layer"}
    # Inference has no dropout: it is split as what it reads.
    assert splits["dropout1"] == splits["relu3"]


def test_every_verb_that_plans_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    plan = ("--devices", "2", "--strategy", "hybrid", *INFERENCE)
    step = said(capsys, "compile", *plan)[-1]["step_seconds"]
    assert said(capsys, "explain", *plan)[-1]["step_seconds"] == step
    layer = said(capsys, "explain", "--layer", "fc1", *plan)
    assert layer[-1]["step_seconds"] == step
    rows = said(capsys, "compare", "--devices", "2", *INFERENCE)
    (hybrid,) = (row for row in rows if row.get("strategy") == "hybrid")
    assert hybrid["seconds"] == step
    difference = said(capsys, "diff", "data", "hybrid", "--devices", "2", *INFERENCE)[-1]
    assert difference["second"]["seconds"] == step
    for suffix in ("svg", "json", "dot"):
        asked = ["plan", DIGITS, *ASKED, *INFERENCE, "--devices", "2"]
        assert main([*asked, "-o", str(tmp_path / f"x.{suffix}")]) == 0
        text = (tmp_path / f"x.{suffix}").read_text()
        assert "fc2" in text and "dropout1" not in text
    emitted = ["compile", DIGITS, *ASKED, *INFERENCE, "--emit"]
    assert main([*emitted, "graph"]) == 0
    assert "phase=backward" not in capsys.readouterr().out
    assert main([*emitted, "graph", "--program", "train"]) == 2
    assert "prints inference's" in capsys.readouterr().err


def test_verbs_that_infer_plan_for_it() -> None:
    for verb, goal in (("eval", "inference"), ("predict", "inference"), ("run", "training")):
        more = ["a.jpg"] if verb == "predict" else []
        assert parser().parse_args([verb, DIGITS, *more]).goal == goal
