"""Normalization of images (N, H, W, C): across channels, and over the batch.

The pieces of batch normalization are those of the reference (Ioffe and Szegedy 2015); arrays of 2
dims are images of one pixel. Float32. Sums are those of `elementwise`.
"""

from typing import Any, NamedTuple

import numpy as np

from netc_kernels.cpu.elementwise import channel_sums, mean_of_rows, pair_sums
from netc_kernels.cpu.shape import Array, up
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    inline,
    kernel,
    load,
    load_first,
    maximum,
    power,
    root,
    splat,
    store,
    store_first,
    where_positive,
)

PIXELS = 256
"""Pixels that a thread takes at a time."""
SAMPLE = 16
"""Pixels whose mean stands for that of all while it is not known."""


class LrnParameters(NamedTuple):
    """What the kernels across channels depend on."""

    channels: int
    size: int
    row: int
    """Elements of one pixel's channels with zeros around them."""
    alpha: Any
    beta: Any
    k: Any
    relu: bool


def lrn_workspace(channels: int, size: int, threads: int) -> int:
    """Bytes of `work` that `lrn` and `lrn_dx` need."""
    return 4 * threads * 2 * _row(channels, size)


def _row(channels: int, size: int) -> int:
    """Elements of one pixel's channels with zeros around them."""
    return up(channels, LANES) + 2 * up(size, LANES)


