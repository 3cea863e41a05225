"""Stochastic gradient descent with momentum and decay (Krizhevsky et al. 2012, section 5; as
PyTorch has it; with Nesterov's momentum, Sutskever et al. 2013), Adam (Kingma and Ba 2015,
algorithm 1), and RMSprop (Hinton 2012, lecture 6e).
"""

from collections.abc import Callable, Mapping

import numpy as np

from netc_kernels.reference.layout import Array


def sgd_velocity(
    out: Array,
    v: Array,
    w: Array,
    g: Array,
    lr: Array,
    *,
    momentum: float,
    decay: float,
    scale: float,
) -> None:
    """Update the velocity: momentum * v - lr * (g + scale * decay * w). `out` may be v.

    lr () is read at run time; `scale` is the share of the decay that falls to this update.
    """
    step = (scale * decay) * w
    step += g
    step *= lr
    np.subtract(momentum * v, step, out=out)


def sgd_apply(out: Array, w: Array, v: Array) -> None:
    """Move the weights by the velocity: w + v. `out` may be w."""
    np.add(w, v, out=out)


def momentum_velocity(
    out: Array, v: Array, w: Array, g: Array, *, decay: float, momentum: float, scale: float
) -> None:
    """Update the velocity: momentum * v + s, s = g / scale + decay * w. `out` may be v."""
    np.add(momentum * v, _slope(w, g, decay, scale), out=out)


def nesterov_apply(
    out: Array,
    w: Array,
    v: Array,
    g: Array,
    lr: Array,
    *,
    decay: float,
    momentum: float,
    scale: float,
) -> None:
    """Move the weights as if the velocity were a step ahead: w - scale * lr * (s + momentum * v),
    s = g / scale + decay * w. `out` may be w. lr () is read at run time.
    """
    ahead = _slope(w, g, decay, scale) + momentum * v
    np.subtract(w, scale * lr * ahead, out=out)


def velocity_apply(out: Array, w: Array, v: Array, lr: Array, *, scale: float) -> None:
    """Move the weights against the velocity: w - scale * lr * v. `out` may be w."""
    np.subtract(w, scale * lr * v, out=out)


def adam_moment1(
    out: Array, m: Array, w: Array, g: Array, *, beta1: float, decay: float, scale: float
) -> None:
    """Update the mean of slopes: beta1 * m + (1 - beta1) * s, s = g / scale + decay * w.

    `out` may be m. `scale` is the share of the batch that g, a part of the mean gradient, is of.
    """
    np.add(beta1 * m, (1 - beta1) * _slope(w, g, decay, scale), out=out)


def adam_moment2(
    out: Array, v: Array, w: Array, g: Array, *, beta2: float, decay: float, scale: float
) -> None:
    """Update the mean of squared slopes: beta2 * v + (1 - beta2) * s * s. `out` may be v."""
    slope = _slope(w, g, decay, scale)
    np.add(beta2 * v, (1 - beta2) * slope * slope, out=out)


def adam_apply(
    out: Array,
    w: Array,
    m: Array,
    v: Array,
    lr: Array,
    step: Array,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: float,
    scale: float,
    turn: int,
    turns: int,
) -> None:
    """Move the weights by the moments, each divided by the sum of its factors so far.

    `out` may be w. lr () and step () are read at run time. This is update t = turns * step + turn
    + 1, which gets `scale` of the rate. `decoupled` is the decay beside the moments (Loshchilov and
    Hutter 2019).
    """
    t = turns * int(step) + turn + 1
    mean, square = m / (1 - beta1**t), v / (1 - beta2**t)
    np.subtract(w, scale * lr * (mean / (np.sqrt(square) + eps) + decoupled * w), out=out)


def rmsprop_velocity(
    out: Array,
    v: Array,
    square: Array,
    w: Array,
    g: Array,
    *,
    decay: float,
    momentum: float,
    eps: float,
    scale: float,
) -> None:
    """Update the velocity: momentum * v + s / (sqrt(square) + eps), s = g / scale + decay * w.

    `out` may be v. `square` is the mean of squared slopes that these slopes are in already.
    """
    slope = _slope(w, g, decay, scale)
    np.add(momentum * v, slope / (np.sqrt(square) + eps), out=out)


def average(out: Array, e: Array, w: Array, step: Array, *, decay: float) -> None:
    """Move an average: decay * e + (1 - decay) * w, or w where step () is 0. `out` may be e."""
    if int(step):
        np.add(decay * e, (1 - decay) * w, out=out)
    else:
        out[...] = w


def _slope(w: Array, g: Array, decay: float, scale: float) -> Array:
    """The mean gradient over a share's examples, with the decay."""
    slope: Array = g / scale + decay * w
    return slope


KERNELS: Mapping[str, Callable[..., None]] = {
    "sgd_velocity": sgd_velocity,
    "sgd_apply": sgd_apply,
    "momentum_velocity": momentum_velocity,
    "nesterov_apply": nesterov_apply,
    "velocity_apply": velocity_apply,
    "adam_moment1": adam_moment1,
    "adam_moment2": adam_moment2,
    "adam_apply": adam_apply,
    "rmsprop_velocity": rmsprop_velocity,
    "average": average,
}
"""The operations of all optimizers, and what averages what they make."""
