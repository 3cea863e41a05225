"""What is made for this machine before a first step, told once where it takes long."""

from __future__ import annotations

import time
from collections.abc import Callable

TOLD_SECONDS = 2.0
"""What takes longer is told."""


def silent(text: str) -> None:
    """Tell nobody."""


class MadeSoFar:
    """Says once how many of some things are made, when that has taken long."""

    def __init__(self, what: str, told: Callable[[str], None]) -> None:
        """`what` is made, as in "kernels are compiled for this machine"."""
        self.what, self.told = what, told
        self.began, self.silent = time.monotonic(), True

    def __call__(self, done: int, count: int) -> None:
        """So many are made, and of how many."""
        took = time.monotonic() - self.began
        if self.silent and took >= TOLD_SECONDS and done < count:
            self.silent = False
            self.told(f"{self.what} now, once: {done} of {count} in {took:.0f} s so far.")
