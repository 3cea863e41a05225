"""Curves of many points: fewer that look the same, and smooth ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby

XY = tuple[float, float]
_LARGEST = 1e150


def thinned(points: Sequence[XY], columns: int) -> list[XY]:
    """The points, by ascending x, that a drawing of so many columns of pixels shows: of each column
    the first, the last, the lowest and the highest.

    The line through them covers the same pixels as that through all (M4: Jugel et al., "M4: a
    visualization-oriented time series data aggregation", 2014).
    """
    if len(points) <= columns:
        return list(points)
    begin, width = points[0][0], (points[-1][0] - points[0][0]) / columns or 1.0
    groups = groupby(points, lambda point: min(int((point[0] - begin) / width), columns - 1))
    return [point for _, own in groups for point in _corners(list(own))]


def _corners(own: list[XY]) -> Iterator[XY]:
    ends = {0, len(own) - 1}
    low = min(range(len(own)), key=lambda i: own[i][1])
    high = max(range(len(own)), key=lambda i: own[i][1])
    yield from (own[i] for i in sorted({*ends, low, high}))


def smoothed(points: Sequence[XY], window: int) -> list[XY]:
    """Each point with the mean of the last `window` points, its own among them; of fewer at the
    beginning, where there are no more.

    A window is the end of one block of so many points and the beginning of the next, and both are
    sums of its own points alone (van Herk 1992): of a running sum one huge value would leave
    nothing behind it.
    """
    assert window >= 1, "a mean of something"
    ends: list[float] = []
    begins: list[float] = []
    for start in range(0, len(points), window):
        block = [y for _, y in points[start : start + window]]
        begins.extend(accumulate(block))
        ends.extend([*accumulate(reversed(block))][::-1])
    found = []
    for i, (x, _) in enumerate(points):
        first = max(0, i + 1 - window)
        total = begins[i] if first % window == 0 else ends[first] + begins[i]
        found.append((x, total / (i + 1 - first)))
    return found


def known(points: Iterable[tuple[float, float | None]]) -> list[XY]:
    """Those that have a value, as it can be drawn."""
    return [(x, _drawn(y)) for x, y in points if y is not None]


def _drawn(value: float) -> float:
    """No nearer to what a float cannot hold than differences and quotients want it."""
    return 0.0 if abs(value) < 1 / _LARGEST else max(-_LARGEST, min(value, _LARGEST))
