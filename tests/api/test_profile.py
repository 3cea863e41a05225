"""A measured step, as a value."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_cases import refused, tiny


def test_every_layer_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "")
    found = tiny().profile(steps=2, devices=2, strategy="data")
    assert {each.layer for each in found.layers} >= {"conv1", "fc1"}
    assert {each.phase for each in found.passes} == {"forward", "backward", "update"}
    for parts in (found.layers, found.launches, found.passes):
        whole = sum(each.seconds for each in parts)
        assert whole == pytest.approx(sum(found.timing.launches.values()))
    assert found.images_per_second == 16 / found.seconds
    assert len(found.timing.steps) == 2 and found.predicted_seconds > 0
    text = repr(found)
    assert "median of 2 steps" in text and "ceilings  " in text and "of it, waiting" in text
    assert "conv.reference + bias" in found.table(launches=True)
    assert found._repr_svg_().startswith("<svg") or "<svg" in found._repr_svg_()
    found.save(tmp_path / "roof.svg")
    assert (tmp_path / "roof.svg").read_text() == found._repr_svg_()
    refused(lambda: found.save(tmp_path / "roof.txt"), "E056")


def test_a_compiled_program_is_measured_too() -> None:
    plan = tiny().plan()
    assert plan.profile(steps=1).timing.steps
    assert next(each.layer for each in plan.kernels()) == "conv1"
    refused(lambda: plan.profile(steps=0), "E051")
