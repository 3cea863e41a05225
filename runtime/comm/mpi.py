"""Collectives between MPI ranks.

A collective becomes messages between its ranks, in the same two stages and with the same order of
summation as inside one process, so results agree to the bit. Every rank posts its messages in
program order, which all ranks share.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from netc.ir.program import GroupCollective, Part, View
from netc_runtime.comm.inprocess import Array, Counter, Open, combine, flat, overlap, shard, takes
from netc_runtime.launch.mpi import MpiRanks

STAGES = 3
"""Rounds of messages of a collective, at most: no two collectives share a tag."""
TAGS = 32_000
"""Tags that every MPI allows; messages of one pair of ranks keep their order within a tag."""


class MpiCollective:
    """One collective seen from one rank: it posts its messages, then asks whether they are done."""

    def __init__(
        self,
        number: int,
        collective: GroupCollective,
        open_: Open,
        ranks: MpiRanks,
        traffic: Counter,
    ) -> None:
        self.number, self.collective = number, collective
        self.ranks, self.traffic = ranks, traffic
        self.me = collective.devices.index(ranks.rank)
        self.everyone = range(len(collective.devices))
        here = partial(open_, ranks.rank)
        self.parts = [_Mine(part, self.me, here) for part in collective.parts]
        shared = collective.kind == "all_reduce"
        self.stages: tuple[Callable[[], None], ...] = (
            (self._post_shards, self._post_sums, self._take_sums)
            if shared
            else (self._post_blocks, self._take_blocks)
        )
        self.stage = 0
        self.requests: list[Any] = []
        self.received: dict[tuple[int, int], Array] = {}

    def advance(self) -> bool:
        """Go on as far as messages have come; True once the collective has ended here."""
        if not self.ranks.have_ended(self.requests):
            return False
        self.requests = []
        self.stages[self.stage]()
        self.stage += 1
        if self.stage < len(self.stages):
            return False
        self.stage = 0
        return True

    def _post(self, index: int, other: int, outgoing: Array | None, size: int, dtype: Any) -> None:
        """Send to and receive from another device of the group, for one part."""
        tag = (self.number * STAGES + self.stage) % TAGS
        device = self.collective.devices[other]
        if outgoing is not None and outgoing.size:
            packed = np.ascontiguousarray(outgoing)
            self.requests.append(self.ranks.world.Isend(packed, device, tag))
        if size:
            incoming = self.received[index, other] = np.empty(size, dtype)
            self.requests.append(self.ranks.world.Irecv(incoming, device, tag))
            self.traffic.count(device, self.ranks.rank, incoming.nbytes)

    def _post_blocks(self) -> None:
        """What each other device's target needs of mine, and mine of theirs."""
        for index, mine in enumerate(self.parts):
            for other in self.everyone:
                if other != self.me:
                    outgoing, incoming = mine.outgoing(other), mine.incoming(other)
                    self._post(index, other, outgoing, incoming, mine.dtype)

    def _take_blocks(self) -> None:
        for index, mine in enumerate(self.parts):
            target, terms = mine.target, []
            for other, _, here, there in takes(mine.part, self.me):
                assert target is not None
                if other == self.me:
                    assert mine.source is not None
                    part = mine.source[there]
                else:
                    part = self.received[index, other].reshape(target[here].shape)
                if self.collective.op:
                    terms.append(part)
                else:
                    target[here] = part
            if terms and target is not None:
                combine(self.collective.op, terms, target)
        self.received = {}

    def _post_shards(self) -> None:
        """All-reduce, first half: every owner gets its shard of everybody."""
        for index, mine in enumerate(self.parts):
            own = mine.shard(self.me, len(self.everyone))
            for other in self.everyone:
                if other != self.me:
                    start, stop = mine.shard(other, len(self.everyone))
                    outgoing = mine.flat_source[start:stop]
                    self._post(index, other, outgoing, own[1] - own[0], mine.dtype)

    def _post_sums(self) -> None:
        """The owner sums in device order and sends the sum to everybody."""
        for index, mine in enumerate(self.parts):
            start, stop = mine.shard(self.me, len(self.everyone))
            own = mine.flat_source[start:stop]
            terms = [own if o == self.me else self.received.get((index, o)) for o in self.everyone]
            mine.sum = np.empty_like(own)
            if own.size:
                combine(self.collective.op, [t for t in terms if t is not None], mine.sum)
        self.received = {}
        for index, mine in enumerate(self.parts):
            for other in self.everyone:
                if other != self.me:
                    start, stop = mine.shard(other, len(self.everyone))
                    self._post(index, other, mine.sum, stop - start, mine.dtype)

    def _take_sums(self) -> None:
        for index, mine in enumerate(self.parts):
            for other in self.everyone:
                start, stop = mine.shard(other, len(self.everyone))
                got = mine.sum if other == self.me else self.received.get((index, other))
                if got is not None:
                    mine.flat_target[start:stop] = got
        self.received = {}


class _Mine:
    """One part as this rank sees it."""

    def __init__(self, part: Part, me: int, open_: Callable[[View], Array]) -> None:
        self.part, self.me = part, me
        source, target = part.sources[me], part.targets[me]
        self.source = None if source is None else open_(source)
        self.target = None if target is None else open_(target)
        present = self.source if self.source is not None else self.target
        self.dtype = np.dtype(np.float32) if present is None else present.dtype
        self.flat_source = np.empty(0) if self.source is None else flat(self.source)
        self.flat_target = np.empty(0) if self.target is None else flat(self.target)
        self.sum: Array = np.empty(0)

    def shard(self, owner: int, workers: int) -> tuple[int, int]:
        """Start and stop of an owner's shard of the flat tensor."""
        return shard(self.flat_source.size, owner, workers)

    def outgoing(self, other: int) -> Array | None:
        """What another device's target needs of this one's source."""
        source, target = self.part.sources[self.me], self.part.targets[other]
        if source is None or target is None or self.source is None:
            return None
        return self.source[overlap(target, source)[1]]

    def incoming(self, other: int) -> int:
        """Elements that this device's target needs of another's source."""
        source, target = self.part.sources[other], self.part.targets[self.me]
        if source is None or target is None or self.target is None:
            return 0
        return int(self.target[overlap(target, source)[0]].size)
