"""The gradient of filters by Winograd's transforms: G' [sum of (A dy A') * (B' d B)] G.

The sum runs over all tiles of all images, for each of 36 positions a product of matrices (Lavin and
Gray 2015, section 4.3; the adjoint of the forward pass). Where the filters are few, every thread
takes some tiles at a time and has sums of its own. Where they are many, all tiles are transformed
first and the threads share out the positions, so that every product is read and written once.
Rows of the products are filters and columns are channels or the other way around, as it fills
panels best. Strides are folded away as in `winograd`.

Images are (N, H, W, C), row-major; `work` is scratch memory of the size `workspace` tells.
"""

from typing import Any, NamedTuple

from netc_kernels.cpu import fold
from netc_kernels.cpu.product import PANEL, SHORT, crossed
from netc_kernels.cpu.shape import Array, ConvShape, up
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    kernel,
    piece,
)
from netc_kernels.cpu.winograd import GAP, source_tiles, tiles_at, tiles_of
from netc_kernels.cpu.winograd_filters import filter_gradient
from netc_kernels.cpu.winograd_transforms import (
    POSITIONS,
    SCRATCH,
    Matrices,
    Tiles,
    folded_scratch,
    gradient_tile,
    input_tile,
    moved,
)

BLOCK = 56
"""Tiles that a thread with sums of its own takes at a time."""
OWN_SUMS = 1 << 22
"""Up to so many elements of sums a thread has its own."""
TERMS = 64
"""Tiles to sum at a time: a panel of both operands fits the first cache."""


class GradientWorkspace(NamedTuple):
    """How the workspace is used, in elements."""

    block: int
    """Tiles at a time."""
    inputs: Matrices
    gradients: Matrices
    sums: Matrices
    """Tile is the step from one row to the next."""
    turned: bool
    """Whether a row of the sums is a channel and a column a filter."""
    scratch: int
    slot: int
    """From one thread's scratch to the next one's; of all these, where threads have their own."""
    slots: int
    """How many there are of the sums."""
    shared: bool
    size: int


