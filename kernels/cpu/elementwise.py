"""Operations element by element on dense arrays of any shape, and sums per channel.

Threads take ranges of elements. `out` may be any of the inputs. Float32 and float64.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from netc_kernels.cpu.shape import Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import LANES, kernel, load, load_first, splat, store

GRAIN = 1 << 16
"""Elements that a thread takes at a time."""
SLOTS = 16
"""Ranges of rows that sums per channel are made over; the same for any number of threads."""
BLOCK = 64
"""Rows summed at a time, so that errors stay small."""


def _over(pool: Pool, size: int, part: Any, *arrays: Any) -> None:
    pool.run(size, GRAIN, lambda thread, start, stop: part(*arrays, start, stop))


def relu(out: Array, x: Array, pool: Pool) -> None:
    """Compute max(x, 0)."""
    _over(pool, out.size, relu_part, out.reshape(-1), x.reshape(-1))


def relu_dx(out: Array, y: Array, dy: Array, pool: Pool) -> None:
    """Pass dy where y > 0."""
    _over(pool, out.size, slope_part, out.reshape(-1), y.reshape(-1), dy.reshape(-1))


def add(
    out: Array, a: Array, b: Array, pool: Pool, then_relu: bool = False,
    positive: Array | None = None,
) -> None:  # fmt: skip
    """Add two arrays, and apply relu if asked; or its slope, where `positive` was its result."""
    flat = out.reshape(-1), a.reshape(-1), b.reshape(-1)
    if positive is not None:
        _over(pool, out.size, add_slope_part, *flat, positive.reshape(-1))
        return
    _over(pool, out.size, add_part, *flat, then_relu)


def bias(out: Array, x: Array, b: Array, pool: Pool, then_relu: bool = False) -> None:
    """Add b (C,) to the last dim of x, and apply relu if asked."""
    out, x = out.reshape(-1, len(b)), x.reshape(-1, len(b))
    rows = max(1, GRAIN // max(1, len(b)))
    pool.run(len(x), rows, lambda thread, start, stop: bias_part(out, x, b, then_relu, start, stop))


@kernel
def relu_part(out: Any, x: Any, start: int, stop: int) -> None:
    """Elements `start` ... `stop` of relu; a NaN stays."""
    zero = x.dtype.type(0)
    out, x = out[start:stop], x[start:stop]
    for i in range(len(out)):
        value = x[i]
        out[i] = zero if value < 0 else value


@kernel
def slope_part(out: Any, y: Any, dy: Any, start: int, stop: int) -> None:
    """Elements `start` ... `stop` of relu's gradient."""
    zero = dy.dtype.type(0)
    out, y, dy = out[start:stop], y[start:stop], dy[start:stop]
    for i in range(len(out)):
        value = dy[i]
        out[i] = value if y[i] > 0 else zero


@kernel
def add_part(out: Any, a: Any, b: Any, then_relu: bool, start: int, stop: int) -> None:
    """Elements `start` ... `stop` of a sum."""
    out, a, b = out[start:stop], a[start:stop], b[start:stop]
    low = out.dtype.type(0 if then_relu else -np.inf)
    for i in range(len(out)):
        value = a[i] + b[i]
        out[i] = low if value < low else value


@kernel
def add_slope_part(out: Any, a: Any, b: Any, y: Any, start: int, stop: int) -> None:
    """Elements `start` ... `stop` of a sum, where y > 0."""
    zero = out.dtype.type(0)
    out, a, b, y = out[start:stop], a[start:stop], b[start:stop], y[start:stop]
    for i in range(len(out)):
        value = a[i] + b[i]
        out[i] = value if y[i] > 0 else zero


@kernel
def bias_part(out: Any, x: Any, b: Any, then_relu: bool, start: int, stop: int) -> None:
    """Rows `start` ... `stop` of x + b."""
    low = x.dtype.type(0 if then_relu else -np.inf)
    for row in range(start, stop):
        to, of = out[row], x[row]
        for c in range(len(b)):
            value = of[c] + b[c]
            to[c] = low if value < low else value


