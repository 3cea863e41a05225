"""NCCL between processes, one a GPU, called from one thread in the program's order.

Reductions to all and to one, and broadcasts, are NCCL's own; everything else goes as messages of
exactly the blocks that are needed, packed where they do not lie in one piece. Every kind of stream
has a communicator of its own, since those of one communicator follow each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from netc.ir.carriers import NCCL_COLLECTIVES
from netc.ir.program import GroupCollective, Part, View
from netc_kernels.cuda.source import stream_of
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor
from netc_runtime.comm.device_copies import as_array, combiner, copied
from netc_runtime.comm.inprocess import Slices, in_memory_order, summed_moves, takes
from netc_runtime.launch.ranks import Ranks

Open = Callable[[int, View], Tensor]
_TYPES = {"f32": 7, "f64": 8, "i64": 4, "bf16": 9, "u8": 1}
"""ncclDataType_t."""
_OPS = {"sum": 0, "max": 2, "min": 3}
"""ncclRedOp_t."""


class NcclGroups:
    """Communicators by group of devices and kind of stream."""

    def __init__(self, ranks: Ranks) -> None:
        # Multicast over NVLink can put a host out of service; NCCL reads this when it starts.
        os.environ.setdefault("NCCL_NVLS_ENABLE", "0")
        self.ranks = ranks
        self.made: dict[tuple[tuple[int, ...], str], Any] = {}
        self.met: set[tuple[tuple[int, ...], str]] = set()
        """Groups that have communicators, of other ranks alone too."""

    def collective(self, collective: GroupCollective, open_: Open) -> NcclCollective:
        """A collective that this process takes part in."""
        group = self.made[collective.devices, collective.stream]
        return NcclCollective(collective, self.ranks.rank, open_, group)

    def prepare(self, collectives: Sequence[GroupCollective]) -> None:
        """Make all communicators, in one order on all ranks."""
        from cupy.cuda import nccl

        wanted = dict.fromkeys((c.devices, c.stream) for c in collectives)
        for devices, stream in wanted:
            if (devices, stream) in self.met:
                continue
            self.met.add((devices, stream))
            own = nccl.get_unique_id() if self.ranks.rank == devices[0] else None
            offered = self.ranks.allgather(own)
            if self.ranks.rank in devices:
                position = devices.index(self.ranks.rank)
                self.made[devices, stream] = nccl.NcclCommunicator(
                    len(devices), offered[devices[0]], position
                )

    def close(self) -> None:
        """Leave all communicators; nothing is under way any more."""
        for made in self.made.values():
            made.abort()
        self.made = {}


class NcclCollective:
    """One collective as this rank sees it."""

    def __init__(self, collective: GroupCollective, rank: int, open_: Open, group: Any) -> None:
        self.collective, self.group = collective, group
        self.rank, self.me = rank, collective.devices.index(rank)
        self.before: list[Callable[[], None]] = []
        self.during: list[Callable[[int], None]] = []
        self.after: list[Callable[[], None]] = []
        self.moved: list[tuple[int, int, int]] = []
        """Giver, taker and bytes of what this rank gets."""
        whole = {"all_reduce": self._all_reduce, "reduce": self._reduce,
                 "broadcast": self._broadcast}  # fmt: skip
        assert whole.keys() == NCCL_COLLECTIVES
        make = whole.get(collective.kind, self._messages)
        for part in collective.parts:
            make(part, open_)

    def __call__(self, stream: int) -> None:
        """Start it on a stream."""
        from cupy.cuda import nccl

        with stream_of(stream):
            for step in self.before:
                step()
            if self.during:
                nccl.groupStart()
                for send in self.during:
                    send(stream)
                nccl.groupEnd()
            for step in self.after:
                step()

    def _count(self, giver: int, taker: int, nbytes: int) -> None:
        """Every rank counts what it gets."""
        if taker == self.me:
            devices = self.collective.devices
            self.moved.append((devices[giver], devices[taker], nbytes))

    def _all_reduce(self, part: Part, open_: Open) -> None:
        source, target = self._mine(part.sources, open_), self._mine(part.targets, open_)
        assert source is not None
        assert target is not None
        count, kind, op = source.elements, _TYPES[source.dtype], _OPS[self.collective.op]
        if not count:
            return
        self.during.append(
            lambda stream: self.group.allReduce(
                source.pointer, target.pointer, count, kind, op, stream
            )
        )
        for other, elements in summed_moves(count, self.me, len(part.sources)):
            self._count(other, self.me, elements * ITEM_BYTES[source.dtype])

    def _reduce(self, part: Part, open_: Open) -> None:
        source, target = self._mine(part.sources, open_), self._mine(part.targets, open_)
        assert source is not None
        root = self.collective.root
        into = source.pointer if target is None else target.pointer
        count, kind, op = source.elements, _TYPES[source.dtype], _OPS[self.collective.op]
        if not count:
            return
        self.during.append(
            lambda stream: self.group.reduce(source.pointer, into, count, kind, op, root, stream)
        )
        for other in range(len(part.sources)):
            self._count(other, root, source.nbytes)

    def _broadcast(self, part: Part, open_: Open) -> None:
        root = self.collective.root
        block = self._mine(part.sources if self.me == root else part.targets, open_)
        assert block is not None
        count, kind = block.elements, _TYPES[block.dtype]
        if not count:
            return
        self.during.append(
            lambda stream: self.group.broadcast(
                block.pointer, block.pointer, count, kind, root, stream
            )
        )
        self._count(root, self.me, block.nbytes)

    def _messages(self, part: Part, open_: Open) -> None:
        """Blocks from every source to every target that needs some of it."""
        for other in range(len(part.targets)):
            for giver, given, _, there in takes(part, other):
                if giver == self.me != other:
                    self._send(other, open_(self.rank, given), there)
        target = self._mine(part.targets, open_)
        if target is None:
            return
        terms = []
        for giver, given, here, there in takes(part, self.me):
            if giver == self.me:
                terms.append(self._own(target, here, as_array(open_(self.rank, given))[there]))
            else:
                terms.append(self._others(target, here, giver))
        if terms and self.collective.op:
            result = as_array(target)
            kernel = combiner(target.dtype, self.collective.op, len(terms), 1)
            self.after.append(lambda: kernel(*terms, result))

    def _own(self, target: Tensor, here: Slices, term: Any) -> Any:
        """What this rank has itself of what it wants."""
        if not self.collective.op:
            self.before.append(copied(as_array(target)[here], term))
        return term

    def _others(self, block: Tensor, here: Slices, other: int) -> Any:
        """What another rank has of it, where it will be."""
        place = as_array(block)[here]
        self._count(other, self.me, place.size * ITEM_BYTES[block.dtype])
        if not self.collective.op and _in_one_piece(place):
            self._receive(other, place.data.ptr, place.size, block.dtype)
            return place
        landing = _room(place.shape, block)
        self._receive(other, landing.data.ptr, landing.size, block.dtype)
        if not self.collective.op:
            self.after.append(copied(place, landing))
        return landing

    def _send(self, other: int, block: Tensor, there: Slices) -> None:
        piece = as_array(block)[there]
        if not _in_one_piece(piece):
            packed = _room(piece.shape, block)
            self.before.append(copied(packed, piece))
            piece = packed
        pointer, count, kind = piece.data.ptr, piece.size, _TYPES[block.dtype]
        self.during.append(lambda stream: self.group.send(pointer, count, kind, other, stream))

    def _receive(self, other: int, pointer: int, count: int, dtype: str) -> None:
        kind = _TYPES[dtype]
        self.during.append(lambda stream: self.group.recv(pointer, count, kind, other, stream))

    def _mine(self, views: Sequence[View | None], open_: Open) -> Tensor | None:
        view = views[self.me]
        return None if view is None else open_(self.rank, view)


def _in_one_piece(array: Any) -> bool:
    """Whether an array's elements lie together, in the order that all ranks take them in."""
    return bool(in_memory_order(array).flags.c_contiguous)


def _room(shape: Sequence[int], like: Tensor) -> Any:
    """Memory for a packed piece, channels where `like` has them."""
    import cupy

    nbytes = prod(shape) * ITEM_BYTES[like.dtype]
    pointer = cupy.cuda.runtime.malloc(max(nbytes, 1))
    return as_array(Tensor(pointer, tuple(shape), like.dtype, like.nhwc))
