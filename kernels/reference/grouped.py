"""Batch normalization by groups of consecutive images, in pieces: those of `norm` for each group.

Statistics are (groups, C). The images of a call are part of the global batch: `before` says how
many images of the first group of the statistics, and of those behind it, lie before the first one
here, and `group` how many images make a group. A group of which no images are here has sums of 0.
`count` is the number of elements per channel in a whole group.
"""

from collections.abc import Iterator

from netc_kernels.reference import norm
from netc_kernels.reference.layout import Array, channel_sum


def _groups(
    images: Array, statistics: Array, group: int, before: int
) -> Iterator[tuple[int, slice]]:
    """Every group, and which images are of it."""
    for number in range(len(statistics)):
        start, stop = number * group - before, (number + 1) * group - before
        yield number, slice(max(start, 0), max(min(stop, len(images)), 0))


def grouped_mean(out: Array, x: Array, *, group: int, count: int, before: int) -> None:
    """Compute these images' part of the means, out (groups, C): sums of x / count."""
    for i, own in _groups(x, out, group, before):
        norm.bn_mean(out[i], x[own], count=count)


def grouped_var(out: Array, x: Array, mean: Array, *, group: int, count: int, before: int) -> None:
    """Compute these images' part of the variances: sums of (x - mean)**2 / count."""
    for i, own in _groups(x, out, group, before):
        norm.bn_var(out[i], x[own], mean[i], count=count)


def grouped_sums(out: Array, x: Array, *, group: int, count: int, before: int) -> None:
    """Compute these images' part of the means of x and of its square, out (groups, C, 2)."""
    for i, own in _groups(x, out, group, before):
        norm.bn_sums(out[i], x[own], count=count)


def grouped_norm(
    out: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array,
    *, group: int, eps: float, before: int,
) -> None:  # fmt: skip
    """Compute gamma * (x - mean) / sqrt(var + eps) + beta. `out` may be x."""
    for i, own in _groups(x, mean, group, before):
        norm.bn_norm(out[own], x[own], mean[i], var[i], gamma, beta, eps=eps)


def grouped_dgamma(
    out: Array, x: Array, mean: Array, var: Array, dy: Array,
    *, group: int, eps: float, before: int,
) -> None:  # fmt: skip
    """Compute each group's term of the gradient of gamma: sums of dy * normalized x."""
    for i, own in _groups(x, out, group, before):
        norm.bn_dgamma(out[i], x[own], mean[i], var[i], dy[own], eps=eps)


def grouped_dbeta(out: Array, dy: Array, *, group: int, before: int) -> None:
    """Compute each group's term of the gradient of beta: sums of dy."""
    for i, own in _groups(dy, out, group, before):
        out[i] = channel_sum(dy[own])


def grouped_dx(
    out: Array, x: Array, mean: Array, var: Array, gamma: Array, dgamma: Array, dbeta: Array,
    dy: Array, *, group: int, eps: float, count: int, before: int,
) -> None:  # fmt: skip
    """Compute the gradient of the input, through the statistics too. `out` may be dy.

    dgamma and dbeta are the sums of whole groups, over all shards.
    """
    for i, own in _groups(x, mean, group, before):
        norm.bn_dx(
            out[own], x[own], mean[i], var[i], gamma, dgamma[i], dbeta[i], dy[own],
            eps=eps, count=count,
        )  # fmt: skip
