"""Convolution by Winograd's F(4x4, 3x3), F(3x3, 4x4) and F(2x2, 5x5) (Lavin and Gray 2015).

A thread takes some tiles at a time, few enough that their transforms stay in its cache: it
transforms them, multiplies at each of the 36 positions, and transforms the products back. Where
there are few tiles and many filters, the threads share out the positions instead, so that each
transformed filter is read by one of them.
The gradient of the input is a convolution with the filters turned around.

A stride is folded away: squares of pixels count as one with more channels, so that 11x11 with a
stride of 4 is a convolution of 3x3, and 7x7 with a stride of 2 one of 4x4 (`fold`).

Images are (N, H, W, C) and row-major, filters (K, C / groups, R, S), square when folded, of 3 to 5
taps a side; `work` is scratch memory of the size `workspace` tells. Everything is float32.
"""

from typing import Any, NamedTuple

import numpy as np

from netc_kernels.cpu import fold
from netc_kernels.cpu.product import DEPTH, PANEL, SHORT, TALL, short, tall
from netc_kernels.cpu.shape import NOTHING, Array, ConvShape, up
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    inline,
    kernel,
    piece,
)
from netc_kernels.cpu.winograd_filters import FILTER_SCRATCH, filter_panel
from netc_kernels.cpu.winograd_transforms import (
    POSITIONS,
    Matrices,
    Tiles,
    folded_scratch,
    input_tile,
    moved,
    output_tile,
    pooled_tile,
)

NO_PLACES = np.zeros(0, np.uint8)
GAP = 16
"""Elements between matrices, so that they do not fall on each other in the cache."""
MANY_FILTERS = 256 * 256
"""Above so many filters' channels it pays to read them once, if there are up to `FEW_TILES`."""
FEW_TILES = 12 * TALL


class Ending(NamedTuple):
    """What is done to outputs before they are written."""

    relu: bool
    pooled: bool


Besides = tuple[Array, Array, Ending, Array]
"""The bias, the output of the relu before, what is done, and places of maxima."""


class WinogradWorkspace(NamedTuple):
    """How one pass over a group uses its workspace, in elements."""

    block: int
    """Tiles at a time."""
    shared: bool
    """Whether all threads work on the same tiles."""
    filters: Matrices
    """Transformed filters: tile is the number of rows of a panel."""
    sources: Matrices
    products: Matrices
    scratch: int
    thread: int
    """Size of what every thread has for itself: scratch, and if not `shared` matrices."""

    def size(self, threads: int) -> int:
        """All of it."""
        return (self.scratch if self.shared else self.sources.at) + threads * self.thread


