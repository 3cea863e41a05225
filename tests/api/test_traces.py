"""Traces from Python: written by trainings, read as values."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_cases import ARRAYS, refused, tiny

import netc
from netc.cli.main import main


def test_steps_of_a_training_are_traced_and_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "")
    file = tmp_path / "steps.json"
    tiny().run(data=ARRAYS, devices=2, steps=7, trace=file, trace_steps=2)
    found = netc.load_trace(file)
    assert [step.step for step in found.trace.steps] == [4, 5]
    assert found.step_seconds and found.predicted_seconds and len(found.devices) == 2
    assert found.layers and {each.layer for each in found.layers} >= {"conv1", "fc1"}
    assert main(["trace", str(file)]) == 0
    assert capsys.readouterr().out == f"{found!r}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["steps.json"]


def test_the_predicted_step_is_a_trace_too(tmp_path: Path) -> None:
    plan = tiny().plan(devices=2, cluster="h100", strategy="data")
    plan.save_trace(tmp_path / "x.json")
    found = netc.load_trace(tmp_path / "x.json")
    assert found.step_seconds is None and found.layers == () and found.streams == ()
    assert found.predicted_seconds == pytest.approx(plan.step_seconds, rel=1e-3)
    assert found.trace.prices == "h100"


def test_what_cannot_be_traced_is_refused(tmp_path: Path) -> None:
    refused(lambda: tiny().run(data=ARRAYS, trace_steps=2), "E051")
    refused(lambda: tiny().run(data=ARRAYS, trace=tmp_path / "no" / "x.json"), "E056")
    file = tmp_path / "x.json"
    refused(lambda: tiny().run(data=ARRAYS, steps=2, trace=file, trace_steps=3), "E051")
    refused(lambda: netc.load_trace(tmp_path / "x.json"), "E061")
    with tiny().train(data=ARRAYS, steps=6, trace=tmp_path / "x.json") as training:
        next(training)
    assert not (tmp_path / "x.json").exists()
