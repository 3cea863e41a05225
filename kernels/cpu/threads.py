"""A few threads that stay, for kernels that run over parts of their work."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np

from netc_kernels.cpu.words import CALLED, IDLE, LINE

RangeTask: TypeAlias = Callable[..., None]
"""Called with (*arguments, thread, start, stop); thread counts from 0 and tells the scratch
memory. It is a kernel, or a function of Python that calls BLAS or NumPy."""

CALLS = 8
"""Ranges for every thread, so that all end at about the same time though some are slower."""


class Pool:
    """Runs kernels and functions over ranges on `threads` threads, the caller's among them.

    A pool serves one caller at a time; pools do not share threads, so that several may be used
    at once. After a kernel the threads wait awake for some ten milliseconds, unless others want
    the processor.
    """

    def __init__(self, threads: int) -> None:
        assert threads > 0
        self.threads = threads
        self._words = np.zeros(CALLED + LINE * threads, np.int64)
        self._words[IDLE::LINE] = 1
        self._orders: list[SimpleQueue[Callable[[], None] | None]] = []
        self._results: SimpleQueue[BaseException | None] = SimpleQueue()
        for _ in range(threads - 1):
            orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
            self._orders.append(orders)
            threading.Thread(target=_work, args=(orders,), daemon=True).start()

    def run(self, count: int, grain: int, part: RangeTask, *arguments: Any) -> None:
        """Call `part` for 0 ... `count` in ranges of `grain`, each taken by a thread that is free.

        Raises what a function of Python raises, when all threads have stopped; kernels raise
        nothing.
        """
        if hasattr(part, "py_func"):
            self._run_kernel(count, grain, part, arguments)
        else:
            self._run_function(count, grain, partial(part, *arguments))

    def spread(self, count: int, grain: int, part: RangeTask, *arguments: Any) -> None:
        """As `run`, but with few ranges, of some grains each, where what `part` makes does not
        depend on them: a call costs some time.
        """
        grains = grain * max(1, count // (grain * self.threads * CALLS))
        self.run(count, grains, part, *arguments)

    def split(self, count: int, part: RangeTask, *arguments: Any, unit: int = 1) -> None:
        """Call `part` once for every thread, with equal shares of whole `unit`s."""
        if count:
            self.run(count, -(-count // (self.threads * unit)) * unit, part, *arguments)

    def close(self) -> None:
        """End the threads. Without it they end with the process."""
        for thread, orders in enumerate(self._orders, 1):
            self._words[CALLED + LINE * thread] = 1
            orders.put(None)
        self._orders = []
        self.threads = 1

    def _run_kernel(
        self, count: int, grain: int, part: RangeTask, arguments: tuple[Any, ...]
    ) -> None:
        # Numba may be missing where only functions are run
        from netc_kernels.cpu.ranges import run_kernel, serve

        if count > grain:
            for thread, orders in enumerate(self._orders, 1):
                if self._words[IDLE + LINE * thread]:
                    self._words[IDLE + LINE * thread] = 0
                    orders.put(partial(serve, self._words, thread))
        run_kernel(self._words, count, grain, part, arguments)

    def _run_function(self, count: int, grain: int, part: RangeTask) -> None:
        starts = iter(range(0, count, grain))
        helpers = self._orders[: -(-count // grain) - 1]
        for thread, orders in enumerate(helpers, 1):
            # before the order: whoever takes that is no longer called
            self._words[CALLED + LINE * thread] = 1
            orders.put(partial(self._help, thread, _share(part, thread, starts, count, grain)))
        problems = [_try(_share(part, 0, starts, count, grain))]
        problems += [self._results.get() for _ in helpers]
        for problem in filter(None, problems):
            raise problem

    def _help(self, thread: int, work: Callable[[], None]) -> None:
        self._words[CALLED + LINE * thread] = 0
        self._results.put(_try(work))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _share(
    part: RangeTask, thread: int, starts: Iterator[int], count: int, grain: int
) -> Callable[[], None]:
    """One thread's work: the ranges that no other has taken; next() on a range is atomic."""

    def work() -> None:
        for start in starts:
            part(thread, start, min(start + grain, count))

    return work


def _work(orders: "SimpleQueue[Callable[[], None] | None]") -> None:
    while (work := orders.get()) is not None:
        work()


def _try(work: Callable[[], None]) -> BaseException | None:
    try:
        work()
    except BaseException as problem:  # whatever it is, the caller of `run` must hear of it
        return problem
    return None
