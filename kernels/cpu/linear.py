"""Fully connected layers of few images, where reading the weights takes the time.

Every weight is read from memory once. x (N, C), w (K, C), y (N, K), float32; no workspace.
"""

from typing import Any

from netc_kernels.cpu.shape import Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    kernel,
    lane_sum,
    load_first,
    splat,
    store_first,
)

ROWS = 16
"""Rows of the weights that a thread takes at a time."""
COLUMNS = 1024
"""Columns of the weights that a thread takes at a time; those of the images fit its cache."""


def fc(y: Array, x: Array, w: Array, pool: Pool) -> None:
    """Multiply: y = x @ w.T."""
    flat, (images, channels) = (y.reshape(-1), x.reshape(-1), w.reshape(-1)), x.shape
    pool.run(
        len(w), ROWS,
        lambda thread, start, stop: dot_rows(*flat, images, channels, len(w), start, stop),
    )  # fmt: skip


def fc_dx(dx: Array, dy: Array, w: Array, pool: Pool) -> None:
    """Compute the gradient of the input: dx = dy @ w."""
    flat, (images, channels) = (dx.reshape(-1), dy.reshape(-1), w.reshape(-1)), dx.shape
    pool.run(
        channels, COLUMNS,
        lambda thread, start, stop: add_rows(*flat, images, channels, len(w), start, stop),
    )  # fmt: skip


def fc_dw(dw: Array, x: Array, dy: Array, pool: Pool) -> None:
    """Compute the gradient of the weights: dw = dy.T @ x."""
    pool.run(len(dw), ROWS, lambda thread, start, stop: outer_rows(dw, x, dy, start, stop))


@kernel
def dot_rows(
    y: Any, x: Any, w: Any, images: int, channels: int, filters: int, start: int, stop: int
) -> None:
    """Compute columns `start` ... `stop` of x @ w.T, two by four at a time.

    What lies past the end is the last row again.
    """
    for k in range(start, stop, 2):
        first, second = k * channels, min(k + 1, stop - 1) * channels
        for n in range(0, images, 4):
            n1, n2, n3 = min(n + 1, images - 1), min(n + 2, images - 1), min(n + 3, images - 1)
            a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = splat(0.0)
            for c in range(0, channels, LANES):
                count = channels - c
                a, b = load_first(w, first + c, count), load_first(w, second + c, count)
                x0 = load_first(x, n * channels + c, count)
                x1 = load_first(x, n1 * channels + c, count)
                x2 = load_first(x, n2 * channels + c, count)
                x3 = load_first(x, n3 * channels + c, count)
                a0, a1, a2, a3 = a0 + a * x0, a1 + a * x1, a2 + a * x2, a3 + a * x3
                b0, b1, b2, b3 = b0 + b * x0, b1 + b * x1, b2 + b * x2, b3 + b * x3
            last = min(k + 1, stop - 1)
            y[n * filters + last], y[n * filters + k] = lane_sum(b0), lane_sum(a0)
            y[n1 * filters + last], y[n1 * filters + k] = lane_sum(b1), lane_sum(a1)
            y[n2 * filters + last], y[n2 * filters + k] = lane_sum(b2), lane_sum(a2)
            y[n3 * filters + last], y[n3 * filters + k] = lane_sum(b3), lane_sum(a3)


@kernel
def add_rows(
    dx: Any, dy: Any, w: Any, images: int, channels: int, filters: int, start: int, stop: int
) -> None:
    """Compute columns `start` ... `stop` of dy @ w, four rows of w at a time."""
    zero = dy.dtype.type(0)
    for n in range(images):
        dx[n * channels + start : n * channels + stop] = zero
    for k in range(0, filters, 4):
        # a row past the last one counts for nothing
        k1, k2, k3 = min(k + 1, filters - 1), min(k + 2, filters - 1), min(k + 3, filters - 1)
        for n in range(images):
            of = n * filters
            a = splat(dy[of + k])
            b = splat(dy[of + k1] if k + 1 < filters else zero)
            c = splat(dy[of + k2] if k + 2 < filters else zero)
            d = splat(dy[of + k3] if k + 3 < filters else zero)
            for i in range(start, stop, LANES):
                to, count = n * channels + i, stop - i
                total = load_first(dx, to, count) + a * load_first(w, k * channels + i, count)
                total = total + b * load_first(w, k1 * channels + i, count)
                total = total + c * load_first(w, k2 * channels + i, count)
                total = total + d * load_first(w, k3 * channels + i, count)
                store_first(dx, to, total, count)


@kernel
def outer_rows(dw: Any, x: Any, dy: Any, start: int, stop: int) -> None:
    """Compute some rows of dy.T @ x; each is written once."""
    for k in range(start, stop):
        fill_row(dw[k], x, dy, k)


@kernel
def fill_row(row: Any, x: Any, dy: Any, k: int) -> None:
    """Compute one row of dy.T @ x, four images at a time."""
    images, zero = len(x), x.dtype.type(0)
    row[:] = zero
    for n in range(0, images, 4):
        # an image past the last one counts for nothing
        second, third, fourth = (
            min(n + 1, images - 1),
            min(n + 2, images - 1),
            min(n + 3, images - 1),
        )
        a = dy[n, k]
        b = dy[second, k] if n + 1 < images else zero
        c = dy[third, k] if n + 2 < images else zero
        d = dy[fourth, k] if n + 3 < images else zero
        x0, x1, x2, x3 = x[n], x[second], x[third], x[fourth]
        for i in range(len(row)):
            row[i] += a * x0[i] + b * x1[i] + c * x2[i] + d * x3[i]
