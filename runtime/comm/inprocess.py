"""The in-process communicator: devices are threads, and data is copied between their arenas.

It is the only code that touches the memory of two devices. Bytes are counted where they are
copied, per giver and taker, never from a formula.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.program import GroupCollective, Part, View
from netc.ir.types import numbers

Array = NDArray[Any]
Open = Callable[[int, View], Array]
"""The array behind a device's view, in its logical shape."""
Slices = tuple[slice, ...]
"""A part of a block, in the block's own indices."""
_COMBINE = {"sum": np.add, "max": np.maximum, "min": np.minimum}


class Counter:
    """Bytes that went from one device to another."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sent: defaultdict[int, int] = defaultdict(int)
        self.received: defaultdict[int, int] = defaultdict(int)

    def count(self, giver: int, taker: int, nbytes: int) -> None:
        """Record that bytes went from one device to another; copies at home are free."""
        if giver != taker and nbytes:
            with self.lock:
                self.sent[giver] += nbytes
                self.received[taker] += nbytes

    def take(self) -> dict[int, tuple[int, int]]:
        """All counts since the last call: bytes (sent, received) by device."""
        with self.lock:
            sent, received = self.sent, self.received
            self.sent, self.received = defaultdict(int), defaultdict(int)
        return {d: (sent[d], received[d]) for d in sorted({*sent, *received})}


class Rendezvous:
    """One collective: stages that each device runs once all others ended the stage before.

    Stage 0 is arriving. When every device ended the last stage, the collective has ended for all,
    and then every rank's buffers may be used again.
    """

    def __init__(
        self, collective: GroupCollective, open_: Open, traffic: Counter, notify: Callable[[], None]
    ) -> None:
        self.collective, self.traffic, self.notify = collective, traffic, notify
        self.parts = [_Arrays(part, collective.devices, open_) for part in collective.parts]
        reduces = collective.kind == "all_reduce"
        self.stages = (self._arrive, self._reduce, self._share) if reduces else (
            self._arrive, self._move if not collective.op else self._reduce_blocks
        )  # fmt: skip
        self.lock = threading.Lock()
        self.reached = [0] * len(collective.devices)
        self.left = 0

    def advance(self, position: int) -> bool:
        """Go on for the device at `position`; True once the collective has ended."""
        while self.reached[position] < len(self.stages):
            stage = self.reached[position]
            if min(self.reached) < stage:
                return False
            self.stages[stage](position)
            self._pass(position)
        if min(self.reached) < len(self.stages):
            return False
        return self._leave()

    def _pass(self, position: int) -> None:
        with self.lock:
            self.reached[position] += 1
            last = min(self.reached) == self.reached[position]
        if last:
            self.notify()

    def _leave(self) -> bool:
        """The last device to leave makes ready for the next step."""
        with self.lock:
            self.left += 1
            if self.left == len(self.reached):
                self.left = 0
                self.reached = [0] * len(self.reached)
        return True

    def _arrive(self, position: int) -> None:
        """Nothing to do but to be here."""

    def _move(self, position: int) -> None:
        """Fill this device's target with what each source has of it."""
        devices = self.collective.devices
        for part in self.parts:
            target = part.targets[position]
            for giver, _, here, there in takes(part.part, position):
                source = part.sources[giver]
                assert source is not None and target is not None
                target[here] = source[there]
                self.traffic.count(devices[giver], devices[position], target[here].nbytes)

    def _reduce_blocks(self, position: int) -> None:
        """Combine what all sources have of this device's target, in the order of devices."""
        devices = self.collective.devices
        for part in self.parts:
            target, terms = part.targets[position], []
            for giver, _, _, there in takes(part.part, position):
                source = part.sources[giver]
                assert source is not None
                terms.append(source[there])
                self.traffic.count(devices[giver], devices[position], terms[-1].nbytes)
            if terms and target is not None:
                combine(self.collective.op, terms, target)

    def _reduce(self, position: int) -> None:
        """All-reduce, first half: the owner of a ceil(n / K) shard combines it."""
        devices = self.collective.devices
        for part in self.parts:
            start, stop = part.shard(position)
            terms = [source[start:stop] for source in part.flat_sources]
            for giver, term in enumerate(terms):
                self.traffic.count(devices[giver], devices[position], term.nbytes)
            part.sums[position] = np.empty_like(terms[0])
            combine(self.collective.op, terms, part.sums[position])

    def _share(self, position: int) -> None:
        """All-reduce, second half: everybody gets every shard from its owner."""
        devices = self.collective.devices
        for part in self.parts:
            for owner in range(len(devices)):
                start, stop = part.shard(owner)
                part.flat_targets[position][start:stop] = part.sums[owner]
                nbytes = part.sums[owner].nbytes
                self.traffic.count(devices[owner], devices[position], nbytes)


