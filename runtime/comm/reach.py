"""Collectives between processes whose GPUs reach each other's memory.

Every GPU takes what it needs from where it lies, in one launch: see `kernels/cuda/exchange.cu`.
Short exchanges take a fourth of the time that they take as NCCL's messages, which are packed and
unpacked by launches of their own. Small sums are sent instead, since a message is then on its way
once, where taking is to meet, to ask, to be answered, and to meet again.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from netc.ir.program import GroupCollective, Part, View
from netc.ir.types import ITEM_BYTES
from netc_kernels.cuda import exchange
from netc_kernels.cuda.exchange import Boxes, Meeting, Piece, SmallTerms
from netc_kernels.cuda.tensor import Tensor
from netc_runtime.comm.inprocess import summed_moves
from netc_runtime.comm.pieces import dtype_of, is_small, own_pieces, phases
from netc_runtime.launch.ranks import Ranks

Open = Callable[[int, View], Tensor]
PAGE_BYTES = 2**21
"""Memory that other processes open is taken in multiples of it: smaller pieces share a page."""
ALIGNED_BYTES = 256
"""What every such piece begins at a multiple of, wherever a process has it."""
BOXES_BYTES = 2**24
"""For the boxes of small sums. Groups that find no room add up as large ones do."""
OFF = "NCCL_P2P_DISABLE"
"""NCCL's own variable: with 1, GPUs are not to reach each other's memory."""


class Reach:
    """The memory of other processes' GPUs that this one's reaches, and theirs that reach this."""

    def __init__(self, ranks: Ranks, arena: int) -> None:
        """To be made by all processes together; `arena` is this one's memory, a multiple of
        `PAGE_BYTES`.
        """
        import cupy

        self.ranks, self.runtime = ranks, cupy.cuda.runtime
        self.words = self.runtime.malloc(PAGE_BYTES + BOXES_BYTES)
        self.runtime.memset(self.words, 0, PAGE_BYTES + BOXES_BYTES)
        self.runtime.deviceSynchronize()
        self.used = 0
        self.places: dict[tuple[tuple[int, ...], str], int] = {}
        self.boxed = PAGE_BYTES
        self.boxes: dict[tuple[tuple[int, ...], str], int] = {}
        """By group and stream where among a GPU's words their box is."""
        self.opened: dict[int, tuple[int, int]] = {}
        """Of other ranks: where this process has their arena and their words."""
        offer = self._offer(arena)
        for rank, given in enumerate(ranks.allgather(offer)):
            if rank != ranks.rank and offer is not None and given is not None:
                self._open(rank, given, offer[0])
        self.reached = self._tried()

    def arenas(self) -> dict[int, int]:
        """Where this process has the arena of every other that it reaches."""
        return {rank: arena for rank, (arena, _) in self.opened.items()}

    def has(self, devices: Sequence[int]) -> bool:
        """Whether all GPUs of a group reach each other."""
        return all(set(devices) - {each} <= self.reached[each] for each in devices)

    def prepare(self, collectives: Sequence[GroupCollective]) -> None:
        """Divide the words and boxes among groups and streams, alike on all ranks."""
        for devices, stream in dict.fromkeys((c.devices, c.stream) for c in collectives):
            if (devices, stream) not in self.places:
                self.places[devices, stream] = self.used
                self.used += Meeting.nbytes(len(devices))
                assert self.used <= PAGE_BYTES // 2, "no words left to meet by"
        for each in collectives:
            key, size = (each.devices, each.stream), Boxes.nbytes(len(each.devices))
            has_room = self.boxed + size <= PAGE_BYTES + BOXES_BYTES
            if each.kind == "all_reduce" and key not in self.boxes and has_room:
                self.boxes[key], self.boxed = self.boxed, self.boxed + size

    def collective(self, collective: GroupCollective, open_: Open) -> ReachCollective:
        """A collective of a group whose GPUs reach each other; `open_` knows all their blocks."""
        words = {rank: words for rank, (_, words) in self.opened.items()}
        words[self.ranks.rank] = self.words
        place = self.places[collective.devices, collective.stream]
        me = collective.devices.index(self.ranks.rank)
        meeting = Meeting(tuple(words[device] + place for device in collective.devices), me)
        box = self.boxes.get((collective.devices, collective.stream))
        boxes = None
        if box is not None:
            boxes = Boxes(tuple(words[device] + box for device in collective.devices), me)
        return ReachCollective(collective, open_, meeting, boxes)

    def close(self) -> None:
        """Leave the others' memory. This process's own stays until it ends: others that still have
        it open may not be waited for, as one may be leaving because it failed.
        """
        for addresses in self.opened.values():
            for each in addresses:
                self.runtime.ipcCloseMemHandle(each)
        self.opened = {}

    def _offer(self, arena: int) -> tuple[str, Any, Any] | None:
        """What another process needs to open this one's memory; None where it is not to."""
        if os.environ.get(OFF, "") not in ("", "0"):
            return None
        try:
            of_arena, of_words = map(self.runtime.ipcGetMemHandle, (arena, self.words))
        except self.runtime.CUDARuntimeError:
            return None
        return _host(), of_arena, of_words

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
            return
        arena, words = opened
        assert not (arena | words) % ALIGNED_BYTES
        self.opened[rank] = arena, words

    def _tried(self) -> list[frozenset[int]]:
        """By rank, whose memory it reaches: what it writes there is found by its owner."""
        me, kind = self.ranks.rank, np.int64
        mine = np.array([me + 1], kind)
        for _, words in self.opened.values():
            self._copy(words + self._place(me), mine.ctypes.data, mine.nbytes, "HostToDevice")
        # All have written before anyone reads.
        opened = self.ranks.allgather(frozenset(self.opened))
        found = np.zeros(1, kind)
        came = set()
        for rank in range(self.ranks.size):
            self._copy(found.ctypes.data, self.words + self._place(rank), 8, "DeviceToHost")
            if found[0] == rank + 1:
                came.add(rank)
        seen = self.ranks.allgather(came)
        return [
            frozenset(other for other in others if rank in seen[other])
            for rank, others in enumerate(opened)
        ]

    def _place(self, rank: int) -> int:
        """Where a rank tries to write, behind the words."""
        return PAGE_BYTES // 2 + 8 * rank

    def _copy(self, target: int, source: int, nbytes: int, way: str) -> None:
        self.runtime.memcpy(target, source, nbytes, getattr(self.runtime, f"memcpy{way}"))
        self.runtime.deviceSynchronize()


