"""Maximum and average over windows of images (N, H, W, C), as the reference defines them.

No workspace. A NaN does not always win a maximum. Threads take rows of the result.
"""

from typing import Any, NamedTuple

import numpy as np

from netc_kernels.cpu.shape import Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    inline,
    kernel,
    load,
    load_bytes,
    load_first,
    maximum,
    splat,
    store,
    store_bytes,
    store_first,
    where_equal,
    where_other,
    where_positive,
)

ROWS = 8
"""Rows of an image that a thread takes at a time."""


class PoolShape(NamedTuple):
    """Windows over an image, and the shapes of image and result."""

    height: int
    width: int
    channels: int
    rows: int
    columns: int
    size_y: int
    size_x: int
    step_y: int
    step_x: int
    top: int
    left: int
    bottom: int
    """First row below the padded image; windows in ceil mode are cut there."""
    right: int


def windows(
    x: Array, y: Array, size: tuple[int, int], stride: tuple[int, int], pad: tuple[int, ...]
) -> PoolShape:
    """Collect the facts; x (N, H, W, C), y (N, P, Q, C), pad (top, bottom, left, right)."""
    height, width, channels = x.shape[1:]
    return PoolShape(
        height, width, channels, y.shape[1], y.shape[2], *size, *stride, pad[0], pad[2],
        height + pad[1], width + pad[3],
    )  # fmt: skip


def maxpool(y: Array, x: Array, over: PoolShape, pool: Pool) -> None:
    """Take the maximum of every window: y (N, P, Q, C) from x (N, H, W, C)."""
    _forward(y, x, over, False, pool)


def avgpool(y: Array, x: Array, over: PoolShape, pool: Pool) -> None:
    """Average every window, zeros of the padding included, cut in ceil mode."""
    _forward(y, x, over, True, pool)


def maxpool_dx(
    dx: Array, x: Array, y: Array, dy: Array, over: PoolShape, pool: Pool, relu: bool = False
) -> None:
    """Give a window's dy to its first maximum. With `relu`, x is a relu's output: go through it."""
    flat = dx.reshape(-1), x.reshape(-1), y.reshape(-1), dy.reshape(-1)
    pool.spread(len(dx) * over.height, ROWS, maximum_gradient, *flat, over, relu)


def maxpool_places(
    places: Array, x: Array, y: Array, over: PoolShape, pool: Pool, relu: bool = False
) -> None:
    """Note which pixel of each window is the first to have its maximum y, row by row.

    `places` (uint8, as y) are the number of a window's pixels where none is; with `relu`, x and y
    are its results, and so they are where y is 0.
    """
    flat = places.reshape(-1), x.reshape(-1), y.reshape(-1)
    pool.spread(len(y) * over.rows, ROWS, note_places, *flat, over, relu)


def maxpool_places_dx(dx: Array, places: Array, dy: Array, over: PoolShape, pool: Pool) -> None:
    """Give dy (N, P, Q, C) of a window to the pixel of dx (N, H, W, C) that `places` (uint8, as dy)
    name, row by row, if there is one.
    """
    flat = dx.reshape(-1), places.reshape(-1), dy.reshape(-1)
    fits = (over.height, over.width) == (2 * over.rows, 2 * over.columns)
    if fits and over[5:11] == (2, 2, 2, 2, 0, 0) and over.channels % LANES == 0:
        rows = len(dy) * over.rows
        pool.spread(rows, ROWS, give_to_places, *flat, over.columns, over.channels)
    else:
        pool.spread(len(dx) * over.height, ROWS, places_gradient, *flat, over)


def avgpool_dx(dx: Array, dy: Array, over: PoolShape, pool: Pool) -> None:
    """Share a window's dy equally."""
    flat = dx.reshape(-1), dy.reshape(-1)
    pool.spread(len(dx) * over.height, ROWS, average_gradient, *flat, over)


def _forward(y: Array, x: Array, over: PoolShape, mean: bool, pool: Pool) -> None:
    flat = y.reshape(-1), x.reshape(-1)
    pool.spread(len(y) * over.rows, ROWS, reduce_windows, *flat, over, mean)


