"""Parts of tensors, and sums of them, taken from the memory of several GPUs by each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import Any

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import ceil_div
from netc_kernels.cuda.tensor import ITEM_BYTES

FILE = "exchange.cu"
TYPES = {"f32": 0, "bf16": 1, "f64": 2, "i64": 3, "u8": 4}
OPS = {"": 0, "sum": 0, "max": 1, "min": 2}
THREADS, UNIT_BYTES, DIMS = 256, 16, 5
BLOCKS, BLOCKS_APART = 32, 64
"""At most, and where rows of what is taken lie apart in memory, of which a thread has half as many
units under way: those that wait on all of a program's streams at once must fit a GPU's processors,
each of which has room for two.
"""
BLOCKS_COPYING = 1024
"""Of a copy in a GPU's own memory, at most."""
UNITS_AHEAD = 8
"""That a thread has under way at a time."""
WORD_BYTES = 4
BLOCKS_SENDING = 8
"""Of a small sum, however small: blocks count the sums."""
CELL_BYTES, LINE_BYTES, CELLS, COUNTERS_BYTES = 8, 16, 4096, 256
"""Of a box: bytes of a tensor that go together, with the number of the sum, how many there are at
most, and what comes before them. As in the kernel.
"""


@dataclass(frozen=True, slots=True)
class StridedAddress:
    """Part of a tensor in memory."""

    address: int
    steps: tuple[int, ...]
    """Bytes from an element to the next along each dimension."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What a GPU takes: the reduction of some parts of tensors of one size, or a copy of one."""

    sizes: tuple[int, ...]
    """Elements along each dimension, those furthest apart in the target's memory first."""
    target: StridedAddress
    terms: tuple[StridedAddress, ...]
    givers: tuple[int, ...]
    """Whose memory each term is in, by position in the group."""

    def joined(self, item: int) -> Piece:
        """The same with as few dimensions as it needs, for elements of so many bytes."""
        places = (self.target, *self.terms)
        sizes: list[int] = []
        kept: list[int] = []
        for dim, size in enumerate(self.sizes):
            if size == 1:
                continue
            if kept and all(p.steps[kept[-1]] == p.steps[dim] * size for p in places):
                sizes[-1] *= size
                kept[-1] = dim
            else:
                sizes.append(size)
                kept.append(dim)
        if not kept or any(p.steps[kept[-1]] != item for p in places):
            sizes.append(1)  # elements of the last dimension lie together
            kept.append(-1)
        outer = kept[:-1]
        first, *terms = (
            StridedAddress(p.address, (*(p.steps[dim] for dim in outer), item)) for p in places
        )
        return Piece(tuple(sizes), first, tuple(terms), self.givers)


@dataclass(frozen=True, slots=True)
class Meeting:
    """The GPUs of a group and the words by which they meet."""

    words: tuple[int, ...]
    """Of each GPU: the address of `nbytes` that are zero at first."""
    me: int

    @staticmethod
    def nbytes(ranks: int) -> int:
        """Of a GPU's words in a group of so many: each block has one for every GPU and a count."""
        return BLOCKS_APART * (ranks + 1) * WORD_BYTES


class Exchange:
    """What the GPUs of a group give each other; to be started by all of them, in one order."""

    def __init__(
        self, phases: Sequence[Sequence[Sequence[Piece]]], dtype: str, op: str, meeting: Meeting
    ) -> None:
        """By phase and GPU, what it takes: one phase, or two, of which the second takes what the
        first one made, in pieces of the same sizes.

        Pieces of all GPUs are told, as they share the work among blocks alike.
        """
        table, unit, self.grid = tabulated(phases, dtype, meeting)
        self.table = _on_gpu(table)
        self.me, self.phases = np.int32(meeting.me), np.int32(len(phases))
        width, ranks = unit // ITEM_BYTES[dtype], len(meeting.words)
        self.kernel = source.function(
            FILE, "exchange", TYPE=TYPES[dtype], WIDTH=width, OP=OPS[op], RANKS=ranks
        )

    def __call__(self, stream: int) -> None:
        """Start it on a stream."""
        args = (self.table.data.ptr, self.me, self.phases)
        source.launch(self.kernel, self.grid, (THREADS,), args, stream)


@dataclass(frozen=True, slots=True)
class SmallTerms:
    """What a GPU adds to a sum that all of them get."""

    address: int
    target: int
    """Where the sum goes, which may be the same place."""
    elements: int


@dataclass(frozen=True, slots=True)
class Boxes:
    """The GPUs of a group and the memory into which they write each other's terms."""

    addresses: tuple[int, ...]
    """Of each GPU: of `nbytes` that are zero at first."""
    me: int

    @staticmethod
    def nbytes(ranks: int) -> int:
        """Of a GPU's box in a group of so many: two sums in turn, of terms from each."""
        return COUNTERS_BYTES + 2 * ranks * CELLS * LINE_BYTES


