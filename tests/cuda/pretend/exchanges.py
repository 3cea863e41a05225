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


class SmallSum:
    """The kernel `small_sum`, read from its table: a box is lines of 16 bytes, in each the bytes of
    a cell by halves, and behind each half the number of the sum.
    """

    def __init__(self, terms: Any, dtype: str, op: str, boxes: Any) -> None:
        table = exchange.small_table(terms, dtype, boxes)
        self.ranks, self.me = len(boxes.addresses), boxes.me
        self.boxes = table[1 : 1 + self.ranks]
        rest = table[1 + self.ranks :]
        self.parts = [rest[at : at + 4] for at in range(0, len(rest), 4)]
        assert len(self.parts) == table[0]
        self.dtype, self.item = NUMPY[dtype], ITEM_BYTES[dtype]
        self.combine = {"sum": np.add, "max": np.maximum, "min": np.minimum}[op]
        self.sent = 0
        """The number of the sum under way, whose terms have gone."""

    def __call__(self, stream: int) -> None:
        WORLD.put(stream, self._step)

    def _step(self) -> bool:
        """Send once, then wait for all of the others' and add up."""
        counters = over(self.boxes[self.me], (exchange.BLOCKS_SENDING,), np.uint32)
        assert len(set(counters.tolist())) == 1, "blocks have counted alike"
        if not self.sent:
            self.sent = int(counters[0]) + 1
            self._send()
        if not self._has_come():
            return False
        self._add_up()
        counters[:] = self.sent
        self.sent = 0
        return True

    def _lines(self, owner: int, sender: int, before: int, cells: int) -> Any:
        place = ((self.sent & 1) * self.ranks + sender) * exchange.CELLS + before
        start = self.boxes[owner] + exchange.COUNTERS_BYTES + place * exchange.LINE_BYTES
        return over(start, (cells, 4), np.uint32)

    def _cells(self, part: Any) -> int:
        nbytes: int = part[2] * self.item
        return -(-nbytes // exchange.CELL_BYTES)

    def _send(self) -> None:
        for part in self.parts:
            address, _, elements, before = part
            cells = self._cells(part)
            halves = np.zeros((cells, 2), np.uint32)
            own = over(address, (elements,), self.dtype)
            halves.reshape(-1).view(np.uint8)[: own.nbytes] = own.view(np.uint8)
            for other in range(self.ranks):
                if other != self.me:
                    lines = self._lines(other, self.me, before, cells)
                    lines[:, 0::2], lines[:, 1::2] = halves, self.sent

    def _has_come(self) -> bool:
        return all(
            (self._lines(self.me, other, part[3], self._cells(part))[:, 1::2] == self.sent).all()
            for part in self.parts
            for other in range(self.ranks)
            if other != self.me
        )

    def _add_up(self) -> None:
        for part in self.parts:
            address, target, elements, before = part
            total = None
            for other in range(self.ranks):
                if other == self.me:
                    term = over(address, (elements,), self.dtype).copy()
                else:
                    lines = self._lines(self.me, other, before, self._cells(part))
                    term = np.ascontiguousarray(lines[:, 0::2]).reshape(-1).view(self.dtype)
                wide = widened(term[:elements])
                total = wide if total is None else self.combine(total, wide)
            store(over(target, (elements,), self.dtype), total)