def layout(shape: ConvShape, threads: int) -> GradientWorkspace:
    """Plan the pass for one group."""
    channels, filters = fold.channels(shape) // shape.groups, shape.filters // shape.groups
    wide, tall = up(channels, PANEL), up(filters, PANEL)
    tiles, shared = tiles_of(shape, shape.outputs), POSITIONS * wide * tall > OWN_SUMS
    block = max(1, tiles if shared else min(tiles, BLOCK))
    inputs = Matrices(0, block * wide + GAP, PANEL, block * PANEL)
    gradients = Matrices(POSITIONS * inputs.position, block * tall + GAP, PANEL, block * PANEL)
    images = gradients.at + POSITIONS * gradients.position
    turned = up(channels, SHORT) * tall < up(filters, SHORT) * wide
    sums = Matrices(images, wide * tall + GAP, tall if turned else wide, PANEL)
    scratch = images + POSITIONS * sums.position
    own = folded_scratch(channels) if fold.needed(shape) else SCRATCH
    slot = own if shared else scratch + own
    slots = 1 if shared else min(threads, -(-tiles // block))
    size = (scratch if shared else 0) + threads * slot
    return GradientWorkspace(
        block, inputs, gradients, sums, turned, scratch, slot, slots, shared, size
    )


def workspace(shape: ConvShape, threads: int) -> int:
    """Bytes of `work` that `backward_weights` needs."""
    return 4 * (fold.elements(shape) + layout(shape, threads).size)


def backward_weights(
    dw: Array, x: Array, dy: Array, shape: ConvShape, work: Array, pool: Pool
) -> None:
    """Compute dw (K, C / groups, R, S) from x (N, H, W, C) and dy (N, P, Q, K)."""
    if not x.size:
        dw[...] = 0
        return
    plan = layout(shape, pool.threads)
    filters, rest = fold.room(dw, shape, work)
    part = filters.size // shape.groups
    for group in range(shape.groups):
        source = source_tiles(shape, group)
        target = tiles_at(shape, shape.outputs, shape.outputs, shape.filters, group, 0, 0)
        out = filters[group * part : (group + 1) * part]
        images = x.reshape(-1), source, dy.reshape(-1), target
        add_up = _by_positions if plan.shared else _by_tiles
        slots = add_up(*images, shape, plan, rest, pool)
        _finish(out, source, target, slots, plan, rest, pool)
    fold.unfold(dw, filters, shape, pool)


def _by_tiles(
    x: Array,
    source: Tiles,
    dy: Array,
    target: Tiles,
    shape: ConvShape,
    plan: GradientWorkspace,
    work: Array,
    pool: Pool,
) -> int:
    """Compute sums of all products over equal shares of the tiles; return how many."""
    tiles = tiles_of(shape, shape.outputs)
    share = -(-tiles // plan.slots)
    pool.run(tiles, share, add_tiles, x, source, dy, target, work, plan, share)
    return -(-tiles // share)


def _by_positions(
    x: Array,
    source: Tiles,
    dy: Array,
    target: Tiles,
    shape: ConvShape,
    plan: GradientWorkspace,
    work: Array,
    pool: Pool,
) -> int:
    """Compute the sums of all products over all tiles, once."""
    tiles = tiles_of(shape, shape.outputs)
    pool.split(tiles, transform_tiles, x, source, dy, target, work, plan)
    pool.run(POSITIONS, 1, multiply_all, source, target, work, plan, tiles)
    return 1


def _finish(
    dw: Array,
    source: Tiles,
    target: Tiles,
    slots: int,
    plan: GradientWorkspace,
    work: Array,
    pool: Pool,
) -> None:
    size, channels, filters = 7 - source.step, source.channels, target.channels
    taps = size * size
    filter_, channel = taps * channels, taps
    if plan.turned:
        rows, columns, row, lane = channels, filters, channel, filter_
    else:
        rows, columns, row, lane = filters, channels, filter_, channel
    pool.split(rows, gradients, work, plan, slots, dw, size, row, lane, columns)


@kernel
def add_tiles(
    x: Any, source: Tiles, dy: Any, target: Tiles, work: Any, plan: GradientWorkspace, share: int,
    thread: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Sum the products of tiles `start` ... `stop`, some at a time."""
    # sums go with the share of tiles, not with the thread: the result does not vary
    at = start // share * plan.slot
    z, v, sums = moved(plan.gradients, at), moved(plan.inputs, at), moved(plan.sums, at)
    for first in range(start, stop, plan.block):
        last = min(first + plan.block, stop)
        transform(x, source, dy, target, work, v, z, plan.scratch + at, first, last, 0)
        rows, columns, turned = target.channels, source.channels, plan.turned
        tiles, add = last - first, first > start
        multiply(work, z, rows, v, columns, turned, sums, tiles, add, 0, POSITIONS)


@kernel
def transform_tiles(
    x: Any, source: Tiles, dy: Any, target: Tiles, work: Any, plan: GradientWorkspace, thread: int,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Transform tiles `start` ... `stop` of x and of dy, each to its own place."""
    scratch = plan.scratch + thread * plan.slot
    v, z = plan.inputs, plan.gradients
    transform(x, source, dy, target, work, v, z, scratch, start, stop, start)


@kernel
def multiply_all(
    source: Tiles, target: Tiles, work: Any, plan: GradientWorkspace, tiles: int, thread: int,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Sum the products of all tiles at positions `start` ... `stop`."""
    z, v, turned = plan.gradients, plan.inputs, plan.turned
    rows, columns = target.channels, source.channels
    multiply(work, z, rows, v, columns, turned, plan.sums, tiles, False, start, stop)


@piece
def multiply(
    work: Any, z: Matrices, filters: int, v: Matrices, channels: int, turned: bool, sums: Matrices,
    tiles: int, add: bool, start: int, stop: int,
) -> None:  # fmt: skip
    """Multiply gradients and inputs; which of them gives the rows, `turned` tells."""
    if turned:
        products(work, v, channels, z, filters, sums, tiles, add, start, stop)
    else:
        products(work, z, filters, v, channels, sums, tiles, add, start, stop)


@piece
def transform(
    x: Any,
    source: Tiles,
    dy: Any,
    target: Tiles,
    work: Any,
    v: Matrices,
    z: Matrices,
    scratch: int,
    start: int,
    stop: int,
    slot: int,
) -> None:
    """Transform tiles `start` ... `stop` of x and of dy, into places from `slot` on."""
    for tile in range(start, stop):
        input_tile(x, source, tile, work, v, slot + tile - start, scratch)
    for tile in range(start, stop):
        gradient_tile(dy, target, tile, work, z, slot + tile - start, scratch)


@piece
def products(
    work: Any,
    a: Matrices,
    rows: int,
    b: Matrices,
    columns: int,
    sums: Matrices,
    tiles: int,
    add: bool,
    start: int,
    stop: int,
) -> None:
    """Sum the products of tiles 0 ... `tiles` at positions `start` ... `stop`."""
    for position in range(start, stop):
        to = sums.at + position * sums.position
        of_a, of_b = a.at + position * a.position, b.at + position * b.position
        for i in range(0, rows, PANEL):
            panel, out = of_a + i // PANEL * a.panel, to + i * sums.tile
            for t in range(0, tiles, TERMS):
                terms, more, at = min(TERMS, tiles - t), add or t > 0, t * PANEL
                for j in range(0, columns, PANEL):
                    other = of_b + j // PANEL * b.panel + at
                    for row in range(0, min(PANEL, rows - i), SHORT):
                        crossed(
                            work, out + row * sums.tile + j, sums.tile, work, panel + at + row, 0,
                            work, other, 0, PANEL, 1, terms, more,
                        )  # fmt: skip


@kernel
def gradients(
    work: Any,
    plan: GradientWorkspace,
    slots: int,
    dw: Any,
    size: int,
    row: int,
    lane: int,
    columns: int,
    thread: int,
    start: int,
    stop: int,
) -> None:
    """Write the gradients of rows `start` ... `stop` from the sums of some slots.

    What belongs to a row and a column begins `row` and `lane` elements from the one before in dw.
    """
    sums, scratch = plan.sums, plan.scratch + thread * plan.slot
    for i in range(start, stop):
        for j in range(0, columns, LANES):
            of, to = sums.at + i * sums.tile + j, i * row + j * lane
            filter_gradient(
                work, of, plan.slot, slots, sums.position, scratch, dw, size, to, lane, columns - j
            )
