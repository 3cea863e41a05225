"""Waiting for another process: polls that get rarer the longer it takes."""

from __future__ import annotations

import time

SHORTEST_SECONDS, LONGEST_SECONDS = 50e-6, 5e-3
PART = 1 / 50
"""Of what was waited so far: what came is seen at most this much later than it could be."""


class Pause:
    """Sleeps between two looks. A long wait takes next to no time of the processor, and a short
    one is over soon.
    """

    def __init__(self) -> None:
        self.began: float | None = None

    def sleep(self) -> None:
        """Until the next look."""
        now = time.perf_counter()
        self.began = now if self.began is None else self.began
        time.sleep(min(max((now - self.began) * PART, SHORTEST_SECONDS), LONGEST_SECONDS))

    def end(self) -> None:
        """What was waited for has come: the next wait begins anew."""
        self.began = None
