"""Maximum and average over windows of images stored N H W C, as the reference defines them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import THREADS, alike, ceil_div, cut, lanes, macros
from netc_kernels.cuda.tensor import Tensor

FILE = "pool.cu"
TILE_ROWS = 16
"""Rows of an image that a block writes where windows overlap, at most."""
TILE_PACKS = 8
"""Packs of channels that it writes, at most."""
SHARED_BYTES = 48 * 1024

Pair: TypeAlias = tuple[int, int]
Pad: TypeAlias = tuple[int, int, int, int]


def maxpool(out: Tensor, x: Tensor, *, size: Pair, stride: Pair, pad: Pad, stream: int) -> None:
    """Take the maximum of every window; padding never wins, a NaN does."""
    _by_column("maxpool", out, x, out.shape[2:], (size, stride), _ends(x, out, pad)[:7], stream)


def avgpool(out: Tensor, x: Tensor, *, size: Pair, stride: Pair, pad: Pad, stream: int) -> None:
    """Average every window, zeros of the padding included, cut in ceil mode."""
    _by_column("avgpool", out, x, out.shape[2:], (size, stride), _ends(x, out, pad), stream)


def avgpool_dx(out: Tensor, dy: Tensor, *, size: Pair, stride: Pair, pad: Pad, stream: int) -> None:
    """Share a window's dy equally."""
    _by_column("avgpool_dx", out, dy, out.shape[2:], (size, stride), _ends(out, dy, pad), stream)


def inside_mean(
    out: Tensor, x: Tensor,
    *, size: Pair, stride: Pair, around: Pad, image: Pair, shape: tuple[int, ...],
    offset: tuple[int, ...], stream: int,
) -> None:  # fmt: skip
    """Turn means with their padding into those over the image alone. `out` may be x."""
    top, bottom, left, right = around
    facts = (*image, out.shape[1], *out.shape[2:], *offset[2:], top, left)
    ends = (image[0] + bottom, image[1] + right)
    told = tuple(np.int32(each) for each in (*facts, *ends))
    _by_column("inside_mean", out, x, out.shape[2:], (size, stride), told, stream)


def maxpool_dx(
    out: Tensor, x: Tensor, y: Tensor, dy: Tensor,
    *, size: Pair, stride: Pair, pad: Pad, stream: int, relu: bool = False,
) -> None:  # fmt: skip
    """Give a window's dy to its first maximum, row by row, which is found again in x.

    With `relu`, x is a relu's output: go through it. In a window with a NaN another element may
    get dy, which the reference gives to none.
    """
    assert alike(out, x) and alike(y, dy)
    if all(step >= extent for step, extent in zip(stride, size, strict=True)):
        _apart(out, x, dy, (size, stride), pad, relu, stream)
    else:
        _overlap(out, x, dy, (size, stride), pad, relu, stream)


def maxpool_places(
    out: Tensor, x: Tensor, y: Tensor,
    *, size: Pair, stride: Pair, pad: Pad, stream: int, relu: bool,
) -> None:  # fmt: skip
    """Note which pixel of each window has its first maximum, row by row, in a byte.

    It is found again in x. A window with a NaN may have a place, which the reference gives to none.
    """
    assert alike(out, y) and out.dtype == "u8"
    facts = (*_ends(x, out, pad)[:7], np.int32(relu))
    _by_column("maxpool_places", out, x, out.shape[2:], (size, stride), facts, stream)


def maxpool_places_dx(
    out: Tensor, places: Tensor, dy: Tensor, *, size: Pair, stride: Pair, pad: Pad, stream: int
) -> None:
    """Give a window's dy to the pixel that was noted, if that is here."""
    assert alike(places, dy) and places.nhwc
    over = cut(out.shape[3], out.shape[1], _packed(out, dy))
    grid = (out.shape[0] * out.shape[2], over.tiles(1), over.chunks)
    args = (out.pointer, places.pointer, dy.pointer, *_ends(out, dy, pad)[:7])
    kernel = _function("maxpool_places_dx", dy, over.lanes, (size, stride))
    source.launch(kernel, grid, over.block, args, stream)


def _ends(image: Tensor, pooled: Tensor, pad: Pad) -> tuple[np.int32, ...]:
    """Height, width, channels, rows, columns, top, left, and where the padded image ends."""
    _, channels, height, width = image.shape
    top, bottom, left, right = pad
    facts = height, width, channels, *pooled.shape[2:], top, left, height + bottom, width + right
    return tuple(np.int32(each) for each in facts)


