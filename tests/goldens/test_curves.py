"""Fifty steps of small trainings go as PyTorch's go, in float64: losses, weights, their averages
and an evaluation, from the golden file (`make_curves.py` makes it)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from curve_cases import ALL, CURVES, FILE, OPTIMIZERS, Curve, run_netc

KNOWN: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
TOLERANCE = 1e-6


def check(curve: Curve, result: dict[str, Any]) -> None:
    wanted = KNOWN[curve.name]
    np.testing.assert_allclose(result["losses"], wanted["losses"], TOLERANCE)
    assert result["evaluated"] == pytest.approx(wanted["evaluated"], TOLERANCE)
    for side in ("weights", "averages"):
        assert result[side].keys() == wanted[side].keys()
        for name, numbers in wanted[side].items():
            np.testing.assert_allclose(result[side][name], numbers, TOLERANCE, TOLERANCE)


def test_every_curve_is_there() -> None:
    assert KNOWN.keys() == {curve.name for curve in CURVES}


def test_settings_matter() -> None:
    """No two trainings have the same losses, but for those that differ in what is evaluated."""
    told = {curve: tuple(KNOWN[curve.name]["losses"]) for curve in CURVES}
    plain = {Curve(word) for word in OPTIMIZERS}
    averaging = {curve: losses for curve, losses in told.items() if curve.ema is None}
    assert len(set(averaging.values())) == len(averaging)
    for curve in plain:
        averaged = Curve(curve.optimizer, ema=ALL["ema"])
        assert told[averaged] == told[curve]
        assert KNOWN[averaged.name]["evaluated"] != KNOWN[curve.name]["evaluated"]


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_one_device(curve: Curve) -> None:
    check(curve, run_netc(curve, strategy="single"))


PLACED: dict[str, dict[str, Any]] = {
    "hybrid, scheme b": {"devices": 3, "strategy": "hybrid", "scheme": "b"},
    "data, sharded": {"devices": 4, "strategy": "data", "updates": "sharded"},
}


@pytest.mark.parametrize("where", PLACED)
@pytest.mark.parametrize("word", OPTIMIZERS)
def test_all_settings_on_several_devices(word: str, where: str) -> None:
    curve = Curve(word, **ALL)
    check(curve, run_netc(curve, **PLACED[where]))
