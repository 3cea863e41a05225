"""Sets of moments, as intervals (start, end): ascending, none touches the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Intervals = Sequence[tuple[int, int]]


def union(intervals: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """All moments of some intervals, which may overlap."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(each for each in intervals if each[0] < each[1]):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def minus(first: Intervals, second: Intervals) -> list[tuple[int, int]]:
    """The moments of the first set that are not in the second."""
    found: list[tuple[int, int]] = []
    place = 0
    for start, end in first:
        while place < len(second) and second[place][1] <= start:
            place += 1
        for taken in range(place, len(second)):
            if second[taken][0] >= end:
                break
            if second[taken][0] > start:
                found.append((start, second[taken][0]))
            start = second[taken][1]
        if start < end:
            found.append((start, end))
    return found


def length(intervals: Intervals) -> int:
    """Of all of them together."""
    return sum(end - start for start, end in intervals)
