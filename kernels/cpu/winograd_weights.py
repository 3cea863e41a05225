"""The gradient of 3x3 filters by Winograd's F(4x4, 3x3): G' [sum of (A dy A') * (B' d B)] G.

The sum runs over all tiles of all images, for each of 36 positions a product of matrices (Lavin and
Gray 2015, section 4.3; the adjoint of the forward pass). Where the filters are few, every thread
takes some tiles at a time and has sums of its own. Where they are many, all tiles are transformed
first and the threads share out the filters, so that the sums stay in the cache.

Images are (N, H, W, C), row-major; `work` is scratch memory of the size `workspace` tells.
"""

from typing import Any, NamedTuple

from netc_kernels.cpu.product import DEPTH, PANEL, SHORT, crossed
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

BLOCK = 112
"""Tiles that a thread with sums of its own takes at a time."""
OWN_SUMS = 1 << 20
"""Up to so many elements of sums a thread has its own."""


class Layout(NamedTuple):
    """How the workspace is used, in elements; `thread` and `slots` are what there is of each."""

    block: int
    """Tiles at a time."""
    inputs: Matrices
    gradients: Matrices
    sums: Matrices
    """Tile is the step from one filter to the next."""
    scratch: int
    slot: int
    """From one thread's share of all these to the next one's."""
    slots: int
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
    held, width = (PANEL, PANEL) if shared else (rows, columns)
    sums = Matrices(0 if shared else images, held * width + GAP, width, PANEL)
    scratch = sums.at + POSITIONS * sums.position
    slot, slots = scratch + SCRATCH, min(threads, -(-tiles // block))
    if shared:
        return Layout(block, inputs, gradients, sums, scratch, slot, 1, images + threads * slot)
    return Layout(block, inputs, gradients, sums, scratch, slot, slots, threads * slot)


def workspace(shape: Conv, threads: int) -> int:
    """Bytes of `work` that `backward_weights` needs."""
    return 4 * layout(shape, threads).size


def backward_weights(dw: Array, x: Array, dy: Array, shape: Conv, work: Array, pool: Pool) -> None:
    """Compute dw (K, C / groups, 3, 3) from x (N, H, W, C) and dy (N, P, Q, K)."""
    if not x.size:
        dw[...] = 0
        return
    plan = layout(shape, pool.threads)
    top, _, left, _ = shape.pad
    part = dw.size // shape.groups
    for group in range(shape.groups):
        source = tiles_at(
            shape.outputs, shape.image, shape.channels, shape.groups, group, top, left
        )
        target = tiles_at(shape.outputs, shape.outputs, shape.filters, shape.groups, group, 0, 0)
        out = dw.reshape(-1)[group * part : (group + 1) * part]
        images = x.reshape(-1), source, dy.reshape(-1), target
        if plan.sums.at:
            _by_tiles(out, *images, shape, plan, work, pool)
        else:
            _by_filters(out, *images, shape, plan, work, pool)


def _by_tiles(
    dw: Array,
    x: Array,
    source: Tiles,
    dy: Array,
    target: Tiles,
    shape: Conv,
    plan: Layout,
    work: Array,
    pool: Pool,
) -> None:
    tiles = tiles_of(shape, shape.outputs)
    share = -(-tiles // plan.slots)
    slots = -(-tiles // share)

    def add_up(thread: int, start: int, stop: int) -> None:
        # sums go with the share of tiles, not with the thread: the result does not vary
        at = start // share * plan.slot
        for first in range(start, stop, plan.block):
            last = min(first + plan.block, stop)
            transform(
                x,
                source,
                dy,
                target,
                work,
                plan.inputs,
                plan.gradients,
                at,
                plan.scratch + at,
                first,
                last,
                0,
            )
            products(
                work,
                plan.gradients,
                plan.inputs,
                plan.sums,
                at,
                at,
                last - first,
                0,
                target.channels,
                0,
                source.channels,
                first > start,
            )

    def finish(thread: int, start: int, stop: int) -> None:
        gradients(
            work,
            plan.sums,
            0,
            plan.slot,
            slots,
            plan.scratch + thread * plan.slot,
            dw,
            start,
            stop,
            0,
            source.channels,
            source.channels,
        )

    pool.run(tiles, share, add_up)
    pool.split(target.channels, finish)


def _by_filters(
    dw: Array,
    x: Array,
    source: Tiles,
    dy: Array,
    target: Tiles,
    shape: Conv,
    plan: Layout,
    work: Array,
    pool: Pool,
) -> None:
    tiles = tiles_of(shape, shape.outputs)
    images = plan.size - pool.threads * plan.slot

    def transform_some(thread: int, start: int, stop: int) -> None:
        at = images + thread * plan.slot
        transform(
            x,
            source,
            dy,
            target,
            work,
            plan.inputs,
            plan.gradients,
            0,
            plan.scratch + at,
            start,
            stop,
            start,
        )

    def add_up(thread: int, start: int, stop: int) -> None:
        at = images + thread * plan.slot
        filters(
            work,
            plan.gradients,
            plan.inputs,
            plan.sums,
            at,
            plan.scratch + at,
            tiles,
            dw,
            start,
            stop,
            source.channels,
        )

    pool.split(tiles, transform_some)
    pool.run(target.channels, PANEL, add_up)


@kernel
def transform(
    x: Any,
    source: Tiles,
    dy: Any,
    target: Tiles,
    work: Any,
    inputs: Matrices,
    outputs: Matrices,
    at: int,
    scratch: int,
    start: int,
    stop: int,
    slot: int,
) -> None:
    """Transform tiles `start` ... `stop` of x and of dy, into places from `slot` on."""
    v = Matrices(inputs.at + at, inputs.position, inputs.tile, inputs.panel)
    z = Matrices(outputs.at + at, outputs.position, outputs.tile, outputs.panel)
    for tile in range(start, stop):
        input_tile(x, source, tile, work, v, slot + tile - start, scratch)
        gradient_tile(dy, target, tile, work, z, slot + tile - start, scratch)


@kernel
def products(
    work: Any,
    z: Matrices,
    v: Matrices,
    sums: Matrices,
    at: int,
    sums_at: int,
    tiles: int,
    first_filter: int,
    last_filter: int,
    first_channel: int,
    last_channel: int,
    add: bool,
) -> None:
    """Sum the products of tiles 0 ... `tiles`, at every position, for some filters and channels."""
    for position in range(POSITIONS):
        to = sums.at + sums_at + position * sums.position
        of_z, of_v = z.at + at + position * z.position, v.at + at + position * v.position
        for k in range(first_filter, last_filter, SHORT):
            row = of_z + k // PANEL * z.panel + k % PANEL
            out = to + (k - first_filter) * sums.tile
            for c in range(first_channel, last_channel, PANEL):
                column = of_v + c // PANEL * v.panel
                for t in range(0, tiles, DEPTH):
                    crossed(
                        work, out + c - first_channel, sums.tile, work, row + t * PANEL, 0,
                        work, column + t * PANEL, 0, PANEL, 1, min(DEPTH, tiles - t), add or t > 0,
                    )  # fmt: skip


@kernel
def gradients(
    work: Any,
    sums: Matrices,
    at: int,
    slot: int,
    slots: int,
    scratch: int,
    dw: Any,
    first_filter: int,
    last_filter: int,
    first_channel: int,
    last_channel: int,
    channels: int,
) -> None:
    """Write the gradient of some filters; sums at `at` begin with filter 0."""
    for k in range(first_filter, last_filter):
        for c in range(first_channel, last_channel, LANES):
            of = sums.at + at + k * sums.tile + c - first_channel
            to = 9 * (k * channels + c)
            filter_gradient(work, of, slot, slots, sums.position, scratch, dw, to, last_channel - c)


@kernel
def filters(
    work: Any,
    z: Matrices,
    v: Matrices,
    sums: Matrices,
    at: int,
    scratch: int,
    tiles: int,
    dw: Any,
    start: int,
    stop: int,
    channels: int,
) -> None:
    """Compute the gradient of filters `start` ... `stop`, of `channels` each."""
    for c in range(0, channels, PANEL):
        last = min(c + PANEL, channels)
        products(work, z, v, sums, 0, at, tiles, start, stop, c, last, False)
        gradients(
            work, sums, at - start * sums.tile, 0, 1, scratch, dw, start, stop, c, last, channels
        )
