"""Activations, element by element.

A gradient is taken from the output y where that tells it, so that the input need not be kept, else
from the input x. `out` may be any of the inputs.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from netc_kernels.reference.layout import Array


def relu(out: Array, x: Array) -> None:
    """Compute max(x, 0)."""
    np.maximum(x, 0, out=out)


def relu_dx(out: Array, y: Array, dy: Array) -> None:
    """Pass dy where y > 0; the gradient at 0 is 0."""
    np.multiply(dy, y > 0, out=out)


def sigmoid(out: Array, x: Array) -> None:
    """Compute 1 / (1 + exp(-x)), without overflow for any x."""
    small = np.exp(-np.abs(x))
    np.divide(np.where(x >= 0, 1, small), 1 + small, out=out)


def sigmoid_dx(out: Array, y: Array, dy: Array) -> None:
    """Compute dy * y * (1 - y)."""
    np.multiply(dy, y * (1 - y), out=out)


def tanh(out: Array, x: Array) -> None:
    """Compute the hyperbolic tangent of x."""
    np.tanh(x, out=out)


def tanh_dx(out: Array, y: Array, dy: Array) -> None:
    """Compute dy * (1 - y**2)."""
    np.multiply(dy, 1 - y * y, out=out)


def gelu(out: Array, x: Array) -> None:
    """Compute x * (1 + tanh(u)) / 2, u = sqrt(2 / pi) * (x + 0.044715 * x**3).

    Hendrycks and Gimpel 2016, section 2.
    """
    np.multiply(0.5 * x, 1 + np.tanh(_inner(x)), out=out)


def gelu_dx(out: Array, x: Array, dy: Array) -> None:
    """Compute dy * ((1 + t) + x * (1 - t**2) * u') / 2, t = tanh(u), from the input x."""
    t = np.tanh(_inner(x))
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    np.multiply(dy, 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope, out=out)


def _inner(x: Array) -> Array:
    inner: Array = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return inner


ACTIVATIONS: Mapping[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "relu": (relu, relu_dx),
    "sigmoid": (sigmoid, sigmoid_dx),
    "tanh": (tanh, tanh_dx),
    "gelu": (gelu, gelu_dx),
}
"""Every activation and its gradient, whose op's name ends in _dx."""