@inline
def _share(over: PoolShape, p: int, q: int) -> Any:
    """One over the area of a window."""
    y, x = p * over.step_y - over.top, q * over.step_x - over.left
    rows = min(y + over.size_y, over.bottom) - y
    return np.float32(1 / (rows * (min(x + over.size_x, over.right) - x)))


@kernel
def reduce_windows(
    y: Any, x: Any, over: PoolShape, mean: bool, thread: int, start: int, stop: int
) -> None:
    """Reduce the windows of rows `start` ... `stop` of all images' results."""
    for line in range(start, stop):
        n, p = divmod(line, over.rows)
        row = p * over.step_y - over.top
        first_row, last_row = max(row, 0), min(row + over.size_y, over.height)
        for q in range(over.columns):
            column = q * over.step_x - over.left
            first, last = max(column, 0), min(column + over.size_x, over.width)
            share = splat(_share(over, p, q))
            to = (line * over.columns + q) * over.channels
            for c in range(0, over.channels, LANES):
                count = over.channels - c
                total = splat(0.0) if mean else splat(-np.inf)
                for r in range(first_row, last_row):
                    at = ((n * over.height + r) * over.width + first) * over.channels + c
                    for _ in range(first, last):
                        value = load_first(x, at, count)
                        total = total + value if mean else maximum(value, total)
                        at += over.channels
                store_first(y, to + c, total * share if mean else total, count)