def cells(elements: int, dtype: str) -> int:
    """How many cells of a box a tensor takes."""
    return ceil_div(elements * ITEM_BYTES[dtype], CELL_BYTES)


class SmallSum:
    """Sums of few bytes that all GPUs of a group get, each made of all that the others sent; to be
    started by all of them, in one order.
    """

    def __init__(self, terms: Sequence[SmallTerms], dtype: str, op: str, boxes: Boxes) -> None:
        self.table, self.me = _on_gpu(small_table(terms, dtype, boxes)), np.int32(boxes.me)
        macros = {"TYPE": TYPES[dtype], "OP": OPS[op], "RANKS": len(boxes.addresses)}
        self.kernel = source.function(FILE, "small_sum", WIDTH=1, **macros)

    def __call__(self, stream: int) -> None:
        """Start it on a stream."""
        args = (self.table.data.ptr, self.me)
        source.launch(self.kernel, (BLOCKS_SENDING,), (THREADS,), args, stream)


def small_table(terms: Sequence[SmallTerms], dtype: str, boxes: Boxes) -> list[int]:
    """The kernel's table of what one GPU adds."""
    table, before = [len(terms), *boxes.addresses], 0
    for each in terms:
        table += [each.address, each.target, each.elements, before]
        before += cells(each.elements, dtype)
    assert before <= CELLS, "more than a box has room for"
    return table


class OwnCopy:
    """Pieces that a GPU takes of its own memory, where much is to be taken."""

    def __init__(self, pieces: Sequence[Piece], dtype: str) -> None:
        table, unit, self.grid = tabulated([[pieces]], dtype, Meeting((0,), 0), BLOCKS_COPYING)
        self.table = _on_gpu(table)
        self.kernel = source.function(
            FILE, "copy", TYPE=TYPES[dtype], WIDTH=unit // ITEM_BYTES[dtype], OP=OPS[""], RANKS=1
        )

    def __call__(self, stream: int) -> None:
        """Start it on a stream."""
        source.launch(self.kernel, self.grid, (THREADS,), (self.table.data.ptr,), stream)


def _on_gpu(table: Sequence[int]) -> Any:
    import cupy

    # The streams of exchanges do not wait for the one that this would go to.
    return cupy.asarray(np.array(table, np.uint64), blocking=True)


def tabulated(
    phases: Sequence[Sequence[Sequence[Piece]]],
    dtype: str,
    meeting: Meeting,
    most: int | None = None,
) -> tuple[list[int], int, tuple[int]]:
    """The kernel's table of what one GPU takes, the bytes of a unit, and the grid: of at most so
    many blocks, if that is told.
    """
    ranks, item = len(meeting.words), ITEM_BYTES[dtype]
    joined = [[[p.joined(item) for p in each] for each in phase] for phase in phases]
    every = [piece for phase in joined for each in phase for piece in each]
    unit = unit_bytes(every, item)
    units = max((prod(p.sizes) * item // unit for p in every), default=0)
    assert units < 2**32
    apart = any(len(piece.sizes) > 1 for piece in every)
    most = most or (BLOCKS_APART if apart else BLOCKS)
    mine = [phase[meeting.me] for phase in joined]
    table = [len(mine[0]), len(mine[-1]) if len(mine) > 1 else 0, *meeting.words]
    for piece in (piece for pieces in mine for piece in pieces):
        table += record(piece, item, unit, ranks)
    return table, unit, (min(max(ceil_div(units, THREADS * UNITS_AHEAD), 1), most),)


def unit_bytes(pieces: Sequence[Piece], item: int) -> int:
    """The most bytes, at most 16, in which all pieces can be moved; they are `joined`."""
    unit = UNIT_BYTES
    for piece in pieces:
        for place in (piece.target, *piece.terms):
            unit = gcd(unit, place.address, piece.sizes[-1] * item, *place.steps[:-1])
    return unit


def record(piece: Piece, item: int, unit: int, ranks: int) -> Iterator[int]:
    """A piece as the kernel reads it."""
    assert len(piece.terms) in (1, ranks)
    *outer, last = piece.sizes
    assert len(outer) < DIMS
    missing = DIMS - 1 - len(outer)
    yield piece.target.address
    yield len(piece.terms)
    yield prod(piece.sizes) * item // unit
    yield missing
    yield from (*[1] * missing, *outer, last * item // unit)[1:]
    yield from (*[0] * missing, *piece.target.steps[:-1])
    for term in piece.terms:
        yield term.address
        yield from (*[0] * missing, *term.steps[:-1])
    yield from [0] * (DIMS * (ranks - len(piece.terms)))
