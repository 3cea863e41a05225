"""The GPU's own clock."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any


def elapsed(go: Callable[[], None], stream: Any, repeats: int) -> tuple[float, ...]:
    """Measure the seconds of each of so many runs that follow each other on a stream.

    One more runs before them, so that the host is ahead of the GPU when the first begins.
    """
    import cupy

    marks = [cupy.cuda.Event() for _ in range(repeats + 1)]
    go()
    marks[0].record(stream)
    for mark in marks[1:]:
        go()
        mark.record(stream)
    stream.synchronize()
    return tuple(cupy.cuda.get_elapsed_time(a, b) / 1e3 for a, b in pairwise(marks))
