"""The gradient of filters by Winograd's transforms: G' [sum of (A dy A') * (B' d B)] G.

The sum runs over all tiles of all images, for each of 36 positions a product of matrices (Lavin and
Gray 2015, section 4.3; the adjoint of the forward pass). Where the filters are few, every thread
takes some tiles at a time and has sums of its own. Where they are many, all tiles are transformed
first and the threads share out the positions, so that every product is read and written once.

Images are (N, H, W, C), row-major; `work` is scratch memory of the size `workspace` tells.
"""

from typing import Any, NamedTuple

from netc_kernels.cpu.product import PANEL, SHORT, crossed
from netc_kernels.cpu.shape import Array, Conv, up
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import LANES, kernel
from netc_kernels.cpu.winograd import GAP, tiles_at, tiles_of
from netc_kernels.cpu.winograd_transforms import (
    POSITIONS,
    SCRATCH,
    Matrices,
    Tiles,
    filter_gradient,
    gradient_tile,
    input_tile,
)

BLOCK = 56
"""Tiles that a thread with sums of its own takes at a time."""
OWN_SUMS = 1 << 22
"""Up to so many elements of sums a thread has its own."""
TERMS = 64
"""Tiles to sum at a time: a panel of both operands fits the first cache."""


class Layout(NamedTuple):
    """How the workspace is used, in elements."""

    block: int
    """Tiles at a time."""
    inputs: Matrices
    gradients: Matrices
    sums: Matrices
    """Tile is the step from one filter to the next."""
    scratch: int
    slot: int
    """From one thread's scratch to the next one's; of all these, where threads have their own."""
    slots: int
    """How many there are of the sums."""
    shared: bool
    size: int