def lrn(
    y: Array, x: Array, work: Array, pool: Pool,
    *, size: int, alpha: float, beta: float, k: float,
) -> None:  # fmt: skip
    """Normalize across channels: x / (k + alpha * sum of x**2 over `size` channels)**beta."""
    facts, flat = _facts(x, size, alpha, beta, k, False), (y.reshape(-1), x.reshape(-1))
    work[: pool.threads * 2 * facts.row] = 0
    pool.spread(x.size // max(1, facts.channels), PIXELS, lrn_part, *flat, work, facts)


def lrn_dx(
    dx: Array, x: Array, dy: Array, work: Array, pool: Pool,
    *, size: int, alpha: float, beta: float, k: float, relu: bool = False,
) -> None:  # fmt: skip
    """Compute the gradient of `lrn`'s input. `dx` may be dy.

    With `relu`, x is a relu's output: go through it.
    """
    facts = _facts(x, size, alpha, beta, k, relu)
    flat = dx.reshape(-1), x.reshape(-1), dy.reshape(-1)
    work[: pool.threads * 2 * facts.row] = 0
    pool.spread(x.size // max(1, facts.channels), PIXELS, lrn_dx_part, *flat, work, facts)


def _facts(x: Array, size: int, alpha: float, beta: float, k: float, relu: bool) -> LrnParameters:
    channels, row, one = x.shape[-1], _row(x.shape[-1], size), np.float32
    return LrnParameters(channels, size, row, one(alpha), one(beta), one(k), relu)


@inline
def _window(work: Any, at: int, size: int) -> Any:
    total = load(work, at)
    for shift in range(1, size):
        total = total + load(work, at + shift)
    return total


@inline
def _power(scale: Any, beta: Any) -> Any:
    """Compute scale**beta; 3/4 is two square roots."""
    if beta == np.float32(0.75):
        half = root(scale)
        return half * root(half)
    return power(scale, splat(beta))


@kernel
def lrn_part(
    y: Any, x: Any, work: Any, f: LrnParameters, thread: int, start: int, stop: int
) -> None:
    """Normalize pixels `start` ... `stop`; `work` has zeros around one pixel's squares."""
    squares, channels = 2 * f.row * thread + -(-f.size // LANES) * LANES, f.channels
    for pixel in range(start, stop):
        for c in range(0, channels, LANES):
            value = load_first(x, pixel * channels + c, channels - c)
            store(work, squares + c, value * value)
        for c in range(0, channels, LANES):
            total = _window(work, squares + c - f.size // 2, f.size)
            scale = splat(f.k) + splat(f.alpha) * total
            value = load_first(x, pixel * channels + c, channels - c)
            store_first(y, pixel * channels + c, value / _power(scale, f.beta), channels - c)


@kernel
def lrn_dx_part(
    dx: Any, x: Any, dy: Any, work: Any, f: LrnParameters, thread: int, start: int, stop: int
) -> None:
    """Compute the gradient of pixels `start` ... `stop`."""
    squares, channels = 2 * f.row * thread + -(-f.size // LANES) * LANES, f.channels
    shares = squares + f.row
    factor = splat(np.float32(2) * f.alpha * f.beta)
    for pixel in range(start, stop):
        of = pixel * channels
        for c in range(0, channels, LANES):
            value = load_first(x, of + c, channels - c)
            store(work, squares + c, value * value)
        for c in range(0, channels, LANES):
            count = channels - c
            total = _window(work, squares + c - f.size // 2, f.size)
            scale = splat(f.k) + splat(f.alpha) * total
            direct = load_first(dy, of + c, count) / _power(scale, f.beta)
            share = direct * load_first(x, of + c, count) / scale
            store_first(dx, of + c, direct, count)
            store_first(work, shares + c, share, count)
        for c in range(0, channels, LANES):
            count = channels - c
            value, direct = load_first(x, of + c, count), load_first(dx, of + c, count)
            others = _window(work, shares + c - (f.size - 1) // 2, f.size)
            result = direct - factor * value * others
            store_first(dx, of + c, where_positive(value, result) if f.relu else result, count)


def bn_mean(out: Array, x: Array, work: Array, pool: Pool, *, count: int) -> None:
    """Compute this shard's part of the mean, out (C,): sum of x / count."""
    channel_sums(out, x, work, pool, scale=1 / count)


def bn_var(out: Array, x: Array, mean: Array, work: Array, pool: Pool, *, count: int) -> None:
    """Compute this shard's part of the variance, out (C,): sum of (x - mean)**2 / count."""
    np.multiply(pair_sums(x, mean, None, work, pool)[1], 1 / count, out=out)


def bn_dgamma(
    out: Array, x: Array, mean: Array, var: Array, dy: Array, work: Array, pool: Pool, *, eps: float
) -> None:
    """Compute this shard's part of the gradient of gamma: sum of dy * normalized x."""
    _, slopes = pair_sums(x, mean, dy, work, pool)
    np.multiply(slopes, 1 / np.sqrt(var + np.float32(eps)), out=out)


def bn_moments(mean: Array, var: Array, x: Array, work: Array, pool: Pool) -> None:
    """Compute mean and variance (C,) in one pass, where x, not empty, is the whole batch.

    The sums are of differences from the mean of some pixels, so that little cancels.
    """
    pixels, centre = x.size // x.shape[-1], np.empty_like(mean)
    mean_of_rows(centre, x.reshape(-1), min(SAMPLE, pixels))
    first, second = pair_sums(x, centre, None, work, pool)
    first /= np.float32(pixels)
    np.add(centre, first, out=mean)
    np.subtract(second / np.float32(pixels), first * first, out=var)


def bn_sums(out: Array, x: Array, work: Array, pool: Pool, *, count: int) -> None:
    """Compute this shard's part of the means of x and of its square in one pass, (C, 2) float64.

    The sums in float32 are of differences from the mean of some pixels of this shard, as in
    `bn_moments`; what these stand for is added in float64, so that shards may differ in it.
    """
    pixels, centre = x.size // x.shape[-1], np.empty(x.shape[-1], np.float32)
    mean_of_rows(centre, x.reshape(-1), min(SAMPLE, pixels))
    first, second = (each.astype(np.float64) for each in pair_sums(x, centre, None, work, pool))
    middle = centre.astype(np.float64)
    whole = pixels * middle
    np.divide(first + whole, count, out=out[:, 0])
    np.divide(second + middle * (2 * first + whole), count, out=out[:, 1])


def sums_moments(mean: Array, var: Array, sums: Array, pool: Pool) -> None:
    """Compute mean and variance from whole sums, pairs of float64."""
    mean[...] = sums[..., 0]
    var[...] = np.maximum(sums[..., 1] - np.square(sums[..., 0]), 0)


def bn_slopes(
    dgamma: Array, dbeta: Array, x: Array, mean: Array, var: Array, dy: Array, work: Array,
    pool: Pool, *, eps: float,
) -> None:  # fmt: skip
    """Compute `bn_dgamma` and, in the same pass, the sum of dy (C,)."""
    first, second = pair_sums(x, mean, dy, work, pool)
    dbeta[...] = first
    np.multiply(second, 1 / np.sqrt(var + np.float32(eps)), out=dgamma)


def bn_norm(
    y: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, pool: Pool,
    *, eps: float, relu: bool = False, other: Array | None = None,
) -> None:  # fmt: skip
    """Compute gamma * (x - mean) / sqrt(var + eps) + beta, plus `other`, and relu if asked.

    `y` may be x or `other`.
    """
    slope = gamma / np.sqrt(var + np.float32(eps))
    flat = np.zeros(0, np.float32) if other is None else other.reshape(-1)
    _linear(y, x, flat, slope, np.ones_like(slope), mean, beta, pool, relu)


def bn_dx(
    dx: Array, x: Array, mean: Array, var: Array, gamma: Array, dgamma: Array, dbeta: Array,
    dy: Array, pool: Pool, *, eps: float, count: int,
) -> None:  # fmt: skip
    """Compute the gradient of the input, through mean and variance too. `dx` may be dy."""
    deviation = np.sqrt(var + np.float32(eps))
    slope = gamma / deviation
    _linear(
        dx, x, dy.reshape(-1), slope * dgamma / deviation / np.float32(-count), slope, mean,
        slope * dbeta / np.float32(-count), pool, False,
    )  # fmt: skip


def _linear(
    out: Array, x: Array, other: Array, a: Array, b: Array, mean: Array, shift: Array, pool: Pool,
    relu: bool,
) -> None:  # fmt: skip
    channels, facts = x.shape[-1], (other, a, b, mean, shift, relu)
    pool.spread(
        x.size // max(1, channels), PIXELS, linear_part, out.reshape(-1), x.reshape(-1), *facts
    )


@kernel
def linear_part(
    out: Any, x: Any, other: Any, a: Any, b: Any, mean: Any, shift: Any, relu: bool, thread: int,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Compute a * (x - mean) + b * other + shift for some pixels; `other` may be empty."""
    channels = len(mean)
    for pixel in range(start, stop):
        for c in range(0, channels, LANES):
            at, count = pixel * channels + c, channels - c
            value = load_first(x, at, count) - load_first(mean, c, count)
            value = load_first(a, c, count) * value + load_first(shift, c, count)
            if other.size:
                value = value + load_first(b, c, count) * load_first(other, at, count)
            store_first(out, at, maximum(splat(0.0), value) if relu else value, count)
