"""Operations element by element on dense arrays of any shape, and sums per channel.

Threads take ranges of elements. `out` may be any of the inputs. Float32; what has no vectors in it
takes float64 too.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netc_kernels.cpu.several import clear_run
from netc_kernels.cpu.shape import NOTHING, Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    entry,
    inline,
    kernel,
    load,
    load_first,
    maximum,
    splat,
    store,
    store_first,
    two_to,
    where_above,
    where_positive,
)

GRAIN = 1 << 16
"""Elements that a thread takes at a time."""
SLOTS = 16
"""Ranges of rows that sums per channel are made over; the same for any number of threads."""
BLOCK = 64
"""Rows summed at a time, so that errors stay small."""
ALONE = 1 << 18
"""Elements that one thread sums in the time in which another would come to help."""


def _over(pool: Pool, size: int, part: Any, *arrays: Any) -> None:
    pool.spread(size, GRAIN, part, *arrays)


def relu(out: Array, x: Array, pool: Pool) -> None:
    """Compute max(x, 0)."""
    _over(pool, out.size, relu_part, out.reshape(-1), x.reshape(-1))


def relu_dx(out: Array, y: Array, dy: Array, pool: Pool) -> None:
    """Pass dy where y > 0."""
    _over(pool, out.size, slope_part, out.reshape(-1), y.reshape(-1), dy.reshape(-1))


def gelu(out: Array, x: Array, pool: Pool) -> None:
    """Compute x * s, s = 1 / (1 + exp(-2 u)) = (1 + tanh(u)) / 2, u as in the reference."""
    _over(pool, out.size, gelu_part, out.reshape(-1), x.reshape(-1))


def gelu_dx(out: Array, x: Array, dy: Array, pool: Pool) -> None:
    """Compute dy * (s + x * s * (1 - s) * 2 u')."""
    _over(pool, out.size, gelu_slope_part, out.reshape(-1), x.reshape(-1), dy.reshape(-1))


ACTIVATIONS: Mapping[str, Callable[..., None]] = {
    "relu": relu,
    "relu_dx": relu_dx,
    "gelu": gelu,
    "gelu_dx": gelu_dx,
}
"""Activations and their gradients by the name of the op: those faster here than in NumPy."""


def add(
    out: Array, *xs: Array, pool: Pool, then_relu: bool = False, positive: Array = NOTHING
) -> None:
    """Add two to four arrays from left to right, and apply relu if asked.

    Or its slope: where `positive` is given, the result of a relu, and not above 0, the sum is 0.
    """
    flat = (each.reshape(-1) for each in (*xs, NOTHING, NOTHING)[:4])
    _over(pool, out.size, sum_part, out.reshape(-1), *flat, positive.reshape(-1), then_relu)


def bias(out: Array, x: Array, b: Array, pool: Pool, then_relu: bool = False) -> None:
    """Add b (C,) to the last dim of x, and apply relu if asked."""
    out, x = out.reshape(-1, len(b)), x.reshape(-1, len(b))
    rows = max(1, GRAIN // max(1, len(b)))
    pool.spread(len(x), rows, bias_part, out, x, b, then_relu)


@kernel
def relu_part(out: Any, x: Any, thread: int, start: int, stop: int) -> None:
    """Elements `start` ... `stop` of relu; a NaN stays."""
    zero = x.dtype.type(0)
    out, x = out[start:stop], x[start:stop]
    for i in range(len(out)):
        value = x[i]
        out[i] = zero if value < 0 else value


@kernel
def slope_part(out: Any, y: Any, dy: Any, thread: int, start: int, stop: int) -> None:
    """Elements `start` ... `stop` of relu's gradient."""
    zero = dy.dtype.type(0)
    out, y, dy = out[start:stop], y[start:stop], dy[start:stop]
    for i in range(len(out)):
        value = dy[i]
        out[i] = value if y[i] > 0 else zero


ZERO, ONE = np.float32(0.0), np.float32(1.0)
TWICE = np.float32(2 * np.sqrt(2 / np.pi))
CUBE, THREE_CUBES = np.float32(0.044715), np.float32(3 * 0.044715)
LOWEST, LOG2_E, SHIFT = np.float32(-87.0), np.float32(1.442695041), np.float32(1.5 * 2**23)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
EXP0, EXP1 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3)
EXP2, EXP3 = np.float32(8.3334519073e-3), np.float32(4.1665795894e-2)
EXP4, EXP5 = np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)