def layout(shape: Conv, threads: int) -> Layout:
    """Plan the pass for one group."""
    channels, filters = shape.channels // shape.groups, shape.filters // shape.groups
    columns, rows = up(channels, PANEL), up(filters, PANEL)
    tiles, shared = tiles_of(shape, shape.outputs), POSITIONS * rows * columns > OWN_SUMS
    block = max(1, tiles if shared else min(tiles, BLOCK))
    inputs = Matrices(0, block * columns + GAP, PANEL, block * PANEL)
    gradients = Matrices(POSITIONS * inputs.position, block * rows + GAP, PANEL, block * PANEL)
    images = gradients.at + POSITIONS * gradients.position
    sums = Matrices(images, rows * columns + GAP, columns, PANEL)
    scratch = images + POSITIONS * sums.position
    slot = SCRATCH if shared else scratch + SCRATCH
    slots = 1 if shared else min(threads, -(-tiles // block))
    size = (scratch if shared else 0) + threads * slot
    return Layout(block, inputs, gradients, sums, scratch, slot, slots, shared, size)


def workspace(shape: Conv, threads: int) -> int:
    """Bytes of `work` that `backward_weights` needs."""
    return 4 * layout(shape, threads).size


def backward_weights(dw: Array, x: Array, dy: Array, shape: Conv, work: Array, pool: Pool) -> None:
    """Compute dw (K, C / groups, R, R) from x (N, H, W, C) and dy (N, P, Q, K)."""
    if not x.size:
        dw[...] = 0
        return
    plan = layout(shape, pool.threads)
    top, _, left, _ = shape.pad
    part = dw.size // shape.groups
    for group in range(shape.groups):
        source = tiles_at(shape, shape.outputs, shape.image, shape.channels, group, top, left)
        target = tiles_at(shape, shape.outputs, shape.outputs, shape.filters, group, 0, 0)
        out = dw.reshape(-1)[group * part : (group + 1) * part]
        images = x.reshape(-1), source, dy.reshape(-1), target
        add_up = _by_positions if plan.shared else _by_tiles
        slots = add_up(*images, shape, plan, work, pool)
        _finish(out, shape.size[0], source.channels, target.channels, slots, plan, work, pool)


def _by_tiles(
    x: Array,
    source: Tiles,
    dy: Array,
    target: Tiles,
    shape: Conv,
    plan: Layout,
    work: Array,
    pool: Pool,
) -> int:
    """Compute sums of all products over equal shares of the tiles; return how many."""
    tiles = tiles_of(shape, shape.outputs)
    share = -(-tiles // plan.slots)

    def add_up(thread: int, start: int, stop: int) -> None:
        # sums go with the share of tiles, not with the thread: the result does not vary
        at = start // share * plan.slot
        z, v, sums = (_moved(m, at) for m in (plan.gradients, plan.inputs, plan.sums))
        for first in range(start, stop, plan.block):
            last = min(first + plan.block, stop)
            transform(x, source, dy, target, work, v, z, plan.scratch + at, first, last, 0)
            products(
                work, z, v, sums, last - first, target.channels, source.channels, first > start,
                0, POSITIONS,
            )  # fmt: skip

    pool.run(tiles, share, add_up)
    return -(-tiles // share)


def _by_positions(
    x: Array,
    source: Tiles,
    dy: Array,
    target: Tiles,
    shape: Conv,
    plan: Layout,
    work: Array,
    pool: Pool,
) -> int:
    """Compute the sums of all products over all tiles, once."""
    tiles = tiles_of(shape, shape.outputs)
    z, v, sums = plan.gradients, plan.inputs, plan.sums

    def transform_some(thread: int, start: int, stop: int) -> None:
        scratch = plan.scratch + thread * plan.slot
        transform(x, source, dy, target, work, v, z, scratch, start, stop, start)

    def add_up(thread: int, start: int, stop: int) -> None:
        products(
            work, z, v, sums, tiles, target.channels, source.channels, False, start, stop
        )  # fmt: skip

    pool.split(tiles, transform_some)
    pool.run(POSITIONS, 1, add_up)
    return 1


def _finish(
    dw: Array, size: int, channels: int, filters: int, slots: int, plan: Layout, work: Array,
    pool: Pool,
) -> None:  # fmt: skip
    def finish(thread: int, start: int, stop: int) -> None:
        scratch = plan.scratch + thread * plan.slot
        gradients(work, plan.sums, plan.slot, slots, scratch, dw, size, start, stop, channels)

    pool.split(filters, finish)


def _moved(matrices: Matrices, by: int) -> Matrices:
    return matrices._replace(at=matrices.at + by)


@kernel
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


@kernel
def products(
    work: Any,
    z: Matrices,
    v: Matrices,
    sums: Matrices,
    tiles: int,
    filters: int,
    channels: int,
    add: bool,
    start: int,
    stop: int,
) -> None:
    """Sum the products of tiles 0 ... `tiles` at positions `start` ... `stop`."""
    for position in range(start, stop):
        to = sums.at + position * sums.position
        of_z, of_v = z.at + position * z.position, v.at + position * v.position
        for k in range(0, filters, PANEL):
            rows, out = of_z + k // PANEL * z.panel, to + k * sums.tile
            for t in range(0, tiles, TERMS):
                terms, more, at = min(TERMS, tiles - t), add or t > 0, t * PANEL
                for c in range(0, channels, PANEL):
                    panel = of_v + c // PANEL * v.panel + at
                    for row in range(0, min(PANEL, filters - k), SHORT):
                        crossed(
                            work, out + row * sums.tile + c, sums.tile, work, rows + at + row, 0,
                            work, panel, 0, PANEL, 1, terms, more,
                        )  # fmt: skip


@kernel
def gradients(
    work: Any,
    sums: Matrices,
    slot: int,
    slots: int,
    scratch: int,
    dw: Any,
    size: int,
    start: int,
    stop: int,
    channels: int,
) -> None:
    """Write the gradient of filters `start` ... `stop` from sums that lie `slot` apart."""
    for k in range(start, stop):
        for c in range(0, channels, LANES):
            of, to = sums.at + k * sums.tile + c, size * size * (k * channels + c)
            filter_gradient(
                work, of, slot, slots, sums.position, scratch, dw, size, to, channels - c
            )