def _host() -> str:
    """What only processes of this machine, since it was started, have in common."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        return platform.node()


class ReachCollective:
    """One collective as this rank sees it: called with a stream, it is started there."""

    def __init__(
        self, collective: GroupCollective, open_: Open, meeting: Meeting, boxes: Boxes | None = None
    ) -> None:
        self.starts: list[Callable[[int], None]] = []
        self.moved: list[tuple[int, int, int]] = []
        """Giver, taker and bytes of all that this rank takes from others."""
        by_type: dict[str, list[Part]] = {}
        for part in collective.parts:
            by_type.setdefault(dtype_of(part, collective.devices, open_), []).append(part)
        for dtype, parts in by_type.items():
            alike = replace(collective, parts=tuple(parts))
            if boxes is not None and is_small(alike, open_):
                self._add_small(alike, open_, dtype, boxes)
                continue
            own = list(own_pieces(alike, meeting.me, open_))
            self.starts += [exchange.OwnCopy(own, dtype)] if own else []
            taken = phases(alike, open_)
            self.starts.append(exchange.Exchange(taken, dtype, collective.op, meeting))
            for piece in (piece for phase in taken for piece in phase[meeting.me]):
                self._count(collective.devices, meeting.me, piece, ITEM_BYTES[dtype])

    def __call__(self, stream: int) -> None:
        """Start it on a stream."""
        for start in self.starts:
            start(stream)

    def _add_small(
        self, collective: GroupCollective, open_: Open, dtype: str, boxes: Boxes
    ) -> None:  # fmt: skip
        devices, terms = collective.devices, []
        for part in collective.parts:
            own, made = part.sources[boxes.me], part.targets[boxes.me]
            assert own is not None and made is not None, "everybody gives to a sum, and gets it"
            given, target = (open_(devices[boxes.me], view) for view in (own, made))
            terms.append(SmallTerms(given.pointer, target.pointer, given.elements))
            self.moved += [
                (devices[other], devices[boxes.me], elements * ITEM_BYTES[dtype])
                for other, elements in summed_moves(given.elements, boxes.me, len(devices))
            ]
        self.starts.append(exchange.SmallSum(terms, dtype, collective.op, boxes))

    def _count(self, devices: tuple[int, ...], me: int, piece: Piece, item: int) -> None:
        for giver in piece.givers:
            if giver != me:
                self.moved.append((devices[giver], devices[me], prod(piece.sizes) * item))
