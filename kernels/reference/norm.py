"""Local response normalization and the pieces of batch normalization.

Batch normalization (Ioffe and Szegedy 2015) comes in pieces, so that sums over the batch can be
reduced over devices between them. `count` is the number of elements per channel in the *global*
batch; the results of bn_mean, bn_var and bn_dgamma on one shard of it add up to the whole. x is
(N, C, H, W) or (N, C), values per channel are (C,), variances are biased (divided by `count`).
"""

import numpy as np

from netc_kernels.reference.layout import Array, channel_sum, on_channels


def lrn(
    out: Array,
    x: Array,
    *,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    inside: tuple[int] = (0,),
) -> None:
    """Normalize across channels: x / (k + alpha * sum of x**2 over `size` channels)**beta.

    The channels are i - size // 2 ... i + (size - 1) // 2, cut at the ends; alpha is not divided by
    size (Krizhevsky et al. 2012, section 3.3). x may have more channels than `out`, whose first is
    the one at `inside` of x.
    """
    scale = k + alpha * _window_sum(x * x, size // 2, (size - 1) // 2)
    own = slice(inside[0], inside[0] + out.shape[1])
    np.divide(x[:, own], scale[:, own] ** beta, out=out)


def lrn_dx(
    out: Array,
    x: Array,
    dy: Array,
    *,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    inside: tuple[int, int] = (0, 0),
) -> None:
    """Compute the gradient of the input of `lrn` from that input and dy. `out` may be dy.

    Both may have more channels than `out`, whose first is the one at `inside` of x and of dy.
    """
    before, after = size // 2, (size - 1) // 2
    given = slice(inside[0] - inside[1], inside[0] - inside[1] + dy.shape[1])
    scale = (k + alpha * _window_sum(x * x, before, after))[:, given]
    x = x[:, given]
    direct = dy * scale**-beta
    # i takes part in the windows of i - after ... i + before: the window mirrored
    others = _window_sum(direct * x / scale, after, before)
    own = slice(inside[1], inside[1] + out.shape[1])
    np.subtract(direct[:, own], (2 * alpha * beta * x * others)[:, own], out=out)


def _window_sum(x: Array, before: int, after: int) -> Array:
    """Sum channels i - before ... i + after, cut at the ends, for every channel i."""
    total = np.zeros(x.shape, x.dtype)
    channels = x.shape[1]
    for shift in range(-before, after + 1):
        start, stop = max(0, -shift), min(channels, channels - shift)
        if start < stop:
            total[:, start:stop] += x[:, start + shift : stop + shift]
    return total


def bn_mean(out: Array, x: Array, *, count: int) -> None:
    """Compute this shard's part of the mean, out (C,): sum of x / count."""
    np.divide(channel_sum(x), count, out=out)


def bn_var(out: Array, x: Array, mean: Array, *, count: int) -> None:
    """Compute this shard's part of the variance, out (C,): sum of (x - mean)**2 / count."""
    np.divide(channel_sum(np.square(x - on_channels(mean, x))), count, out=out)


def bn_sums(out: Array, x: Array, *, count: int) -> None:
    """Compute this shard's part of the means of x and of its square, out (C, 2) float64."""
    wide = x.astype(np.float64)
    np.divide(channel_sum(wide), count, out=out[:, 0])
    np.divide(channel_sum(np.square(wide)), count, out=out[:, 1])


def sums_mean(out: Array, sums: Array) -> None:
    """Take the mean from what whole sums are: the first of each pair of float64."""
    out[...] = sums[..., 0]


def sums_var(out: Array, sums: Array) -> None:
    """Compute the biased variance from whole sums: that of the squares less the mean's square."""
    out[...] = np.maximum(sums[..., 1] - np.square(sums[..., 0]), 0)


def bn_norm(
    out: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float
) -> None:
    """Compute gamma * (x - mean) / sqrt(var + eps) + beta. `out` may be x."""
    scaled = _normalized(x, mean, var, eps) * on_channels(gamma, x)
    np.add(scaled, on_channels(beta, x), out=out)


def bn_dgamma(out: Array, x: Array, mean: Array, var: Array, dy: Array, *, eps: float) -> None:
    """Compute this shard's part of the gradient of gamma, out (C,): sum of dy * normalized x."""
    out[...] = channel_sum(dy * _normalized(x, mean, var, eps))


def bn_dx(
    out: Array,
    x: Array,
    mean: Array,
    var: Array,
    gamma: Array,
    dgamma: Array,
    dbeta: Array,
    dy: Array,
    *,
    eps: float,
    count: int,
) -> None:
    """Compute the gradient of the input, through the mean and the variance too. `out` may be dy.

    dgamma and dbeta are the whole batch's sums, over all shards.
    """
    through_var = _normalized(x, mean, var, eps) * on_channels(dgamma, x)
    through_both = (through_var + on_channels(dbeta, x)) / count
    np.multiply(dy - through_both, on_channels(gamma / np.sqrt(var + eps), x), out=out)


def bn_running(
    out: Array, running: Array, value: Array, *, momentum: float, correction: float
) -> None:
    """Update a running statistic. `out` may be `running`.

    out = (1 - momentum) * running + momentum * correction * value; the correction of a variance is
    count / (count - 1), of a mean 1.
    """
    np.add((1 - momentum) * running, momentum * correction * value, out=out)


def _normalized(x: Array, mean: Array, var: Array, eps: float) -> Array:
    centred: Array = x - on_channels(mean, x)
    centred /= on_channels(np.sqrt(var + eps), x)
    return centred