@inline
def exponential(x: Any) -> Any:
    """Compute exp(x) of numbers to 0, and exp(-87) of those below -87; a NaN stays.

    x is n ln(2) + r; the factors of the powers of r are those of Moshier's Cephes (expf).
    """
    x = maximum(splat(LOWEST), x)
    shifted = LOG2_E * x + splat(SHIFT)
    whole = shifted - splat(SHIFT)
    r = x - LN2_HIGH * whole - LN2_LOW * whole
    sum_ = ((EXP0 * r + splat(EXP1)) * r + splat(EXP2)) * r + splat(EXP3)
    sum_ = (sum_ * r + splat(EXP4)) * r + splat(EXP5)
    return (sum_ * (r * r) + r + splat(ONE)) * two_to(shifted)


@inline
def gelu_shares(x: Any) -> Any:
    """The share s = 1 / (1 + exp(-2 u)) and 1 - s, each without cancellation."""
    twice = TWICE * (x + CUBE * (x * x * x))
    zero, one = splat(ZERO), splat(ONE)
    small = exponential(zero - maximum(zero - twice, twice))
    whole = one + small
    more, less = one / whole, small / whole
    return where_above(twice, zero, more, less), where_above(twice, zero, less, more)


@kernel
def gelu_part(out: Any, x: Any, thread: int, start: int, stop: int) -> None:
    """Elements `start` ... `stop` of gelu."""
    for i in range(start, stop, LANES):
        value = load_first(x, i, stop - i)
        share, _ = gelu_shares(value)
        store_first(out, i, value * share, stop - i)


@kernel
def gelu_slope_part(out: Any, x: Any, dy: Any, thread: int, start: int, stop: int) -> None:
    """Elements `start` ... `stop` of gelu's gradient."""
    for i in range(start, stop, LANES):
        value = load_first(x, i, stop - i)
        share, rest = gelu_shares(value)
        inner = TWICE * (splat(ONE) + (THREE_CUBES * value) * value)
        slope = share + (value * share) * (rest * inner)
        store_first(out, i, load_first(dy, i, stop - i) * slope, stop - i)


@kernel
def sum_part(
    out: Any, a: Any, b: Any, c: Any, d: Any, positive: Any, relu: bool, thread: int, start: int,
    stop: int,
) -> None:  # fmt: skip
    """Elements `start` ... `stop` of a sum; what is not there is empty."""
    for i in range(start, stop, LANES):
        count = stop - i
        value = load_first(a, i, count) + load_first(b, i, count)
        if c.size:
            value = value + load_first(c, i, count)
        if d.size:
            value = value + load_first(d, i, count)
        if relu:
            value = maximum(splat(0.0), value)
        if positive.size:
            value = where_positive(load_first(positive, i, count), value)
        store_first(out, i, value, count)


@kernel
def bias_part(
    out: Any, x: Any, b: Any, then_relu: bool, thread: int, start: int, stop: int
) -> None:
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
    (total,) = _by_slots(x, work, pool, 1, sum_rows)
    np.multiply(total, scale, out=out)