def _function(name: str, x: Tensor, packed: int, windows: tuple[Pair, Pair]) -> Any:
    (size_y, size_x), (step_y, step_x) = windows
    sizes = {"SIZE_Y": size_y, "SIZE_X": size_x, "STEP_Y": step_y, "STEP_X": step_x}
    return source.function(FILE, name, **macros(x, packed), **sizes)


def _packed(*blocks: Tensor) -> int:
    assert all(block.nhwc for block in blocks), "images are stored N H W C"
    assert len({block.dtype for block in blocks}) == 1, "operands are of one type"
    return lanes(blocks[0].shape[1], *blocks)


def _by_column(
    name: str, out: Tensor, x: Tensor, cells: tuple[int, ...], windows: tuple[Pair, Pair],
    facts: tuple[np.int32, ...], stream: int,
) -> None:  # fmt: skip
    """Launch a kernel whose threads take one of `cells` (rows, columns) and a pack of channels."""
    images = [block for block in (x, out) if block.dtype != "u8"]
    over = cut(cells[1], out.shape[1], _packed(*images))
    grid = (out.shape[0] * cells[0], over.tiles(1), over.chunks)
    args = (out.pointer, x.pointer, *facts)
    source.launch(_function(name, x, over.lanes, windows), grid, over.block, args, stream)


def _apart(
    out: Tensor,
    x: Tensor,
    dy: Tensor,
    windows: tuple[Pair, Pair],
    pad: Pad,
    relu: bool,
    stream: int,
) -> None:
    height, width = x.shape[2:]
    step_y, step_x = windows[1]
    cells = ceil_div(height + pad[0], step_y), ceil_div(width + pad[2], step_x)
    over = cut(cells[1], x.shape[1], _packed(out, x, dy))
    grid = (x.shape[0] * cells[0], over.tiles(1), over.chunks)
    facts = (*_ends(x, dy, pad)[:7], np.int32(cells[0]), np.int32(relu))
    kernel = _function("maxpool_dx_apart", x, over.lanes, windows)
    args = (out.pointer, x.pointer, dy.pointer, *facts)
    source.launch(kernel, grid, over.block, args, stream)


def _overlap(
    out: Tensor,
    x: Tensor,
    dy: Tensor,
    windows: tuple[Pair, Pair],
    pad: Pad,
    relu: bool,
    stream: int,
) -> None:
    images, channels, height, width = x.shape
    packed = _packed(out, x, dy)
    over = cut(1, channels, packed, TILE_PACKS)
    tile_y, tile_x, packs = _tile(height, width, over.block[0], packed, windows)
    _, across, noted = _noted(tile_y, tile_x, windows)
    facts = (np.int32(fact) for fact in (tile_y, tile_x, across, int(relu)))
    kernel = _function("maxpool_dx_overlap", x, packed, windows)
    args = (out.pointer, x.pointer, dy.pointer, *_ends(x, dy, pad)[:7], *facts)
    chunks = ceil_div(channels, max(1, packs * packed))
    grid = (images * ceil_div(height, tile_y), ceil_div(width, tile_x), chunks)
    source.launch(kernel, grid, (packs, tile_x), args, stream, noted * packs * packed * 2)


def _tile(
    height: int, width: int, packs: int, packed: int, windows: tuple[Pair, Pair]
) -> tuple[int, int, int]:
    """Rows, columns and packs of a block: even shares of an image whose places fit."""
    step = windows[1][1]
    rows = TILE_ROWS
    while True:
        most = max(1, THREADS // max(1, packs) // step)
        tile_y = ceil_div(height, ceil_div(height, rows))
        tile_x = step * ceil_div(ceil_div(width, ceil_div(width, most * step)), step)
        used = _noted(tile_y, tile_x, windows)[2] * packs * packed * 2
        if used <= SHARED_BYTES and packs * tile_x <= THREADS:
            return tile_y, tile_x, packs
        assert rows > 1 or packs > 1, "windows too large for their stride"
        rows, packs = (rows // 2, packs) if rows > 1 else (rows, packs // 2)


def _noted(tile_y: int, tile_x: int, windows: tuple[Pair, Pair]) -> tuple[int, int, int]:
    """Windows that may reach a tile: down, across, and in all."""
    (size_y, size_x), (step_y, step_x) = windows
    down, across = (tile_y + size_y - 2) // step_y + 1, (tile_x + size_x - 2) // step_x + 1
    return down, across, down * across
