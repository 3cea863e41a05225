"""A few threads that stay, for kernels that run over parts of their work."""

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Self, TypeAlias

Part: TypeAlias = Callable[[int, int, int], None]
"""Called with (thread, start, stop); thread counts from 0 and tells the scratch memory."""


CALLS = 8
"""Ranges for every thread, so that all end at about the same time though some are slower."""


class Pool:
    """Runs functions over ranges on `threads` threads, the caller's among them.

    A pool serves one caller at a time; pools do not share threads, so that several may be used
    at once.
    """

    def __init__(self, threads: int) -> None:
        assert threads > 0
        self.threads = threads
        self._orders: list[SimpleQueue[Callable[[], None] | None]] = []
        self._results: SimpleQueue[BaseException | None] = SimpleQueue()
        for _ in range(threads - 1):
            orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
            self._orders.append(orders)
            threading.Thread(target=_work, args=(orders, self._results), daemon=True).start()

    def run(self, count: int, grain: int, part: Part) -> None:
        """Call `part` for 0 ... `count` in ranges of `grain`, each taken by a thread that is free.

        Raises what `part` raises, when all threads have stopped.
        """
        starts = iter(range(0, count, grain))
        helpers = min(self.threads, -(-count // grain)) - 1
        for thread in range(helpers):
            self._orders[thread].put(_share(part, thread + 1, starts, count, grain))
        problems = [_try(_share(part, 0, starts, count, grain))]
        problems += [self._results.get() for _ in range(helpers)]
        for problem in filter(None, problems):
            raise problem

    def spread(self, count: int, grain: int, part: Part) -> None:
        """As `run`, but with few ranges, of some grains each, where what `part` makes does not
        depend on them: calls that end soon after each other wait for the interpreter.
        """
        self.run(count, grain * max(1, count // (grain * self.threads * CALLS)), part)

    def split(self, count: int, part: Part, unit: int = 1) -> None:
        """Call `part` once for every thread, with equal shares of whole `unit`s."""
        if count:
            self.run(count, -(-count // (self.threads * unit)) * unit, part)

    def close(self) -> None:
        """End the threads. Without it they end with the process."""
        for orders in self._orders:
            orders.put(None)
        self._orders = []
        self.threads = 1

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
    part: Part, thread: int, starts: Iterator[int], count: int, grain: int
) -> Callable[[], None]:
    """One thread's work: the ranges that no other has taken; next() on a range is atomic."""

    def work() -> None:
        for start in starts:
            part(thread, start, min(start + grain, count))

    return work


def _work(
    orders: "SimpleQueue[Callable[[], None] | None]", results: "SimpleQueue[BaseException | None]"
) -> None:
    while (work := orders.get()) is not None:
        results.put(_try(work))


def _try(work: Callable[[], None]) -> BaseException | None:
    try:
        work()
    except BaseException as problem:  # whatever it is, the caller of `run` must hear of it
        return problem
    return None
