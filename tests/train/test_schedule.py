"""Learning rates: their values, and what is said of wrong schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from netc_runtime.train.schedule import learning_rate


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (("constant", {}), {0: 0.1, 999: 0.1}),
        (("step", {"every": 3, "gamma": 0.5}), {0: 0.1, 29: 0.1, 30: 0.05, 59: 0.05, 60: 0.025}),
        (("step", {"every": 0.5, "gamma": 0.1}), {4: 0.1, 5: 0.01, 10: 0.001}),
        (("poly", {"power": 1}), {0: 0.1, 50: 0.05, 99: 0.001, 100: 0.0, 101: 0.0}),
        (("poly", {"power": 2.0}), {0: 0.1, 50: 0.025}),
    ],
)
def test_values(schedule: tuple[str, Mapping[str, object]], rates: dict[int, float]) -> None:
    """Ten steps an epoch, one hundred steps in all."""
    found = {step: learning_rate(schedule, 0.1, step, 10, 100) for step in rates}
    assert found == pytest.approx(rates, rel=1e-12, abs=0)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (("stepp", {}), "there is no schedule 'stepp'.\n     = help: did you mean 'step'? "),
        (
            ("step", {"every": 30}),
            "missing a required argument: 'gamma'.\n     = help: write step(",
        ),
        (
            ("step", {"every": 0, "gamma": 0.1}),
            "'every' of 'step' is 0, not a number of epochs above 0",
        ),
        (("step", {"every": 1, "gamma": float("nan")}), "'gamma' of 'step' is nan, not a number"),
        (("poly", {"power": "2"}), "'power' of 'poly' is '2', not a number above 0."),
        (("poly", {"power": float("nan")}), "'power' of 'poly' is nan, not a number above 0."),
        (("poly", {"power": 10**400}), "not a number above 0."),
    ],
)
def test_wrong_schedules(
    schedule: tuple[str, Mapping[str, object]], said: str, complains: Callable[..., Any]
) -> None:
    with complains("E060", said):
        learning_rate(schedule, 0.1, 0, 10, 100)
