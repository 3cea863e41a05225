"""What the interface returns can be copied, pickled and sent to other processes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_cases import ARRAYS, IMAGES, tiny

import netc

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of each, which has told all that it may keep."""
    plan, file = tiny().plan(devices=2, scheme="b"), tmp_path_factory.mktemp("copies") / "tiny.netc"
    plan.save(file)
    found = {
        "network": tiny(),
        "plan": plan,
        "trained": tiny().run(data=ARRAYS, steps=2, out=file.parent / "o"),
        "program": netc.load_program(file),
        "comparison": tiny().compare(devices=[1, 2], cluster="h100"),
        "crossovers": tiny().crossovers("hybrid", "data", cluster="h100"),
        "difference": tiny().diff("data", "hybrid", devices=2, cluster="h100"),
        "explanation": plan.explain(),
        "choices": plan.choices_of("fc*"),
        "kernels": plan.kernels(),
        "profile": tiny().plan().profile(steps=2),
        "evaluation": tiny().evaluate(data=ARRAYS),
        "survey": tiny().survey(data=ARRAYS),
        "report": netc.report(file.parent / "o", network=tiny(), data=ARRAYS),
        "summary": tiny().summary(),
        "error": netc.UsageError(netc.Diagnostic("E051", "wrong.")),
    }
    assert all(map(repr, found.values()))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_copies_are_the_same(way: str, values: dict[str, Any]) -> None:
    for name, value in values.items():
        assert repr(WAYS[way](value)) == repr(value), name


@pytest.mark.parametrize("way", WAYS)
def test_copies_do_the_same(way: str, values: dict[str, Any], tmp_path: Path) -> None:
    trained, plan = WAYS[way](values["trained"]), WAYS[way](values["plan"])
    np.testing.assert_array_equal(trained.predict(IMAGES), values["trained"].predict(IMAGES))
    plan.save(tmp_path / "copy.netc")
    values["plan"].save(tmp_path / "own.netc")
    assert (tmp_path / "copy.netc").read_bytes() == (tmp_path / "own.netc").read_bytes()
