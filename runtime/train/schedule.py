"""Learning rates as functions of the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netc.numbers import FACTOR, POSITIVE

from .calls import call, number

_Factor = Callable[[int, int, int], float]
"""From (step, steps_per_epoch, total_steps) to the factor of the base rate."""


def learning_rate(
    schedule: tuple[str, Mapping[str, object]],
    base: float,
    step: int,
    steps_per_epoch: int,
    total_steps: int,
) -> float:
    """The learning rate of `step`, counted from 0, under `schedule` = (name, named arguments):

        constant()          base
        step(every, gamma)  base * gamma^k, where k counts the whole periods of `every` epochs done
        poly(power)         base * (1 - step / total_steps)^power, 0 at the end

    Raises DataError (E060) for an unknown name or wrong arguments.
    """
    assert steps_per_epoch > 0 and total_steps > 0, "a training has at least one step"
    name, kwargs = schedule
    factor = call("schedule", _SCHEDULES, name, (), kwargs)
    return base * factor(step, steps_per_epoch, total_steps)


def _constant() -> _Factor:
    return lambda step, steps_per_epoch, total_steps: 1.0


def _step(every: float, gamma: float) -> _Factor:
    number("'gamma' of 'step'", gamma, FACTOR)
    number("'every' of 'step', in epochs,", every, POSITIVE)
    return lambda step, steps_per_epoch, total_steps: gamma ** (step // (every * steps_per_epoch))


def _poly(power: float) -> _Factor:
    number("'power' of 'poly'", power, POSITIVE)
    return lambda step, steps_per_epoch, total_steps: max(0.0, 1 - step / total_steps) ** power


_SCHEDULES: dict[str, Callable[..., _Factor]] = {
    "constant": _constant,
    "step": _step,
    "poly": _poly,
}
