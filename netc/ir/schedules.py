"""Schedules: learning rates as functions of the step.

Each is declared once, in `SCHEDULES`: the language, the training, `--help` and tests follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi

from netc.numbers import COUNT, DISTANCE, DURATION, FACTOR, FRACTION, POSITIVE, NamedNumber

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


def scaled_rate(lr: float, batch: int, rate_batch: int | None) -> float:
    """The base rate of steps of `batch` images where `lr` is for `rate_batch` of them, or for any
    number: the linear scaling rule (Goyal et al. 2017, section 2.1).
    """
    return lr if rate_batch is None else lr * batch / rate_batch


def _warmed(factor: Factor, warmup: float, to_the_end: bool = False) -> Factor:
    """Risen to in the first epochs, in equal parts; what runs `to_the_end` begins behind them."""

    def warmed(step: int, epoch: int, total: int) -> float:
        rise = round(warmup * epoch)
        part = min((step + 1) / rise, 1.0) if rise else 1.0
        begun = min(rise, total - 1) if to_the_end else 0
        return part * factor(max(step - begun, 0), epoch, total - begun)

    return warmed


def _falling(begin: float, end: float, part: float) -> float:
    """Along half a wave of the cosine, at a part of the way."""
    return end + (begin - end) * (1 + cos(pi * min(part, 1.0))) / 2


def _constant(warmup: float = 0.0) -> Factor:
    return _warmed(lambda step, epoch, total: 1.0, warmup)


def _step(every: float, gamma: float, warmup: float = 0.0) -> Factor:
    return _warmed(lambda step, epoch, total: gamma ** (step // (every * epoch)), warmup)


def _exponential(gamma: float, warmup: float = 0.0) -> Factor:
    return _warmed(lambda step, epoch, total: gamma ** (step // epoch), warmup)


def _dexp(steps: int = 4, final: float = 0.004, warmup: float = 0.0) -> Factor:
    def dropped(step: int, epoch: int, total: int) -> float:
        done = min(step * steps // total, steps - 1)
        return float(final ** (done / max(steps - 1, 1)))

    return _warmed(dropped, warmup)


def _poly(power: float = 1.0, warmup: float = 0.0) -> Factor:
    def fallen(step: int, epoch: int, total: int) -> float:
        return float(max(0.0, 1 - step / total) ** power)

    return _warmed(fallen, warmup, to_the_end=True)


def _cosine(final: float = 0.0, warmup: float = 0.0) -> Factor:
    return _warmed(
        lambda step, epoch, total: _falling(1.0, final, step / total), warmup, to_the_end=True
    )


def _onecycle(rise: float = 0.3, start: float = 0.04, final: float = 4e-6) -> Factor:
    def factor(step: int, epoch: int, total: int) -> float:
        top, last = rise * total - 1, total - 1
        if step <= top:
            return _falling(start, 1.0, step / top if top else 1.0)
        return _falling(1.0, final, (step - top) / (last - top) if last > top else 1.0)

    return factor


_WARMUP = NamedNumber("warmup", DURATION, 0.0)

SCHEDULES: Mapping[str, Schedule] = {
    each.word: each
    for each in (
        Schedule("constant", "lr", _constant, (_WARMUP,)),
        Schedule(
            "step",
            "lr gamma^k, k being the whole part of (epochs done) / every",
            _step,
            (NamedNumber("every", DISTANCE), NamedNumber("gamma", FACTOR), _WARMUP),
        ),
        Schedule(
            "exponential",
            "lr gamma^k, k being the epochs done",
            _exponential,
            (NamedNumber("gamma", FACTOR), _WARMUP),
        ),
        Schedule(
            "dexp",
            "lr final^(k / (steps - 1)), k being the whole part of steps step / all steps",
            _dexp,
            (NamedNumber("steps", COUNT, 4), NamedNumber("final", FACTOR, 0.004), _WARMUP),
        ),
        Schedule(
            "poly",
            "lr (1 - step / steps)^power, 0 at the end",
            _poly,
            (NamedNumber("power", POSITIVE, 1.0), _WARMUP),
        ),
        Schedule(
            "cosine",
            "lr (final + (1 - final) (1 + cos(pi step / steps)) / 2)",
            _cosine,
            (NamedNumber("final", FRACTION, 0.0), _WARMUP),
        ),
        Schedule(
            "onecycle",
            "from start lr up to lr in a part, rise, of all steps; then to final lr, by cosines",
            _onecycle,
            (
                NamedNumber("rise", FRACTION, 0.3),
                NamedNumber("start", FRACTION, 0.04),
                NamedNumber("final", FRACTION, 4e-6),
            ),
        ),
    )
}
"""All schedules by the word of the language."""
