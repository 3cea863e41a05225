"""Copies of tensors and of parts of them, and between the orders N C H W and N H W C.

Elements of any type. Results overlap no operand.
"""

from __future__ import annotations

from math import gcd, prod

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import THREADS, alike, ceil_div, memory_dims
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor

FILE = "move.cu"
TILE_UNITS = 1024
"""Units that a block copies, as in the source."""
FEW = 8
"""The short side of a matrix up to which a thread transposes a whole piece of it."""


def copy(out: Tensor, x: Tensor, *, stream: int) -> None:
    """Copy x, into the other order of memory where `out` has it."""
    assert out.shape == x.shape and out.dtype == x.dtype
    if alike(out, x):
        _rectangle(out.pointer, x.pointer, 1, (x.nbytes, x.nbytes, x.nbytes), stream)
    else:
        channels, pixels = x.shape[1], prod(x.shape[2:])
        high, wide = (pixels, channels) if x.nhwc else (channels, pixels)
        _transpose(out, x, high, wide, stream)


def slice_dim(out: Tensor, x: Tensor, *, dim: int, start: int, stream: int) -> None:
    """Copy the part of x from `start` on along `dim`, as long as `out` is there."""
    rows, width, pitch = _runs(out, x, dim)
    begin = start * width // max(1, out.shape[dim])
    _rectangle(out.pointer, x.pointer + begin, rows, (width, width, pitch), stream)


def concat(out: Tensor, *xs: Tensor, stream: int) -> None:
    """Join tensors along dim 1 (channels)."""
    _join(out, xs, 1, stream)


def concat_rows(out: Tensor, *xs: Tensor, stream: int) -> None:
    """Join tensors along dim 0."""
    _join(out, xs, 0, stream)


def _join(out: Tensor, xs: tuple[Tensor, ...], dim: int, stream: int) -> None:
    begin = 0
    for x in xs:
        rows, width, pitch = _runs(x, out, dim)
        _rectangle(out.pointer + begin, x.pointer, rows, (width, pitch, width), stream)
        begin += width


def _runs(part: Tensor, whole: Tensor, dim: int) -> tuple[int, int, int]:
    """A part along `dim` as runs of memory: how many, their bytes, and those of the whole's."""
    assert part.nhwc == whole.nhwc and part.dtype == whole.dtype
    order = memory_dims(part)
    at = order.index(dim)
    rows = prod(part.shape[each] for each in order[:at])
    inner = prod(part.shape[each] for each in order[at + 1 :]) * ITEM_BYTES[part.dtype]
    return rows, part.shape[dim] * inner, whole.shape[dim] * inner


def _rectangle(out: int, x: int, rows: int, sizes: tuple[int, int, int], stream: int) -> None:
    """Copy `rows` runs; sizes in bytes: of a run, and from one to the next in out and in x."""
    if not rows * sizes[0]:
        return
    unit = gcd(out, x, 16, *(sizes if rows > 1 else sizes[:1]))
    width, out_pitch, x_pitch = (size // unit for size in sizes)
    across = ceil_div(width, TILE_UNITS)
    wide = ceil_div(width, across)
    high = max(1, TILE_UNITS // wide)
    pitches = (np.int64(rows), np.int64(width), np.int64(out_pitch), np.int64(x_pitch))
    tile = np.int32(high), np.int32(wide), np.int32(across)
    kernel = source.function(FILE, "rectangle", UNIT=unit)
    grid = (ceil_div(rows, high) * across,)
    source.launch(kernel, grid, (THREADS,), (out, x, *pitches, *tile), stream)


def _transpose(out: Tensor, x: Tensor, high: int, wide: int, stream: int) -> None:
    """Transpose the matrix of every image."""
    unit, side = ITEM_BYTES[x.dtype], (np.int32(high), np.int32(wide))
    matrices = x.shape[0]
    if not x.elements:
        return
    if min(high, wide) <= FEW:
        _transpose_few(out, x, high, wide, stream)
        return
    pairs = unit == 2 and not (high | wide) & 1 and not (out.pointer | x.pointer) & 3
    tile = 64 if pairs else 32
    kernel = source.function(FILE, "transpose_pairs" if pairs else "transpose", UNIT=unit)
    grid = (matrices * ceil_div(high, tile) * ceil_div(wide, tile),)
    source.launch(kernel, grid, (32, 8), (out.pointer, x.pointer, *side), stream)


def _transpose_few(out: Tensor, x: Tensor, high: int, wide: int, stream: int) -> None:
    many, few = max(high, wide), min(high, wide)
    steps = (1, many, few, 1) if wide == many else (few, 1, 1, many)
    numbers = (np.int32(each) for each in (many, few, *steps))
    kernel = source.function(FILE, "transpose_few", UNIT=ITEM_BYTES[x.dtype])
    grid = (x.shape[0] * ceil_div(many, THREADS),)
    source.launch(kernel, grid, (THREADS,), (out.pointer, x.pointer, *numbers), stream)
