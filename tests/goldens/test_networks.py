"""Whole networks give PyTorch's loss, class scores, running statistics and gradients, on one device
and under `hybrid` on three, from the figures in the golden file (`make_networks.py` makes it).

`pytest tests/goldens --full` takes images of the papers' sizes besides small ones.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from golden_networks import (
    FILE,
    SEED,
    STATISTICS,
    Array,
    Case,
    Result,
    distances,
    run_netc,
    scales,
    summary,
    weights,
)

Entry = dict[str, Any]
FLOAT64 = 1e-10
"""Difference of norms and projections, relative to the norm."""
FLOAT32 = 1e-4
"""Relative L2 difference of loss and class scores, where PyTorch itself is not further off."""
TIMES = 3
"""As many times PyTorch's distance of float32 from float64 may netc's be."""
FLOOR = 4 * np.finfo(np.float32).eps
"""Distances below this are accidents of rounding, in PyTorch too."""
ROUNDED = ("googlenet", "resnet18")
"""Networks of which small images go through float32, too."""
PLACED = {"one device": ("single", 1), "hybrid on 3": ("hybrid", 3)}


def case_of(entry: Entry) -> Case:
    return Case(**entry["case"])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Full sizes are collected only when asked for."""
    full = metafunc.config.getoption("--full")
    smooth = metafunc.function is test_float32_is_as_exact_as_pytorchs
    rounded = metafunc.function is test_float32_is_close
    entries = [
        entry
        for entry in json.loads(FILE.read_text())
        if case_of(entry).smooth == smooth
        and (full or not entry["full"])
        and (full or not rounded or case_of(entry).model in ROUNDED)
    ]
    metafunc.parametrize("entry", entries, ids=[case_of(entry).name for entry in entries])


@lru_cache(1)
def given(case: Case) -> dict[str, Array]:
    return weights(case)


def run(case: Case, place: str, precision: str) -> Result:
    return run_netc(case, given(case), *PLACED[place], precision)


@pytest.mark.parametrize("place", PLACED)
def test_float64_equals_pytorch(entry: Entry, place: str) -> None:
    assert entry["seed"] == SEED
    found, expected = summary(run(case_of(entry), place, "fp64")), entry["float64"]
    assert found.keys() == expected.keys()
    forward = set(list(expected)[:4])
    gradients = [n for n in expected if n not in forward and not n.endswith(STATISTICS)]
    scale = scales({name: numbers[0] for name, numbers in expected.items()}, gradients)
    for name, numbers in expected.items():
        apart = np.abs(np.subtract(found[name], numbers)).max() / scale[name]
        assert apart <= FLOAT64, f"{name} differs by {apart:.1e}"


def test_float32_is_close(entry: Entry) -> None:
    case = case_of(entry)
    found = summary(run(case, "hybrid on 3", "fp32"))
    for name, figure in entry["float32"].items():
        numbers = entry["float64"][name]
        apart = np.abs(np.subtract(found[name], numbers)).max() / numbers[0]
        assert apart <= max(FLOAT32, TIMES * figure), f"{name} differs by {apart:.1e}"


def test_float32_is_as_exact_as_pytorchs(entry: Entry) -> None:
    """Of a network without the jumps in the gradients of relu and maxpool."""
    case = case_of(entry)
    exact = run(case, "one device", "fp64")
    forward = summary(exact)
    for name, numbers in entry["float64"].items():
        np.testing.assert_allclose(forward[name], numbers, 0, FLOAT64 * numbers[0])
    for place in PLACED:
        apart = distances(run(case, place, "fp32"), exact)
        assert apart.keys() == entry["float32"].keys()
        for name, figure in entry["float32"].items():
            if "loss" in name:
                assert apart[name] <= FLOAT32
            else:
                assert apart[name] <= TIMES * figure + FLOOR, f"{name}: {apart[name]:.1e}"