def sums_workspace(channels: int) -> int:
    """Bytes of `work` that `channel_sums` needs."""
    return 4 * (2 * SLOTS + 2) * (-(-channels // LANES) * LANES)


def channel_sums(out: Array, x: Array, work: Array, pool: Pool, scale: float = 1.0) -> None:
    """Sum over all dims but the last: out (C,) = scale * sum of x; float32 only.

    The result is the same for any number of threads.
    """
    channels, flat = x.shape[-1], x.reshape(-1)
    (total,) = _by_slots(
        x, work, pool, 1, lambda at, start, stop: sum_rows(work, at, flat, channels, start, stop)
    )
    np.multiply(total, scale, out=out)


def _by_slots(
    x: Array, work: Array, pool: Pool, sums: int, part: Callable[[int, int, int], None]
) -> Array:
    """Sums (sums, C) over the pixels of x; `part` leaves those of a range of rows in `work`."""
    channels = x.shape[-1]
    rows, width = x.size // max(1, channels), -(-channels // LANES) * LANES
    share, each = max(1, -(-rows // SLOTS)), 2 * sums * width

    def some(thread: int, start: int, stop: int) -> None:
        part(start // share * each, start, stop)

    pool.run(rows, share, some)
    slots = work[: each * -(-rows // share)].reshape(-1, 2 * sums, width)
    found: Array = slots[:, :sums, :channels].sum(axis=0)
    return found


def pairs_workspace(channels: int) -> int:
    """Bytes of `work` that `pair_sums` needs."""
    return 2 * sums_workspace(channels)


def pair_sums(
    x: Array, centre: Array, factor: Array | None, work: Array, pool: Pool
) -> tuple[Array, Array]:
    """Sum over all dims but the last, twice: factor, and (x - centre) * factor; (C,) each.

    Without `factor` (as x) it is x - centre (C,) itself. Float32; the result is the same for any
    number of threads.
    """
    channels, flat = x.shape[-1], x.reshape(-1)
    other = np.zeros(0, np.float32) if factor is None else factor.reshape(-1)

    def part(at: int, start: int, stop: int) -> None:
        sum_row_pairs(work, at, flat, centre, other, channels, start, stop)

    first, second = _by_slots(x, work, pool, 2, part)
    return first, second


@kernel
def sum_row_pairs(
    work: Any, at: int, x: Any, centre: Any, factor: Any, channels: int, start: int, stop: int
) -> None:
    """Sum some rows into two of `work` at `at`, in blocks of rows; the next two are scratch."""
    width = -(-channels // LANES) * LANES
    for c in range(0, 2 * width, LANES):
        store(work, at + c, splat(0.0))
    block = at + 2 * width
    for first in range(start, stop, BLOCK):
        for c in range(0, 2 * width, LANES):
            store(work, block + c, splat(0.0))
        for row in range(first, min(first + BLOCK, stop)):
            for c in range(0, channels, LANES):
                count, of = channels - c, row * channels + c
                term = load_first(x, of, count) - load_first(centre, c, count)
                other = load_first(factor, of, count) if factor.size else term
                store(work, block + c, load(work, block + c) + other)
                at_product = block + width + c
                store(work, at_product, load(work, at_product) + term * other)
        for c in range(0, 2 * width, LANES):
            store(work, at + c, load(work, at + c) + load(work, block + c))


@kernel
def sum_rows(work: Any, at: int, x: Any, channels: int, start: int, stop: int) -> None:
    """Sum some rows into `work` at `at`, in blocks of rows; the next row of it is scratch."""
    width = -(-channels // LANES) * LANES
    for c in range(0, channels, LANES):
        store(work, at + c, splat(0.0))
    for first in range(start, stop, BLOCK):
        for c in range(0, channels, LANES):
            store(work, at + width + c, splat(0.0))
        for row in range(first, min(first + BLOCK, stop)):
            for c in range(0, channels, LANES):
                term = load_first(x, row * channels + c, channels - c)
                store(work, at + width + c, load(work, at + width + c) + term)
        for c in range(0, channels, LANES):
            store(work, at + c, load(work, at + c) + load(work, at + width + c))
