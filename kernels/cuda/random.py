"""Dropout and initial weights with the reference's random bits (see its `random`).

An element's number depends on its row-major index in the *global* tensor `shape` only, whatever
the order in memory. A block lies at `offset`; where `rows` is not empty, its dim 0 stands for those
segments (start, count) of global rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import THREADS, alike, ceil_div, lanes, macros, memory_dims, strides
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor

FILE = "random.cu"
MASK = 0xFFFFFFFF


class RowRange(NamedTuple):
    """Consecutive rows of a block, and where they lie in the global tensor."""

    start: int
    """The first row, in the block."""
    dims: tuple[int, ...]
    """Four dims, from the outermost in memory."""
    steps: tuple[int, ...]
    """From one element to the next along each, in global indices."""
    first: int
    """The global index of the first element."""


def dropout(
    out: Tensor, x: Tensor, seed: Tensor, step: Tensor,
    *, rate: float, key: int, shape: tuple[int, ...], offset: tuple[int, ...],
    rows: tuple[tuple[int, int], ...], stream: int,
) -> None:  # fmt: skip
    """Drop elements of x with probability `rate`, scale the others by 1 / (1 - rate).

    The same call on the gradient of the output gives that of the input. `out` may be x.
    """
    assert alike(out, x) and out.dtype == x.dtype
    threshold = np.uint64(round(rate * 2**32))
    scale = np.float32(1 / (1 - rate) if rate < 1 else 0)
    per_row = prod(x.shape[1:]) * ITEM_BYTES[x.dtype]
    for part in _parts(x, shape, offset, rows):
        held = prod(part.dims)
        target, origin = (
            Tensor(block.pointer + part.start * per_row, (held,), block.dtype) for block in (out, x)
        )
        packed = lanes(part.dims[3], target, origin)
        numbers = (*_place(part, packed), np.uint32(key & MASK), threshold, scale)
        args = (target.pointer, origin.pointer, seed.pointer, step.pointer, *numbers)
        kernel = source.function(FILE, "dropout", **macros(x, packed))
        source.launch(kernel, (ceil_div(held // packed, THREADS),), (THREADS,), args, stream)


def init_normal(
    out: Tensor, seed: Tensor,
    *, std: float, key: int, shape: tuple[int, ...], offset: tuple[int, ...], stream: int,
) -> None:  # fmt: skip
    """Fill a block with normal numbers of mean 0 and deviation `std`, rounded once from float64."""
    kernel = source.function(FILE, "init_normal", **macros(out, 1))
    for part in _parts(out, shape, offset, ()):
        numbers = (*_place(part, 1), np.uint32(key & MASK), np.float64(std))
        args = (out.pointer, seed.pointer, *numbers)
        source.launch(kernel, (ceil_div(out.elements, THREADS),), (THREADS,), args, stream)


def init_constant(out: Tensor, *, value: float, stream: int) -> None:
    """Fill with one value."""
    packed = lanes(out.elements, out)
    packs = out.elements // packed
    kernel = source.function(FILE, "init_constant", **macros(out, packed))
    args = (out.pointer, np.int64(packs), np.float32(value))
    source.launch(kernel, (ceil_div(packs, THREADS),), (THREADS,), args, stream)


def _place(part: RowRange, packed: int) -> tuple[Any, ...]:
    """The arguments that tell a kernel where a part lies."""
    packs = prod(part.dims) // packed
    assert packs < 2**32, "more elements than a launch takes"
    dims = tuple(np.int32(dim) for dim in part.dims[1:])
    return np.uint32(packs), *dims, np.int64(part.first), *(np.int64(s) for s in part.steps)


def _parts(
    block: Tensor,
    shape: tuple[int, ...],
    offset: tuple[int, ...],
    rows: tuple[tuple[int, int], ...],
) -> Iterator[RowRange]:
    """Cut a block at its segments of global rows."""
    if not block.elements:
        return
    steps, order = strides(shape), memory_dims(block)
    inside = sum(at * step for at, step in zip(offset[1:], steps[1:], strict=True))
    start = 0
    for first_row, count in rows or ((offset[0], block.shape[0]),):
        local = (count, *block.shape[1:])
        dims, along = _merged([local[dim] for dim in order], [steps[dim] for dim in order])
        if count:
            yield RowRange(start, dims, along, first_row * steps[0] + inside)
        start += count


def _merged(dims: list[int], steps: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Join dims that are one run of global indices; four remain, or are made."""
    kept = [(dims[-1], steps[-1])]
    for dim, step in zip(reversed(dims[:-1]), reversed(steps[:-1]), strict=True):
        held, unit = kept[0]
        if held == 1 or dim == 1 or step == held * unit:
            kept[0] = (dim * held, step if held == 1 else unit)
        else:
            kept.insert(0, (dim, step))
    kept = [(1, 0)] * (4 - len(kept)) + kept
    return tuple(dim for dim, _ in kept), tuple(step for _, step in kept)