def _by_slots(x: Array, work: Array, pool: Pool, sums: int, part: Any, *others: Array) -> Array:
    """Sums (sums, C) over the pixels of x, in `work`; `part` leaves there those of every `share` of
    a range of rows, `each` elements apart.
    """
    channels = x.shape[-1]
    rows, width = x.size // max(1, channels), -(-channels // LANES) * LANES
    share, each = max(1, -(-rows // SLOTS)), 2 * sums * width
    grain = share * SLOTS if x.size < ALONE else share
    pool.run(rows, grain, part, work, share, each, x.reshape(-1), channels, *others)
    add_slots(work, 0, -(-rows // share), each, sums * width)
    return work[: sums * width].reshape(sums, width)[:, :channels]


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
    other = np.zeros(0, np.float32) if factor is None else factor.reshape(-1)
    first, second = _by_slots(x, work, pool, 2, sum_row_pairs, centre, other)
    return first, second


@entry
def add_slots(work: Any, at: int, slots: int, each: int, count: int) -> None:
    """Put `count` sums of all slots, `each` elements apart, in the place of the first one's.

    Where there are no slots, they are zeros.
    """
    for c in range(at, at + count, LANES):
        total = splat(0.0)
        for slot in range(slots):
            total = total + load(work, slot * each + c)
        store(work, c, total)


@entry
def mean_of_rows(out: Any, x: Any, rows: int) -> None:
    """Average the first rows of x into out (C,)."""
    channels, share = len(out), splat(np.float32(1 / rows))
    for c in range(0, channels, LANES):
        total, count = splat(0.0), channels - c
        for row in range(rows):
            total = total + load_first(x, row * channels + c, count)
        store_first(out, c, total * share, count)


@kernel
def sum_row_pairs(
    work: Any,
    share: int,
    each: int,
    x: Any,
    channels: int,
    centre: Any,
    factor: Any,
    thread: int,
    start: int,
    stop: int,
) -> None:
    """Sum every `share` of some rows into two of `work`, in blocks; the next two are scratch."""
    width = -(-channels // LANES) * LANES
    for low in range(start, stop, share):
        at, high = low // share * each, min(low + share, stop)
        block = at + 2 * width
        clear_run(work, at, 2 * width)
        # four rows at a time, as long as channels fill vectors: sums are visited less often, and
        # memory is read faster in several places than in one
        quarter = 0 if channels % LANES else (high - low) // 4
        for first in range(0, quarter, BLOCK // 4):
            clear_run(work, block, 2 * width)
            for row in range(low + first, low + min(first + BLOCK // 4, quarter)):
                _add_four(work, block, block + width, x, centre, factor, channels, row, quarter)
            add_slots(work, at, 2, 2 * width, 2 * width)
        for first in range(low + 4 * quarter, high, BLOCK):
            clear_run(work, block, 2 * width)
            for row in range(first, min(first + BLOCK, high)):
                _add_row(work, block, block + width, x, centre, factor, channels, row)
            add_slots(work, at, 2, 2 * width, 2 * width)


@inline
def _add_row(
    work: Any, sums: int, products: int, x: Any, centre: Any, factor: Any, channels: int, row: int
) -> None:
    """Add a row to sums and to sums of products."""
    for at in range(0, channels, LANES):
        count, of = channels - at, row * channels + at
        term = load_first(x, of, count) - load_first(centre, at, count)
        other = load_first(factor, of, count) if factor.size else term
        store(work, sums + at, load(work, sums + at) + other)
        store(work, products + at, load(work, products + at) + term * other)


@inline
def _add_four(
    work: Any, sums: int, products: int, x: Any, centre: Any, factor: Any, channels: int, row: int,
    step: int,
) -> None:  # fmt: skip
    """Add four rows, some rows apart, to sums and to sums of products."""
    apart = step * channels
    for at in range(0, channels, LANES):
        middle, of = load(centre, at), row * channels + at
        of_b, of_c, of_d = of + apart, of + 2 * apart, of + 3 * apart
        a, b = load(x, of) - middle, load(x, of_b) - middle
        c, d = load(x, of_c) - middle, load(x, of_d) - middle
        by_a, by_b, by_c, by_d = a, b, c, d
        if factor.size:
            by_a, by_b = load(factor, of), load(factor, of_b)
            by_c, by_d = load(factor, of_c), load(factor, of_d)
        store(work, sums + at, load(work, sums + at) + ((by_a + by_b) + (by_c + by_d)))
        added = (a * by_a + b * by_b) + (c * by_c + d * by_d)
        store(work, products + at, load(work, products + at) + added)


@kernel
def sum_rows(
    work: Any, share: int, each: int, x: Any, channels: int, thread: int, start: int, stop: int
) -> None:
    """Sum every `share` of some rows into one of `work`, in blocks; the next one is scratch."""
    width = -(-channels // LANES) * LANES
    for low in range(start, stop, share):
        at, high = low // share * each, min(low + share, stop)
        clear_run(work, at, width)
        for first in range(low, high, BLOCK):
            clear_run(work, at + width, width)
            for row in range(first, min(first + BLOCK, high)):
                for c in range(0, channels, LANES):
                    term = load_first(x, row * channels + c, channels - c)
                    store(work, at + width + c, load(work, at + width + c) + term)
            add_slots(work, at, 2, width, width)
