"""Collectives between processes whose GPUs reach each other's memory.

Every GPU takes what it needs from where it lies, in one launch: see `kernels/cuda/exchange.cu`.
Short exchanges take a fourth of the time that they take as NCCL's messages, which are packed and
unpacked by launches of their own.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

from netc.ir.program import Collective, Part, View
from netc.ir.types import ITEM_BYTES, common_elements
from netc_kernels.cuda import exchange
from netc_kernels.cuda.block import Block
from netc_kernels.cuda.exchange import Meeting, Piece, Place
from netc_runtime.comm.inprocess import overlap, shard
from netc_runtime.comm.ranks import Ranks

Open = Callable[[View], Block]
Phase = list[list[Piece]]
"""By position in the group, what a GPU takes."""
PAGE = 2**21
"""Memory that other processes open is taken in pieces of so many bytes, which lie alone."""
OFF = "NCCL_P2P_DISABLE"
"""NCCL's own variable: with 1, GPUs are not to reach each other's memory."""


class Reach:
    """The memory of other processes' GPUs that this one's reaches, and theirs that reach this."""

    def __init__(self, ranks: Ranks, arena: int) -> None:
        """To be made by all processes together; `arena` is this one's memory, a multiple of
        `PAGE` bytes.
        """
        import cupy

        self.ranks, self.runtime = ranks, cupy.cuda.runtime
        self.words = self.runtime.malloc(PAGE)
        self.runtime.memset(self.words, 0, PAGE)
        self.runtime.deviceSynchronize()
        self.used = 0
        offer = self._offer(arena)
        offers = ranks.allgather(offer)
        self.opened: dict[int, tuple[int, ...]] = {}
        for rank, given in enumerate(offers):
            if rank != ranks.rank and offer is not None and given is not None:
                self._open(rank, given, offer[0])
        self.reached = ranks.allgather(frozenset(self.opened))
        self.places: dict[tuple[tuple[int, ...], str], int] = {}

    def arenas(self) -> dict[int, int]:
        """Where this process has the arena of every other that it reaches."""
        return {rank: arena for rank, (arena, _) in self.opened.items()}

    def has(self, devices: Sequence[int]) -> bool:
        """Whether all GPUs of a group reach each other."""
        return all(set(devices) - {each} <= self.reached[each] for each in devices)

    def prepare(self, collectives: Sequence[Collective]) -> None:
        """Divide the words among groups and streams, alike on all ranks."""
        for devices, stream in dict.fromkeys((c.devices, c.stream) for c in collectives):
            if (devices, stream) not in self.places:
                self.places[devices, stream] = self.used
                self.used += Meeting.word_bytes(len(devices))
                assert self.used <= PAGE, "no words left to meet by"

    def collective(self, collective: Collective, open_: Open) -> ReachCollective:
        """A collective of a group whose GPUs reach each other; `open_` knows all their blocks."""
        words = {rank: words for rank, (_, words) in self.opened.items()}
        words[self.ranks.rank] = self.words
        place = self.places[collective.devices, collective.stream]
        me = collective.devices.index(self.ranks.rank)
        meeting = Meeting(tuple(words[device] + place for device in collective.devices), me)
        return ReachCollective(collective, open_, meeting)

    def close(self) -> None:
        """Leave the others' memory, together with them; nothing is under way any more."""
        for addresses in self.opened.values():
            for each in addresses:
                self.runtime.ipcCloseMemHandle(each)
        self.opened = {}
        # Memory must not be freed while another process has it open.
        self.ranks.allgather(None)
        self.runtime.free(self.words)

    def _offer(self, arena: int) -> tuple[str, Any, Any] | None:
        """What another process needs to open this one's memory; None where it is not to."""
        if os.environ.get(OFF, "0") != "0":
            return None
        try:
            arena, words = map(self.runtime.ipcGetMemHandle, (arena, self.words))
        except self.runtime.CUDARuntimeError:
            return None
        return _host(), arena, words

    def _open(self, rank: int, given: tuple[str, Any, Any], host: str) -> None:
        """Open another's memory, where GPUs and system allow it."""
        if given[0] != host:
            return
        opened: list[int] = []
        try:
            for handle in given[1:]:
                opened.append(self.runtime.ipcOpenMemHandle(handle))
        except self.runtime.CUDARuntimeError:
            for each in opened:
                self.runtime.ipcCloseMemHandle(each)
        else:
            self.opened[rank] = tuple(opened)


