"""Stochastic gradient descent with momentum and decay (Krizhevsky et al. 2012, section 5)."""

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