def layout(
    shape: ConvShape, tiles: int, channels: int, filters: int, threads: int
) -> WinogradWorkspace:
    """Plan the pass from `channels` to `filters` over a number of tiles."""
    shared = channels * filters > MANY_FILTERS and tiles <= FEW_TILES
    share = max(SHORT, up(-(-tiles // (1 if shared else threads)), SHORT))
    block = share if shared else _even(share, block_tiles(channels, filters))
    rows = block + TALL
    position = up(filters, PANEL) * channels + GAP
    weights = Matrices(0, position, channels, channels * PANEL)
    source, first = up(channels, LANES) + GAP, up(POSITIONS * position, GAP)
    sources = Matrices(first, rows * source + GAP, source, PANEL)
    product, second = up(filters, PANEL) + GAP, first + POSITIONS * sources.position
    products = Matrices(second, rows * product + GAP, product, PANEL)
    scratch = second + POSITIONS * products.position
    own = max(FILTER_SCRATCH, folded_scratch(channels) if fold.needed(shape) else 0)
    thread = own if shared else scratch - first + own
    return WinogradWorkspace(block, shared, weights, sources, products, scratch, thread)


def block_tiles(channels: int, filters: int) -> int:
    """Choose how many tiles to take at a time: the more, the less often the filters are read."""
    if channels * filters <= 128 * 128:
        return 2 * TALL
    return 4 * TALL if channels * filters <= MANY_FILTERS else 6 * TALL


def _even(share: int, about: int) -> int:
    """Cut a thread's share into blocks of one size, so that none is left over."""
    blocks = max(1, round(share / about))
    return up(-(-share // blocks), SHORT) if share < 8 * about else about


def workspace(shape: ConvShape, threads: int) -> int:
    """Bytes of `work` that `forward` and `backward_data` need."""
    c, k = fold.channels(shape) // shape.groups, shape.filters // shape.groups
    return 4 * max(
        fold.elements(shape) + layout(shape, tiles_of(shape, out), a, b, threads).size(threads)
        for a, b, out in ((c, k, shape.outputs), (k, c, shape.image))
    )


def tiles_of(shape: ConvShape, out: tuple[int, int]) -> int:
    """Count the tiles of all images."""
    step = tile_step(shape)
    return shape.images * -(-out[0] // step) * -(-out[1] // step)


def tile_step(shape: ConvShape) -> int:
    """Tell how many outputs a side of a tile has; with the filter they make 6x6 products."""
    return 7 - fold.size(shape)[0]


def forward(
    y: Array,
    x: Array,
    w: Array,
    shape: ConvShape,
    work: Array,
    pool: Pool,
    bias: Array = NOTHING,
    relu: bool = False,
    pooled: bool = False,
    places: Array = NO_PLACES,
) -> None:
    """Convolve: y (N, P, Q, K) from x (N, H, W, C), with bias (K,) and relu if asked.

    If `pooled`, which must be possible (`pools`), y (N, P / 2, Q / 2, K) has the maxima of windows
    of 2x2, and `places`, if given, uint8 and as y, which pixel of a window has the maximum, 0 to 3,
    row by row; 4 where relu makes it 0. A NaN is passed on if it is a window's first pixel.
    """
    end = bias, NOTHING, Ending(relu, pooled), places
    filters, rest = fold.filters(w, shape, work, pool)
    for group in range(shape.groups):
        source = source_tiles(shape, group)
        target = tiles_at(shape, shape.outputs, shape.outputs, shape.filters, group, 0, 0)
        _convolve(y, target, x, source, filters, group, False, shape, rest, pool, end)


def backward_data(
    dx: Array,
    dy: Array,
    w: Array,
    shape: ConvShape,
    work: Array,
    pool: Pool,
    positive: Array = NOTHING,
) -> None:
    """Compute dx (N, H, W, C) from dy (N, P, Q, K); the stride is 1.

    Where `positive` (as dx: the output of the relu before) is given and not above 0, dx is 0.
    """
    end = NOTHING, positive, Ending(False, False), NO_PLACES
    last = shape.size[0] - 1
    top, left = last - shape.pad[0], last - shape.pad[2]
    for group in range(shape.groups):
        source = tiles_at(shape, shape.image, shape.outputs, shape.filters, group, top, left)
        target = tiles_at(shape, shape.image, shape.image, shape.channels, group, 0, 0)
        _convolve(dx, target, dy, source, w, group, True, shape, work, pool, end)


def pools(
    shape: ConvShape, size: tuple[int, int], stride: tuple[int, int], pad: tuple[int, ...]
) -> bool:
    """Tell whether `forward` can pool: windows of 2x2, next to each other, that fill tiles."""
    windows = (size, stride) == ((2, 2), (2, 2)) and not any(pad)
    whole = not any(extent % 2 for extent in (tile_step(shape), *shape.outputs))
    # of a vector's width on any processor, as programs may move
    return windows and whole and shape.filters // shape.groups % 16 == 0


def source_tiles(shape: ConvShape, group: int) -> Tiles:
    """The tiles of the input under those of the output."""
    top, _, left, _ = shape.pad
    each = fold.channels(shape) // shape.groups
    found = tiles_at(shape, shape.outputs, shape.image, shape.channels, group, top, left)
    return found._replace(channels=each, fold_y=shape.stride[0], fold_x=shape.stride[1])


def tiles_at(
    shape: ConvShape,
    covered: tuple[int, int],
    image: tuple[int, int],
    pitch: int,
    group: int,
    top: int,
    left: int,
) -> Tiles:
    """The tiles that cover an output, in the image they are read from or written to."""
    step, each = tile_step(shape), pitch // shape.groups
    rows, columns = (-(-extent // step) for extent in covered)
    return Tiles(step, rows, columns, *image, pitch, group * each, each, top, left, 1, 1)


def _convolve(
    y: Array,
    target: Tiles,
    x: Array,
    source: Tiles,
    w: Array,
    group: int,
    flip: bool,
    shape: ConvShape,
    work: Array,
    pool: Pool,
    besides: Besides,
) -> None:
    tiles = shape.images * source.rows * source.columns
    plan = layout(shape, tiles, source.channels, target.channels, pool.threads)
    filters = w.reshape(shape.groups, -1)[group]
    size, taps = 7 - source.step, (7 - source.step) ** 2
    lane, row = (taps, taps * target.channels) if flip else (taps * source.channels, taps)
    bias, positive, end, places = besides
    y, x, bias, positive, places = (a.reshape(-1) for a in (y, x, bias, positive, places))
    u, v, m, scratch, each = plan.filters, plan.sources, plan.products, plan.scratch, plan.thread
    facts = size, row, lane, flip, work, u, target.channels, scratch, each
    pool.split(target.channels, filter_panels, filters, *facts, unit=PANEL)
    last = each, end, bias, positive, places
    if plan.shared:
        pool.split(tiles, begin_tiles, x, source, work, v, scratch, each)
        pool.run(POSITIONS, 1, products, work, u, v, m, source.channels, target.channels, tiles)
        pool.split(tiles, end_tiles, y, target, work, m, scratch, *last)
    else:
        at = work, u, v, m, scratch
        pool.spread(tiles, plan.block, convolve_tiles, y, target, x, source, *at, *last, plan.block)


@kernel
def filter_panels(
    w: Any,
    size: int,
    row: int,
    lane: int,
    flip: bool,
    work: Any,
    to: Matrices,
    filters: int,
    scratch: int,
    each: int,
    thread: int,
    start: int,
    stop: int,
) -> None:
    """Transform filters `start` ... `stop`; every thread has scratch, `each` elements apart."""
    scratch += thread * each
    for first in range(start, stop, PANEL):
        filter_panel(
            w, size, first * lane, row, lane, filters - first, flip, work,
            to.at + first // PANEL * to.panel, to.position, to.tile, scratch,
        )  # fmt: skip


@kernel
def convolve_tiles(
    y: Any,
    target: Tiles,
    x: Any,
    source: Tiles,
    work: Any,
    u: Matrices,
    v: Matrices,
    m: Matrices,
    scratch: int,
    each: int,
    end: Ending,
    bias: Any,
    positive: Any,
    places: Any,
    block: int,
    thread: int,
    start: int,
    stop: int,
) -> None:
    """Convolve tiles `start` ... `stop`; the transforms of `block` have room in v and m.

    Every thread has its own v, m and scratch, `each` elements apart.
    """
    v, m, scratch = moved(v, thread * each), moved(m, thread * each), scratch + thread * each
    channels, filters = source.channels, target.channels
    for first in range(start, stop, block):
        last = min(first + block, stop)
        inputs(x, source, work, v, scratch, first, last, first)
        products(work, u, v, m, channels, filters, last - first, thread, 0, POSITIONS)
        outputs(y, target, work, m, scratch, end, bias, positive, places, first, last, first)


@kernel
def begin_tiles(
    x: Any, source: Tiles, work: Any, v: Matrices, scratch: int, each: int, thread: int,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Transform tiles `start` ... `stop` of the input."""
    inputs(x, source, work, v, scratch + thread * each, start, stop, 0)


@kernel
def end_tiles(
    y: Any, target: Tiles, work: Any, m: Matrices, scratch: int, each: int, end: Ending,
    bias: Any, positive: Any, places: Any, thread: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Write tiles `start` ... `stop` of the output."""
    own = scratch + thread * each
    outputs(y, target, work, m, own, end, bias, positive, places, start, stop, 0)


@piece
def inputs(
    x: Any, source: Tiles, work: Any, v: Matrices, scratch: int, start: int, stop: int, first: int
) -> None:
    """Transform tiles `start` ... `stop` of the input; v begins with tile `first`."""
    for tile in range(start, stop):
        input_tile(x, source, tile, work, v, tile - first, scratch)


@piece
def outputs(
    y: Any,
    target: Tiles,
    work: Any,
    m: Matrices,
    scratch: int,
    end: Ending,
    bias: Any,
    positive: Any,
    places: Any,
    start: int,
    stop: int,
    first: int,
) -> None:
    """Write tiles `start` ... `stop` of the output; m begins with tile `first`."""
    for tile in range(start, stop):
        at = tile - first
        if end.pooled:
            pooled_tile(y, places, target, tile, work, m, at, scratch, bias, end.relu)
        else:
            output_tile(y, target, tile, work, m, at, scratch, bias, positive, end.relu)


@kernel
def products(
    work: Any,
    u: Matrices,
    v: Matrices,
    m: Matrices,
    channels: int,
    filters: int,
    tiles: int,
    thread: int,
    start: int,
    stop: int,
) -> None:
    """Multiply all tiles by all filters at positions `start` ... `stop`."""
    for position in range(start, stop):
        for first in range(0, filters, PANEL):
            panel = u.at + position * u.position + first // PANEL * u.panel
            to, of = m.at + position * m.position + first, v.at + position * v.position
            for depth in range(0, channels, DEPTH):
                terms, at = min(DEPTH, channels - depth), panel + depth * PANEL
                _rows(work, to, m.tile, of + depth, v.tile, at, terms, tiles, depth > 0)


@inline
def _rows(
    work: Any, to: int, to_row: int, of: int, row: int, panel: int, terms: int, rows: int, add: bool
) -> None:
    """Multiply some rows by one panel."""
    done = 0
    while done < rows:
        out, a = to + done * to_row, of + done * row
        if rows - done > SHORT:
            tall(
                work, out, to_row, work, a, row, 0, work, panel, 1, terms, add, work, out, to_row, 0
            )
            done += TALL
        else:
            short(
                work, out, to_row, work, a, row, 0, work, panel, 1, terms, add, work, out, to_row, 0
            )
            done += SHORT
