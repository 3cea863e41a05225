"""Batch normalization by groups of consecutive images, in pieces: those of `norm` for each group.

Images are (N, H, W, C), statistics (groups, C); `group` and `before` are those of the reference.
"""

from collections.abc import Iterator

from netc_kernels.cpu import norm
from netc_kernels.cpu.elementwise import channel_sums
from netc_kernels.cpu.shape import Array
from netc_kernels.cpu.threads import Pool


def _groups(
    images: Array, statistics: Array, group: int, before: int
) -> Iterator[tuple[int, slice]]:
    """Every group of which images are here, and which."""
    for number in range(len(statistics)):
        start, stop = number * group - before, (number + 1) * group - before
        start, stop = max(start, 0), min(stop, len(images))
        if start < stop:
            yield number, slice(start, stop)


def grouped_mean(
    out: Array, x: Array, work: Array, pool: Pool, *, group: int, count: int, before: int
) -> None:
    """Compute these images' part of the means, out (groups, C): sums of x / count."""
    out[...] = 0
    for i, own in _groups(x, out, group, before):
        norm.bn_mean(out[i], x[own], work, pool, count=count)


def grouped_var(
    out: Array, x: Array, mean: Array, work: Array, pool: Pool,
    *, group: int, count: int, before: int,
) -> None:  # fmt: skip
    """Compute these images' part of the variances: sums of (x - mean)**2 / count."""
    out[...] = 0
    for i, own in _groups(x, out, group, before):
        norm.bn_var(out[i], x[own], mean[i], work, pool, count=count)


def grouped_dgamma(
    out: Array, x: Array, mean: Array, var: Array, dy: Array, work: Array, pool: Pool,
    *, group: int, eps: float, before: int,
) -> None:  # fmt: skip
    """Compute each group's term of the gradient of gamma: sums of dy * normalized x."""
    out[...] = 0
    for i, own in _groups(x, out, group, before):
        norm.bn_dgamma(out[i], x[own], mean[i], var[i], dy[own], work, pool, eps=eps)


def grouped_dbeta(
    out: Array, dy: Array, work: Array, pool: Pool, *, group: int, before: int
) -> None:
    """Compute each group's term of the gradient of beta: sums of dy."""
    out[...] = 0
    for i, own in _groups(dy, out, group, before):
        channel_sums(out[i], dy[own], work, pool)


def grouped_moments(
    mean: Array, var: Array, x: Array, work: Array, pool: Pool, *, group: int, before: int
) -> None:
    """Compute means and variances in one pass, where x is all of the groups."""
    for i, own in _groups(x, mean, group, before):
        norm.bn_moments(mean[i], var[i], x[own], work, pool)


def grouped_sums(
    out: Array, x: Array, work: Array, pool: Pool, *, group: int, count: int, before: int
) -> None:
    """Compute these images' part of the means of x and of its square, (groups, C, 2) float64."""
    out[...] = 0
    for i, own in _groups(x, out, group, before):
        norm.bn_sums(out[i], x[own], work, pool, count=count)


def grouped_slopes(
    dgamma: Array, dbeta: Array, x: Array, mean: Array, var: Array, dy: Array, work: Array,
    pool: Pool, *, group: int, eps: float, before: int,
) -> None:  # fmt: skip
    """Compute `grouped_dgamma` and, in the same pass, `grouped_dbeta`."""
    dgamma[...] = dbeta[...] = 0
    for i, own in _groups(x, mean, group, before):
        norm.bn_slopes(dgamma[i], dbeta[i], x[own], mean[i], var[i], dy[own], work, pool, eps=eps)


def grouped_norm(
    y: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, pool: Pool,
    *, group: int, eps: float, before: int, relu: bool = False, other: Array | None = None,
) -> None:  # fmt: skip
    """Compute gamma * (x - mean) / sqrt(var + eps) + beta, plus `other`, and relu if asked.

    `y` may be x or `other`.
    """
    for i, own in _groups(x, mean, group, before):
        norm.bn_norm(
            y[own], x[own], mean[i], var[i], gamma, beta, pool, eps=eps, relu=relu,
            other=None if other is None else other[own],
        )  # fmt: skip


def grouped_dx(
    dx: Array, x: Array, mean: Array, var: Array, gamma: Array, dgamma: Array, dbeta: Array,
    dy: Array, pool: Pool, *, group: int, eps: float, count: int, before: int,
) -> None:  # fmt: skip
    """Compute the gradient of the input, through the statistics too. `dx` may be dy."""
    for i, own in _groups(x, mean, group, before):
        norm.bn_dx(
            dx[own], x[own], mean[i], var[i], gamma, dgamma[i], dbeta[i], dy[own], pool,
            eps=eps, count=count,
        )  # fmt: skip
