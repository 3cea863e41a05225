"""Fully connected layers of few images, where reading the weights takes the time.

Every weight is read from memory once. x (N, C), w (K, C), y (N, K), float32; no workspace.
"""

from typing import Any

from netc_kernels.cpu.shape import Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    inline,
    kernel,
    lane_sum,
    load_first,
    multiply_add,
    splat,
    splat_at,
    store_first,
)

ROWS = 16
"""Rows of the weights that a thread takes at a time."""
COLUMNS = 1024
"""Columns of the weights that a thread takes at a time; those of the images fit its cache."""


def fc(y: Array, x: Array, w: Array, pool: Pool) -> None:
    """Multiply: y = x @ w.T."""
    flat, (images, channels) = (y.reshape(-1), x.reshape(-1), w.reshape(-1)), x.shape
    pool.spread(len(w), ROWS, dot_rows, *flat, images, channels, len(w))


def fc_dx(dx: Array, dy: Array, w: Array, pool: Pool) -> None:
    """Compute the gradient of the input: dx = dy @ w."""
    flat, (images, channels) = (dx.reshape(-1), dy.reshape(-1), w.reshape(-1)), dx.shape
    pool.spread(channels, COLUMNS, add_rows, *flat, images, channels, len(w))


def fc_dw(dw: Array, x: Array, dy: Array, pool: Pool) -> None:
    """Compute the gradient of the weights: dw = dy.T @ x."""
    flat, (images, channels) = (dw.reshape(-1), x.reshape(-1), dy.reshape(-1)), x.shape
    pool.spread(len(dw), ROWS, outer_rows, *flat, images, channels, len(dw))


@kernel
def dot_rows(
    y: Any, x: Any, w: Any, images: int, channels: int, filters: int, thread: int, start: int,
    stop: int,
) -> None:  # fmt: skip
    """Compute columns `start` ... `stop` of x @ w.T, four by four at a time.

    What lies past the end is the last row again.
    """
    for k in range(start, stop, 4):
        k1, k2, k3 = min(k + 1, stop - 1), min(k + 2, stop - 1), min(k + 3, stop - 1)
        for n in range(0, images, 4):
            n1, n2, n3 = min(n + 1, images - 1), min(n + 2, images - 1), min(n + 3, images - 1)
            zero = splat(0.0)
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = zero
            c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = zero
            for i in range(0, channels, LANES):
                count = channels - i
                x0 = load_first(x, n * channels + i, count)
                x1 = load_first(x, n1 * channels + i, count)
                x2 = load_first(x, n2 * channels + i, count)
                x3 = load_first(x, n3 * channels + i, count)
                row = load_first(w, k * channels + i, count)
                a0, a1 = multiply_add(row, x0, a0), multiply_add(row, x1, a1)
                a2, a3 = multiply_add(row, x2, a2), multiply_add(row, x3, a3)
                row = load_first(w, k1 * channels + i, count)
                b0, b1 = multiply_add(row, x0, b0), multiply_add(row, x1, b1)
                b2, b3 = multiply_add(row, x2, b2), multiply_add(row, x3, b3)
                row = load_first(w, k2 * channels + i, count)
                c0, c1 = multiply_add(row, x0, c0), multiply_add(row, x1, c1)
                c2, c3 = multiply_add(row, x2, c2), multiply_add(row, x3, c3)
                row = load_first(w, k3 * channels + i, count)
                d0, d1 = multiply_add(row, x0, d0), multiply_add(row, x1, d1)
                d2, d3 = multiply_add(row, x2, d2), multiply_add(row, x3, d3)
            _put_sums(y, filters, (n, n1, n2, n3), k3, (d0, d1, d2, d3))
            _put_sums(y, filters, (n, n1, n2, n3), k2, (c0, c1, c2, c3))
            _put_sums(y, filters, (n, n1, n2, n3), k1, (b0, b1, b2, b3))
            _put_sums(y, filters, (n, n1, n2, n3), k, (a0, a1, a2, a3))


