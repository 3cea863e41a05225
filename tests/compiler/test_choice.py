"""Which of priced plans is taken, where some were measured."""

from __future__ import annotations

import pytest

from netc.ir.facts import SHARDED
from netc.ir.types import line_mesh
from netc.planner.choice import Candidate, best_of

LINE = line_mesh(2)


def plan(name: str, seconds: float, measured: bool, updates: str | None = None) -> Candidate:
    return Candidate(name, LINE, {}, "a", updates, seconds, seconds, measured)


@pytest.mark.parametrize(
    ("sharded", "taken"),
    [
        # Predictions have to gain more than the error, measurements anything.
        ([("priced", 0.99, False)], "data"),
        ([("priced", 0.8, False)], "priced"),
        ([("timed", 0.99, True)], "timed"),
        # What was measured is looked at behind what was only priced, too.
        ([("priced", 0.98, False), ("timed", 0.99, True)], "timed"),
        ([("priced", 0.98, False), ("timed", 1.01, True)], "data"),
    ],
)
def test_sharded_updates_that_were_measured(
    sharded: list[tuple[str, float, bool]], taken: str
) -> None:
    every = [plan("data", 1.0, True), *(plan(*each, SHARDED) for each in sharded)]
    best, _ = best_of(sorted(every, key=lambda each: each.seconds), 0.1)
    assert best.name == taken
