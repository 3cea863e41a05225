"""Axes of charts: round numbers around all values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_STEPS = 4
"""About so many steps has an axis."""
_LOGARITHMIC = 30.0
"""From the largest value being so many times the smallest one on, an axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`, which is more."""

    low: float
    high: float
    ticks: tuple[float, ...]
    """What has a line and a figure, ascending."""
    logarithmic: bool = False

    def along(self, value: float) -> float:
        """How far along the axis a value stands, from 0 to 1."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def axis_of(values: Sequence[float], may_be_log: bool = False) -> Axis:
    """An axis for values; where it `may_be_log`, it is where they differ by orders."""
    low, high = min(values), max(values)
    if may_be_log and low > 0 and high / low >= _LOGARITHMIC:
        return _logarithmic(low, high)
    if low == high:
        # A constant stands on the axis of all numbers from 0 to it.
        low, high = min(low, 0.0), max(high, 0.0)
    return _linear(low, high if high > low else low + 1.0)


def exact_axis(low: float, high: float) -> Axis:
    """An axis from the first to the last step or epoch, with ticks at whole numbers."""
    if low == high:
        return Axis(low - 0.5, high + 0.5, (low,))
    step = max(1.0, math.ceil(_round_step((high - low) / _STEPS)))
    first = math.ceil(low / step)
    ticks = (step * i for i in range(first, math.floor(high / step) + 1))
    return Axis(low, high, tuple(ticks))


def _linear(low: float, high: float) -> Axis:
    step = _round_step((high - low) / _STEPS)
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = tuple(step * i for i in range(first, last + 1))
    return Axis(min(low, ticks[0]), max(high, ticks[-1]), ticks)


def _round_step(least: float) -> float:
    """The next of 1, 2, 2.5, 5, 10, ... times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(times * power for times in (1, 2, 2.5, 5, 10) if times * power >= least)


def _logarithmic(low: float, high: float) -> Axis:
    marks = list(_marks(low, high, (1, 2, 5)))
    begin = max(mark for mark in marks if mark <= low)
    end = min(mark for mark in marks if mark >= high)
    every, tens = ([m for m in _marks(low, high, times) if begin <= m <= end]
                   for times in ((1, 2, 5), (1,)))  # fmt: skip
    ticks = every if len(every) <= 2 * _STEPS else tens[:: math.ceil(len(tens) / (2 * _STEPS))]
    return Axis(begin, end, tuple(ticks), True)


def _marks(low: float, high: float, times: Sequence[int]) -> Iterator[float]:
    """Multiples of powers of ten, from below one number to above another."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return (each * 10.0**power for power in powers for each in times)
