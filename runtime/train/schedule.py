"""Learning rates as functions of the step."""

from __future__ import annotations

from collections.abc import Mapping

from netc.ir.schedules import SCHEDULES

from .calls import call, number


def learning_rate(
    schedule: tuple[str, Mapping[str, object]],
    base: float,
    step: int,
    steps_per_epoch: int,
    total_steps: int,
) -> float:
    """The learning rate of `step`, counted from 0, under `schedule` = (name, named arguments).

    Raises DataError (E060) for an unknown name or wrong arguments.
    """
    assert steps_per_epoch > 0 and total_steps > 0, "a training has at least one step"
    name, kwargs = schedule
    known = {word: each.factor for word, each in SCHEDULES.items()}
    factor = call("schedule", known, name, (), kwargs)
    for argument in SCHEDULES[name].arguments:
        value = kwargs.get(argument.name, argument.default)
        number(f"'{argument.name}' of '{name}'", value, argument.kind)
    return base * factor(step, steps_per_epoch, total_steps)