class _Arrays:
    """The arrays of one part, per device of the group."""

    def __init__(self, part: Part, devices: Sequence[int], open_: Open) -> None:
        self.part = part
        self.sources, self.targets = (
            [None if v is None else open_(d, v) for d, v in zip(devices, views, strict=True)]
            for views in (part.sources, part.targets)
        )
        self.flat_sources = [flat(a) for a in self.sources if a is not None]
        self.flat_targets = [flat(a) for a in self.targets if a is not None]
        self.sums: list[Array] = [np.empty(0)] * len(part.sources)

    def shard(self, owner: int) -> tuple[int, int]:
        """Start and stop of an owner's shard of the flat tensor."""
        return shard(self.flat_sources[0].size, owner, len(self.sources))


def shard(size: int, owner: int, workers: int) -> tuple[int, int]:
    """Start and stop of an owner's ceil(size / workers) elements."""
    step = -(-size // workers)
    return min(owner * step, size), min((owner + 1) * step, size)


def summed_moves(elements: int, me: int, workers: int) -> Iterator[tuple[int, int]]:
    """By other worker, the elements of a sum that come from it: its terms of the own shard, and the
    sum of its own. That is what counts as moved, whoever carries the sum and however.
    """
    first, end = shard(elements, me, workers)
    for other in range(workers):
        if other != me:
            start, stop = shard(elements, other, workers)
            yield other, end - first + stop - start


def flat(array: Array) -> Array:
    """All elements in memory order, without a copy; blocks are contiguous in their format."""
    elements: Array = in_memory_order(array).reshape(-1)
    return elements


def in_memory_order(array: Any) -> Any:
    """The array with its dimensions in the order of memory."""
    return array.transpose(memory_order(array))


def memory_order(array: Any) -> list[int]:
    """The dimensions, those whose elements lie furthest apart first."""
    return sorted(range(array.ndim), key=lambda i: (-array.strides[i], i))


def combine(op: str, terms: list[Array], target: Array) -> None:
    """Reduce in a fixed order; `target` may not be one of the later terms."""
    np.copyto(target, terms[0])
    for term in terms[1:]:
        _COMBINE[op](target, term, out=target)


def takes(part: Part, taker: int) -> Iterator[tuple[int, View, Slices, Slices]]:
    """Who gives a device some of what it wants, in the order of devices: the giver's position and
    block, and where the two blocks meet, in the taker's indices and in the giver's.
    """
    wanted = part.targets[taker]
    for giver, given in enumerate(part.sources):
        if wanted is not None and given is not None:
            here, there = overlap(wanted, given)
            if all(each.start < each.stop for each in here):
                yield giver, given, here, there


def overlap(target: View, source: View) -> tuple[Slices, Slices]:
    """Where two blocks of one global tensor meet, in each one's own indices."""
    wanted, given = numbers(target.where), numbers(source.where)
    here, there = [], []
    for i in range(len(target.shape)):
        low = max(wanted[i], given[i])
        high = min(wanted[i] + target.shape[i], given[i] + source.shape[i])
        high = max(low, high)
        here.append(slice(low - wanted[i], high - wanted[i]))
        there.append(slice(low - given[i], high - given[i]))
    return tuple(here), tuple(there)