@kernel
def maximum_gradient(
    dx: Any,
    x: Any,
    y: Any,
    dy: Any,
    over: PoolShape,
    relu: bool,
    thread: int,
    start: int,
    stop: int,
) -> None:
    """Write rows `start` ... `stop` of all images' gradients: windows give what falls there."""
    dx[start * over.width * over.channels : stop * over.width * over.channels] = 0
    for n in range(start // over.height, (stop - 1) // over.height + 1):
        low, high = max(start - n * over.height, 0), min(stop - n * over.height, over.height)
        for p in range(_first_window(over, low), _last_window(over, high)):
            row = p * over.step_y - over.top
            for q in range(over.columns):
                column = q * over.step_x - over.left
                of = ((n * over.rows + p) * over.columns + q) * over.channels
                for c in range(0, over.channels, LANES):
                    count = over.channels - c
                    best, share = load_first(y, of + c, count), load_first(dy, of + c, count)
                    if relu:
                        share = where_positive(best, share)
                    for r in range(max(row, 0), min(row + over.size_y, high)):
                        line = (n * over.height + r) * over.width
                        for s in range(max(column, 0), min(column + over.size_x, over.width)):
                            at = (line + s) * over.channels + c
                            value = load_first(x, at, count)
                            if r >= low:
                                taken = where_equal(value, best, share)
                                store_first(dx, at, load_first(dx, at, count) + taken, count)
                            share = where_other(value, best, share)


@kernel
def note_places(
    places: Any, x: Any, y: Any, over: PoolShape, relu: bool, thread: int, start: int, stop: int
) -> None:
    """Note the places of maxima in the windows of rows `start` ... `stop` of all images."""
    none = over.size_y * over.size_x
    whole = over.channels // LANES * LANES
    for line in range(start, stop):
        n, p = divmod(line, over.rows)
        row = p * over.step_y - over.top
        first_row, last_row = max(row, 0), min(row + over.size_y, over.height)
        for q in range(over.columns):
            column = q * over.step_x - over.left
            first, last = max(column, 0), min(column + over.size_x, over.width)
            to = (line * over.columns + q) * over.channels
            for c in range(0, whole, LANES):
                best, place = load(y, to + c), splat(np.float32(none))
                for r in range(last_row - 1, first_row - 1, -1):
                    for s in range(last - 1, first - 1, -1):
                        at = ((n * over.height + r) * over.width + s) * over.channels + c
                        number = splat(np.float32((r - row) * over.size_x + s - column))
                        value = load(x, at)
                        place = where_equal(value, best, number) + where_other(value, best, place)
                if relu:
                    unset = splat(np.float32(none))
                    place = where_positive(best, place - unset) + unset
                store_bytes(places, to + c, place)
            for c in range(whole, over.channels):
                found = none
                for r in range(last_row - 1, first_row - 1, -1):
                    for s in range(last - 1, first - 1, -1):
                        at = ((n * over.height + r) * over.width + s) * over.channels + c
                        if x[at] == y[to + c]:
                            found = (r - row) * over.size_x + s - column
                if relu and not y[to + c] > 0:
                    found = none
                places[to + c] = found


@kernel
def places_gradient(
    dx: Any, places: Any, dy: Any, over: PoolShape, thread: int, start: int, stop: int
) -> None:
    """Write rows `start` ... `stop` of all images' gradients: windows give what falls there."""
    dx[start * over.width * over.channels : stop * over.width * over.channels] = 0
    whole = over.channels // LANES * LANES
    for n in range(start // over.height, (stop - 1) // over.height + 1):
        low, high = max(start - n * over.height, 0), min(stop - n * over.height, over.height)
        for p in range(_first_window(over, low), _last_window(over, high)):
            row = p * over.step_y - over.top
            for q in range(over.columns):
                column = q * over.step_x - over.left
                of = ((n * over.rows + p) * over.columns + q) * over.channels
                for r in range(max(row, low), min(row + over.size_y, high)):
                    line = (n * over.height + r) * over.width
                    for s in range(max(column, 0), min(column + over.size_x, over.width)):
                        number = (r - row) * over.size_x + s - column
                        at, here = (line + s) * over.channels, splat(np.float32(number))
                        for c in range(0, whole, LANES):
                            place, share = load_bytes(places, of + c), load(dy, of + c)
                            taken = where_equal(place, here, share)
                            store(dx, at + c, load(dx, at + c) + taken)
                        for c in range(whole, over.channels):
                            if places[of + c] == number:
                                dx[at + c] += dy[of + c]


@kernel
def give_to_places(
    dx: Any, places: Any, dy: Any, columns: int, channels: int, thread: int, start: int, stop: int
) -> None:
    """Write the gradients under rows `start` ... `stop` of all images' windows."""
    line = 2 * columns * channels
    for row in range(start, stop):
        of, to = row * columns * channels, row * 2 * line
        for _ in range(columns):
            for c in range(0, channels, LANES):
                place, share = load_bytes(places, of + c), load(dy, of + c)
                store(dx, to + c, where_equal(place, splat(0.0), share))
                store(dx, to + channels + c, where_equal(place, splat(1.0), share))
                store(dx, to + line + c, where_equal(place, splat(2.0), share))
                store(dx, to + line + channels + c, where_equal(place, splat(3.0), share))
            of, to = of + channels, to + 2 * channels


@kernel
def average_gradient(dx: Any, dy: Any, over: PoolShape, thread: int, start: int, stop: int) -> None:
    """Write rows `start` ... `stop` of all images' gradients."""
    dx[start * over.width * over.channels : stop * over.width * over.channels] = 0
    for n in range(start // over.height, (stop - 1) // over.height + 1):
        low, high = max(start - n * over.height, 0), min(stop - n * over.height, over.height)
        for p in range(_first_window(over, low), _last_window(over, high)):
            row = p * over.step_y - over.top
            for q in range(over.columns):
                column = q * over.step_x - over.left
                of = ((n * over.rows + p) * over.columns + q) * over.channels
                factor = splat(_share(over, p, q))
                for c in range(0, over.channels, LANES):
                    count = over.channels - c
                    share = load_first(dy, of + c, count) * factor
                    for r in range(max(row, low), min(row + over.size_y, high)):
                        line = (n * over.height + r) * over.width
                        for s in range(max(column, 0), min(column + over.size_x, over.width)):
                            at = (line + s) * over.channels + c
                            store_first(dx, at, load_first(dx, at, count) + share, count)


@inline
def _first_window(over: PoolShape, row: int) -> int:
    """The first row of windows that reaches an image's row."""
    return max(0, (row + over.top - over.size_y) // over.step_y + 1)


@inline
def _last_window(over: PoolShape, row: int) -> int:
    """The first row of windows that begins at or below an image's row."""
    return min(over.rows, (row + over.top - 1) // over.step_y + 1)
