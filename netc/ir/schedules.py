"""Schedules: learning rates as functions of the step.

Each is declared once, in `SCHEDULES`: the language, the training, `--help` and tests follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netc.numbers import DISTANCE, FACTOR, POSITIVE, NamedNumber

Factor = Callable[[int, int, int], float]
"""From (step, steps an epoch, steps in all) to what the base rate is multiplied by."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """One way in which the rate changes."""

    word: str
    about: str
    """Its rate, for lists."""
    factor: Callable[..., Factor]
    """From the arguments by name."""
    arguments: tuple[NamedNumber, ...] = ()

    @property
    def form(self) -> str:
        """The word with what it takes, as in step(every, gamma)."""
        return f"{self.word}({', '.join(each.name for each in self.arguments)})"


def _constant() -> Factor:
    return lambda step, epoch, total: 1.0


def _step(every: float, gamma: float) -> Factor:
    return lambda step, epoch, total: gamma ** (step // (every * epoch))


def _poly(power: float) -> Factor:
    return lambda step, epoch, total: max(0.0, 1 - step / total) ** power


SCHEDULES: Mapping[str, Schedule] = {
    each.word: each
    for each in (
        Schedule("constant", "lr", _constant),
        Schedule(
            "step",
            "lr gamma^k, k being the whole part of (epochs done) / every",
            _step,
            (NamedNumber("every", DISTANCE), NamedNumber("gamma", FACTOR)),
        ),
        Schedule(
            "poly",
            "lr (1 - step / steps)^power, 0 at the end",
            _poly,
            (NamedNumber("power", POSITIVE, 1.0),),
        ),
    )
}
"""All schedules by the word of the language."""
