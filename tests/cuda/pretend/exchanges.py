"""The kernel by which GPUs take what they need of each other's memory, read from its table."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from netc_kernels.cuda import exchange
from netc_kernels.cuda.tensor import ITEM_BYTES
from pretend.memory import NUMPY, over, store, widened
from pretend.streams import WORLD


class _Table:
    """A table of pieces, and what the kernels do with it."""

    def __init__(self, phases: Any, dtype: str, op: str, meeting: Any) -> None:
        self.table, self.unit, _ = exchange.tabulated(phases, dtype, meeting)
        self.dtype, self.item, self.meeting = NUMPY[dtype], ITEM_BYTES[dtype], meeting
        self.combine = {"sum": np.add, "max": np.maximum, "min": np.minimum}.get(op)

    def _take(self, first: int, count: int) -> bool:
        ranks = len(self.meeting.words)
        size = 4 + 2 * (exchange.DIMS - 1) + exchange.DIMS * ranks
        for at in range(first, first + count):
            start = 2 + ranks + at * size
            self._piece(self.table[start : start + size])
        return True

    def _piece(self, piece: Any) -> None:
        outer = exchange.DIMS - 1
        target, terms, units, missing, *told = piece
        sizes, steps, rest = told[:outer], told[outer : 2 * outer], told[2 * outer :]
        assert not any(steps[:missing])
        assert all(size == 1 for size in sizes[: max(missing - 1, 0)])
        assert units % prod(sizes) == 0
        sizes = (units // prod(sizes), *sizes[:-1], sizes[-1] * self.unit // self.item)
        places = [rest[i * exchange.DIMS : (i + 1) * exchange.DIMS] for i in range(terms)]
        total, *others = (self._seen(place[0], place[1:], sizes) for place in places)
        found = self._seen(target, steps, sizes)
        wide = widened(total)
        for other in others:
            assert self.combine is not None
            wide = self.combine(wide, widened(other))
        np.copyto(found, total) if not others else store(found, wide)

    def _seen(self, address: int, steps: Any, sizes: Any) -> Any:
        assert address % self.unit == 0
        assert all(step % self.unit == 0 for step in steps)
        strides = (*steps, self.item)
        reach = sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        memory = over(address, (reach // self.item + 1,), self.dtype)
        return as_strided(memory, sizes, strides)


class Exchange(_Table):
    """The kernel of that name, read from its table: all threads of a group come to the same one."""

    def __init__(self, phases: Any, dtype: str, op: str, meeting: Any) -> None:
        super().__init__(phases, dtype, op, meeting)
        self.steps = [self._come, partial(self._take, 0, self.table[0]), self._come]
        if len(phases) == 2:
            self.steps += [partial(self._take, self.table[0], self.table[1]), self._come]
        self.left: list[Any] = []
        self.count = 0

    def __call__(self, stream: int) -> None:
        def work() -> bool:
            self.left = self.left or list(self.steps)
            while self.left:
                if not self.left[0]():
                    return False
                self.left.pop(0)
            return True

        WORLD.put(stream, work)

    def _come(self) -> bool:
        """Write the number of this meeting where every other sees it; whether all have come."""
        ranks = len(self.meeting.words)
        words = [over(each, (ranks + 1,), np.uint32) for each in self.meeting.words]
        mine = words[self.meeting.me]
        if not self.count:
            mine[-1] += 1
            self.count = int(mine[-1])
        for word in words:
            word[self.meeting.me] = self.count
        if (mine[:-1] < self.count).any():
            return False
        self.count = 0
        return True


class OwnCopy(_Table):
    """The kernel of that name."""

    def __init__(self, pieces: Any, dtype: str) -> None:
        super().__init__([[pieces]], dtype, "", exchange.Meeting((0,), 0))

    def __call__(self, stream: int) -> None:
        WORLD.put(stream, lambda: self._take(0, self.table[0]))