def _host() -> str:
    """What only processes of this machine, since it was started, have in common."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return platform.node()


class ReachCollective:
    """One collective as this rank sees it: called with a stream, it is started there."""

    def __init__(self, collective: Collective, open_: Open, meeting: Meeting) -> None:
        self.starts: list[Callable[[int], None]] = []
        by_type: dict[str, list[Part]] = {}
        for part in collective.parts:
            by_type.setdefault(_dtype(part, open_), []).append(part)
        for dtype, parts in by_type.items():
            taken = phases(replace(collective, parts=tuple(parts)), open_)
            self.starts.append(exchange.Exchange(taken, dtype, collective.op, meeting))
        self.moved = list(moved(collective, meeting.me, open_))
        """Giver, taker and bytes of what this rank gets."""

    def __call__(self, stream: int) -> None:
        """Start it on a stream."""
        for start in self.starts:
            start(stream)


def phases(collective: Collective, open_: Open) -> list[Phase]:
    """What every GPU takes from where: all parts of a collective, in one phase or two."""
    if collective.kind != "all_reduce":
        made: Phase = [[] for _ in collective.devices]
        for part in collective.parts:
            for taker, pieces in enumerate(made):
                pieces += _wanted(part, taker, collective.op, open_)
        return [made]
    halves: list[Phase] = [[[] for _ in collective.devices] for _ in range(2)]
    for part in collective.parts:
        sources = [open_(view) for view in part.sources if view is not None]
        targets = [open_(view) for view in part.targets if view is not None]
        for taker, target in enumerate(targets):
            for owner in range(len(targets)):
                own = owner == taker
                from_ = sources if own else targets[owner : owner + 1]
                halves[not own][taker] += _shard(target, from_, owner, len(targets))
    return halves


def _wanted(part: Part, taker: int, op: str, open_: Open) -> Iterator[Piece]:
    """What a GPU takes of a part: a reduction, or copies."""
    wanted = part.targets[taker]
    if wanted is None:
        return
    target = open_(wanted)
    terms: list[Place] = []
    for given in part.sources:
        here, there = ((), ()) if given is None else overlap(wanted, given)
        sizes = tuple(each.stop - each.start for each in here)
        if given is None or not prod(sizes):
            continue
        source = open_(given)
        assert source.dtype == target.dtype
        term = _place(source, there, target.nhwc)
        if op:
            terms.append(term)
        elif (place := _place(target, here, target.nhwc)) != term:
            yield Piece(_ordered(sizes, target.nhwc), place, (term,))
    if terms:
        whole = tuple(slice(0, size) for size in target.shape)
        place = _place(target, whole, target.nhwc)
        yield Piece(_ordered(target.shape, target.nhwc), place, tuple(terms))


def _shard(target: Block, sources: Sequence[Block], owner: int, owners: int) -> Iterator[Piece]:
    start, stop = shard(target.elements, owner, owners)
    if start < stop:
        item = ITEM_BYTES[target.dtype]
        places = (Place(each.pointer + start * item, (item,)) for each in (target, *sources))
        first, *terms = places
        yield Piece((stop - start,), first, tuple(terms))


def _place(block: Block, box: Sequence[slice], nhwc: bool) -> Place:
    """Where a box of a block begins; steps in the order of memory that `nhwc` tells."""
    item = ITEM_BYTES[block.dtype]
    dims = _ordered(tuple(range(len(block.shape))), block.nhwc)
    steps, step = [0] * len(dims), item
    for dim in reversed(dims):
        steps[dim], step = step, step * block.shape[dim]
    address = block.pointer + sum(each.start * s for each, s in zip(box, steps, strict=True))
    return Place(address, _ordered(tuple(steps), nhwc))


def _ordered(values: tuple[int, ...], nhwc: bool) -> tuple[int, ...]:
    """Values by dimension in the order of memory."""
    return tuple(values[i] for i in (0, 2, 3, 1)) if nhwc else values


def _dtype(part: Part, open_: Open) -> str:
    return next(open_(view).dtype for view in part.targets if view is not None)


def moved(collective: Collective, me: int, open_: Open) -> Iterator[tuple[int, int, int]]:
    """Giver, taker and bytes of all that the GPU at a position takes from others."""
    devices = collective.devices
    for part in collective.parts:
        wanted = part.targets[me]
        if wanted is None:
            continue
        item, owners = ITEM_BYTES[open_(wanted).dtype], len(devices)
        for giver, given in enumerate(part.sources):
            if giver == me or given is None:
                continue
            if collective.kind == "all_reduce":
                shards = (shard(prod(wanted.shape), each, owners) for each in (me, giver))
                elements = sum(stop - start for start, stop in shards)
            else:
                elements = common_elements(wanted, given)
            yield devices[giver], devices[me], elements * item
