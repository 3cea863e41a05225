"""Collectives through memory that GPUs reach of each other, against NumPy, to the bit.

All devices are on one GPU here, each on a stream of its own, or on the GPU that is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pytest
from pretend import pretended
from pretend.memory import store, widened

from netc.ir.program import GroupCollective, Part, View
from netc_kernels import cuda
from netc_kernels.cuda.exchange import Boxes, Meeting
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor
from netc_runtime.comm.reach import PAGE_BYTES, ReachCollective

NUMPY = {"f32": np.float32, "bf16": np.uint16, "f64": np.float64, "i64": np.int64,
         "u8": np.uint8}  # fmt: skip
COMBINE = {"sum": np.add, "max": np.maximum, "min": np.minimum}
GUARD = 64


@dataclass(frozen=True)
class Case:
    """A tensor that every device gives a part of, or a term, and what each wants of it."""

    ranks: int
    shape: tuple[int, ...]
    kind: str
    dtype: str = "f32"
    op: str = ""
    given: int | None = None
    """The dimension along which what is given is split; None where it is whole."""
    taken: int | None = None
    root: int = -1
    nhwc: bool = False
    in_place: bool = False
    boxed: bool = False
    """Whether small sums are sent, not taken."""

    def parts(self, whole: int | None) -> list[tuple[slice, ...]]:
        """The box of every rank, split along a dimension."""
        boxes = []
        for rank in range(self.ranks):
            box = [slice(0, size) for size in self.shape]
            if whole is not None:
                size = self.shape[whole]
                step = -(-size // self.ranks)
                box[whole] = slice(min(rank * step, size), min((rank + 1) * step, size))
            boxes.append(tuple(box))
        return boxes


CASES = [
    *(
        Case(ranks, shape, "all_gather", dtype, given=dim)
        for ranks, dtype in [(2, "bf16"), (3, "f32"), (2, "i64"), (3, "u8")]
        for shape, dim in [((256, 9216), 0), ((256, 96), 1), ((7, 13), 1), ((5,), 0), ((1, 8), 0)]
    ),
    *(
        Case(ranks, shape, "reduce_scatter", dtype, op, taken=dim)
        for ranks, dtype, op in [(2, "bf16", "sum"), (4, "f32", "sum"), (3, "f64", "max")]
        for shape, dim in [((256, 4096), 1), ((64, 96), 0), ((7, 13), 1), ((2, 3), 0)]
    ),
    *(
        Case(ranks, shape, "all_reduce", dtype, op, in_place=in_place)
        for ranks, dtype, op in [(2, "f32", "sum"), (3, "bf16", "sum"), (5, "i64", "min")]
        for shape in [(300_001,), (64, 16), (1,), (0,)]
        for in_place in (False, True)
    ),
    *(
        Case(ranks, shape, "all_reduce", dtype, op, in_place=in_place, boxed=True)
        for ranks, dtype, op in [
            (2, "f32", "sum"),
            (2, "f64", "sum"),
            (3, "bf16", "sum"),
            (8, "f32", "max"),
            (5, "i64", "min"),
            (2, "u8", "max"),
        ]
        for shape in [(2, 2048), (1,), (3, 5), (0,), (40_000,)]
        for in_place in (False, True)
    ),
    *(
        Case(ranks, (8, 24, 5, 6), "all_to_all", "bf16", given=a, taken=b, nhwc=nhwc)
        for ranks in (2, 3)
        for a, b in [(0, 1), (1, 0), (2, 3), (1, None)]
        for nhwc in (False, True)
    ),
    Case(3, (8, 24, 5, 6), "reduce_scatter", "f32", "sum", taken=1, nhwc=True),
    # What a GPU has itself is so much that a launch of its own copies it.
    Case(2, (8, 64, 40, 41), "all_gather", "bf16", given=1, nhwc=True),
    Case(2, (8, 63, 40, 41), "all_gather", "f32", given=1),
    Case(3, (40, 8), "broadcast", root=1),
    Case(3, (40, 8), "reduce", op="sum", root=2),
]


class Memory:
    """An arena for every device of a case, and two buffers of it: given and taken."""

    def __init__(self, case: Case, cupy: Any) -> None:
        self.case, self.runtime = case, cupy.cuda.runtime
        self.item = ITEM_BYTES[case.dtype]
        self.size = GUARD + prod(case.shape) * self.item + GUARD
        self.arenas = [self.runtime.malloc(2 * self.size) for _ in range(case.ranks)]
        self.words = [self.runtime.malloc(PAGE_BYTES) for _ in range(case.ranks)]
        boxes = Boxes.nbytes(case.ranks)
        self.boxes = [self.runtime.malloc(boxes) for _ in range(case.ranks * case.boxed)]
        for box in self.boxes:
            self.runtime.memset(box, 0, boxes)
        for arena, words in zip(self.arenas, self.words, strict=True):
            self.runtime.memset(arena, 255, 2 * self.size)
            self.runtime.memset(words, 0, PAGE_BYTES)

    def open(self, rank: int, view: View) -> Tensor:
        name, _ = view.buffer.split("@")
        start = self.arenas[rank] + GUARD + (name == "taken") * self.size
        nhwc = view.format == "nhwc"
        return Tensor(start + view.start * self.item, view.shape, self.case.dtype, nhwc)

    def _block(self, view: View) -> Tensor:
        return self.open(int(view.buffer.split("@")[1]), view)

    def put(self, view: View, value: Any) -> None:
        dims = self._in_memory(value)
        self._copy(self._block(view).pointer, dims.ctypes.data, dims.nbytes, "HostToDevice")

    def get(self, view: View) -> Any:
        order = (0, 2, 3, 1) if view.format else range(len(view.shape))
        found = np.empty([view.shape[i] for i in order], NUMPY[self.case.dtype])
        self._copy(found.ctypes.data, self._block(view).pointer, found.nbytes, "DeviceToHost")
        return found.transpose(0, 3, 1, 2) if view.format else found

    def check_guards(self) -> None:
        """Nothing was written outside the largest tensor of either buffer."""
        for arena in self.arenas:
            found = np.empty(2 * self.size, np.uint8)
            self._copy(found.ctypes.data, arena, found.nbytes, "DeviceToHost")
            for half in found.reshape(2, -1):
                assert (half[:GUARD] == 255).all()
                assert (half[-GUARD:] == 255).all()

    def free(self) -> None:
        for each in (*self.arenas, *self.words, *self.boxes):
            self.runtime.free(each)

    def _copy(self, target: int, source: int, nbytes: int, way: str) -> None:
        if nbytes:
            self.runtime.memcpy(target, source, nbytes, getattr(self.runtime, f"memcpy{way}"))

    def _in_memory(self, value: Any) -> Any:
        return np.ascontiguousarray(value.transpose(0, 2, 3, 1) if self.case.nhwc else value)


def collective(case: Case) -> GroupCollective:
    def views(name: str, split: int | None) -> list[View]:
        return [
            View(f"{name}@{rank}", 0, tuple(s.stop - s.start for s in box),
                 tuple(s.start for s in box), "nhwc" if case.nhwc else "")
            for rank, box in enumerate(case.parts(split))
        ]  # fmt: skip

    sources: list[View | None] = list(views("given", case.given))
    targets: list[View | None] = list(views("given" if case.in_place else "taken", case.taken))
    if case.kind == "broadcast":
        sources = [v if i == case.root else None for i, v in enumerate(sources)]
        targets = [None if i == case.root else v for i, v in enumerate(targets)]
    if case.kind == "reduce":
        targets = [v if i == case.root else None for i, v in enumerate(targets)]
    part = Part("x", tuple(sources), tuple(targets))
    ranks = tuple(range(case.ranks))
    return GroupCollective(
        ranks, "inner", case.kind, case.op, case.root, (part,), "fc", "forward", ()
    )  # fmt: skip


def numbers(case: Case, rng: Any, terms: int) -> Any:
    if case.dtype == "i64":
        return rng.integers(-1000, 1000, (terms, *case.shape))
    made = rng.standard_normal((terms, *case.shape)).astype(np.float32)
    found = np.empty(made.shape, NUMPY[case.dtype])
    store(found, made)
    return found


def check(case: Case, cupy: Any) -> None:
    asked, memory = collective(case), Memory(case, cupy)
    starts = started(case, asked, memory)
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(case.ranks)]
    rng = np.random.default_rng(3)
    (part,) = asked.parts
    for _ in range(5):
        terms = numbers(case, rng, case.ranks if case.op else 1)
        for rank, (view, box) in enumerate(zip(part.sources, case.parts(case.given), strict=True)):
            if view is not None:
                memory.put(view, terms[rank if case.op else 0][box])
        cupy.cuda.runtime.deviceSynchronize()
        for start, stream in zip(starts, streams, strict=True):
            start(stream.ptr)
        cupy.cuda.runtime.deviceSynchronize()
        expected = reduced(case, terms)
        for view, box in zip(part.targets, case.parts(case.taken), strict=True):
            if view is not None:
                np.testing.assert_array_equal(memory.get(view), expected[box])
    memory.check_guards()
    memory.free()


def started(case: Case, asked: GroupCollective, memory: Memory) -> list[ReachCollective]:
    """The collective as each device sees it."""
    return [
        ReachCollective(
            asked, memory.open, Meeting(tuple(memory.words), rank),
            Boxes(tuple(memory.boxes), rank) if case.boxed else None,
        )
        for rank in range(case.ranks)
    ]  # fmt: skip


def reduced(case: Case, terms: Any) -> Any:
    """The terms reduced in the order of devices, rounded once."""
    total = widened(terms[0])
    for term in terms[1:]:
        total = COMBINE[case.op](total, widened(term))
    found = np.empty(case.shape, NUMPY[case.dtype])
    store(found, total)
    return found


@pytest.fixture
def nothing() -> Iterator[Any]:
    """A GPU that is none."""
    with pretended():
        import cupy

        yield cupy


@pytest.mark.parametrize("case", CASES, ids=str)
def test_everybody_gets_what_they_want(case: Case, nothing: Any) -> None:
    check(case, nothing)


@pytest.mark.gpu
@pytest.mark.skipif(not cuda.found()[0], reason="there is no GPU")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_devices_of_a_gpu_get_what_they_want(case: Case) -> None:
    import cupy

    check(case, cupy)


def test_what_comes_from_others_is_counted(nothing: Any) -> None:
    def taken(case: Case) -> list[list[tuple[int, int, int]]]:
        memory = Memory(case, nothing)
        return [each.moved for each in started(case, collective(case), memory)]

    gathered = taken(Case(3, (7, 2), "all_gather", given=0))
    assert gathered == [[(1, 0, 24), (2, 0, 8)], [(0, 1, 24), (2, 1, 8)], [(0, 2, 24), (1, 2, 24)]]
    summed = [sorted(each) for each in taken(Case(3, (7,), "all_reduce", op="sum"))]
    assert summed == [
        [(1, 0, 12), (1, 0, 12), (2, 0, 4), (2, 0, 12)],
        [(0, 1, 12), (0, 1, 12), (2, 1, 4), (2, 1, 12)],
        [(0, 2, 4), (0, 2, 12), (1, 2, 4), (1, 2, 12)],
    ]
    # Sums count in shards, however they go.
    sent = [sorted(each) for each in taken(Case(3, (7,), "all_reduce", op="sum", boxed=True))]
    assert sent == [[(1, 0, 24), (2, 0, 16)], [(0, 1, 24), (2, 1, 16)], [(0, 2, 16), (1, 2, 16)]]
