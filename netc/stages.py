"""Where the time before a first step goes, by stages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

STAGES = (
    "import", "parse", "compile", "kernels", "plans", "tune", "data", "weights", "record", "measure"
)  # fmt: skip
"""Modules are imported, and the driver of GPUs begins; the network is read; it is planned and
compiled; kernels are compiled and chosen; the vendor's plans are made that are known to be the
fastest; others are chosen and made where none is known; the data set is opened; weights get their
initial values; a step is recorded as a graph; `netc profile` measures steps, launches and what the
machine reaches."""


class StageClock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.inside = 0.0
        """Seconds of stages within the one that goes on."""

    @contextmanager
    def staged(self, name: str) -> Iterator[None]:
        """Count a block as a stage's."""
        before, self.inside, began = self.inside, 0.0, time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - began
            self.seconds[name] += took - self.inside
            self.inside = before + took


_CLOCK: ContextVar[StageClock | None] = ContextVar("stages", default=None)


@contextmanager
def timed_stages() -> Iterator[StageClock]:
    """A clock of what is done within the block, by this thread."""
    clock = StageClock()
    token = _CLOCK.set(clock)
    try:
        yield clock
    finally:
        _CLOCK.reset(token)


@contextmanager
def staged(name: str) -> Iterator[None]:
    """A block, or a function, that is a stage; what is another one within it does not count as this
    one's. Nothing is counted where nobody asked for it.
    """
    clock = _CLOCK.get()
    if clock is None:
        yield
        return
    with clock.staged(name):
        yield


def stage_seconds() -> dict[str, float]:
    """Seconds by stage so far, by the clock of who asked for one."""
    clock = _CLOCK.get()
    assert clock is not None, "within timed_stages"
    return dict(clock.seconds)
