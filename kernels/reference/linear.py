"""Fully connected layers and the bias of any layer."""

import numpy as np

from netc_kernels.reference.layout import Array, channel_sum, dense, on_channels


def fc(out: Array, x: Array, w: Array) -> None:
    """Multiply: out (N, K) = x (N, C) @ w (K, C).T."""
    _product(out, dense(x), dense(w).T)


def fc_dx(out: Array, dy: Array, w: Array) -> None:
    """Compute the gradient of the input: out (N, C) = dy (N, K) @ w (K, C)."""
    _product(out, dense(dy), dense(w))


def fc_dw(out: Array, x: Array, dy: Array) -> None:
    """Compute the gradient of the weights: out (K, C) = dy (N, K).T @ x (N, C)."""
    _product(out, dense(dy).T, dense(x))


def bias(out: Array, x: Array, b: Array) -> None:
    """Add b (K,) along dim 1 of x, (N, K) or (N, K, H, W). `out` may be x."""
    np.add(x, on_channels(b, x), out=out)


def bias_db(out: Array, dy: Array) -> None:
    """Compute the gradient of a bias, out (K,): the sum of dy over all dims but 1."""
    out[...] = channel_sum(dy)


def _product(out: Array, a: Array, b: Array) -> None:
    if out.flags.c_contiguous:
        np.matmul(a, b, out=out)
    else:
        out[...] = a @ b
