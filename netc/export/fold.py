"""Runs of equal stretches in a sequence, so that a picture draws them once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Closed = Callable[[int, int, int], bool]
"""Whether `count` stretches of `period` items from `start` may be drawn as one."""


@dataclass(frozen=True, slots=True)
class Run:
    """`count` stretches of `period` equal items each, from item `start` on."""

    start: int
    period: int
    count: int
    inner: tuple[Run, ...] = ()
    """Runs inside the first stretch."""

    @property
    def stop(self) -> int:
        """The item behind the run."""
        return self.start + self.period * self.count


def find_runs(
    signatures: list[object], closed: Closed, start: int = 0, stop: int | None = None
) -> tuple[Run, ...]:
    """Runs of equal `signatures` from left to right, each time the one that saves the most items.

    Of two that save the same the one of the shorter stretch is taken; runs nest.
    """
    stop = len(signatures) if stop is None else stop
    runs = []
    while start < stop:
        run = _best(signatures, closed, start, stop)
        if run is not None:
            inner = find_runs(signatures, closed, start, start + run.period)
            runs.append(Run(start, run.period, run.count, inner))
        start = run.stop if run is not None else start + 1
    return tuple(runs)


def _best(signatures: list[object], closed: Closed, start: int, stop: int) -> Run | None:
    """The run from `start` on that saves the most items, if any."""
    found: Run | None = None
    for period in range(1, (stop - start) // 2 + 1):
        run = Run(start, period, _count(signatures, closed, start, period, stop))
        if run.count > 1 and (found is None or _saved(run) > _saved(found)):
            found = run
    return found


def _saved(run: Run) -> int:
    return (run.count - 1) * run.period


def _count(signatures: list[object], closed: Closed, start: int, period: int, stop: int) -> int:
    """How many equal, closed stretches of `period` follow each other."""
    first, count = signatures[start : start + period], 1
    while start + (count + 1) * period <= stop:
        begin = start + count * period
        if signatures[begin : begin + period] != first or not closed(start, period, count + 1):
            break
        count += 1
    return count