@inline
def _put_sums(y: Any, filters: int, images: Any, k: int, sums: Any) -> None:
    """Write four images' results of one filter, each the sum of a vector."""
    y[images[3] * filters + k] = lane_sum(sums[3])
    y[images[2] * filters + k] = lane_sum(sums[2])
    y[images[1] * filters + k] = lane_sum(sums[1])
    y[images[0] * filters + k] = lane_sum(sums[0])


@kernel
def add_rows(
    dx: Any, dy: Any, w: Any, images: int, channels: int, filters: int, thread: int, start: int,
    stop: int,
) -> None:  # fmt: skip
    """Compute columns `start` ... `stop` of dy @ w, four rows of w for two images at a time."""
    zero = dy.dtype.type(0)
    for n in range(images):
        dx[n * channels + start : n * channels + stop] = zero
    for k in range(0, filters, 4):
        # a row past the last one counts for nothing
        k1, k2, k3 = min(k + 1, filters - 1), min(k + 2, filters - 1), min(k + 3, filters - 1)
        of, of1, of2, of3 = k * channels, k1 * channels, k2 * channels, k3 * channels
        for n in range(0, images, 2):
            m = min(n + 1, images - 1)
            a, b, c, d = _factors(dy, n * filters, k, filters)
            e, f, g, h = _factors(dy, m * filters, k, filters)
            for i in range(start, stop, LANES):
                to, too, count = n * channels + i, m * channels + i, stop - i
                x, y = load_first(dx, to, count), load_first(dx, too, count)
                row = load_first(w, of + i, count)
                x, y = multiply_add(a, row, x), multiply_add(e, row, y)
                row = load_first(w, of1 + i, count)
                x, y = multiply_add(b, row, x), multiply_add(f, row, y)
                row = load_first(w, of2 + i, count)
                x, y = multiply_add(c, row, x), multiply_add(g, row, y)
                row = load_first(w, of3 + i, count)
                x, y = multiply_add(d, row, x), multiply_add(h, row, y)
                store_first(dx, to, x, count)
                store_first(dx, too, y, count)


@inline
def _factors(dy: Any, at: int, k: int, filters: int) -> Any:
    """What an image multiplies four rows of w by; those past the last count for nothing."""
    zero = dy.dtype.type(0)
    return (
        splat(dy[at + k]),
        splat(dy[at + k + 1] if k + 1 < filters else zero),
        splat(dy[at + k + 2] if k + 2 < filters else zero),
        splat(dy[at + k + 3] if k + 3 < filters else zero),
    )


@kernel
def outer_rows(
    dw: Any, x: Any, dy: Any, images: int, channels: int, filters: int, thread: int, start: int,
    stop: int,
) -> None:  # fmt: skip
    """Compute rows `start` ... `stop` of dy.T @ x; each element is written once."""
    for k in range(start, stop, 4):
        last = min(3, stop - 1 - k)
        for i in range(0, channels, LANES):
            sums = four_rows(x, images, channels, i, dy, k, filters, last)
            for row in range(last + 1):
                store_first(dw, (k + row) * channels + i, sums[row], channels - i)


@inline
def four_rows(
    x: Any, images: int, channels: int, i: int, dy: Any, at: int, step: int, last: int
) -> Any:
    """Compute a vector, from channel i, of four rows of dy.T @ x.

    An image's four numbers of dy follow each other from `at` on; after `last` it is that again.
    """
    second, third = at + min(1, last), at + min(2, last)
    a = b = c = d = splat(0.0)
    for n in range(images):
        value, of = load_first(x, n * channels + i, channels - i), n * step
        a = multiply_add(splat_at(dy, at + of), value, a)
        b = multiply_add(splat_at(dy, second + of), value, b)
        c = multiply_add(splat_at(dy, third + of), value, c)
        d = multiply_add(splat_at(dy, at + last + of), value, d)
    return a, b, c, d
