"""Gradients of all weights together: their norm, and its limit (Pascanu et al. 2013)."""

import numpy as np

from netc_kernels.reference.layout import Array, dense

_AT_ONCE = 1 << 16
"""Elements that are summed in their own type; what they give is summed in float64."""


def square_sum(out: Array, g: Array) -> None:
    """Sum the squares of all elements, out ()."""
    flat = dense(g).reshape(-1)
    parts = (flat[start : start + _AT_ONCE] for start in range(0, flat.size, _AT_ONCE))
    out[...] = sum(float(np.dot(part, part)) for part in parts)


def clipped(out: Array, g: Array, squares: Array, *, limit: float) -> None:
    """Compute g * min(1, limit / (sqrt(squares) + 1e-6)). `out` may be g.

    squares () is the sum of squares of all gradients; not a number where that is none.
    """
    factor = np.minimum(1.0, limit / (np.sqrt(squares) + 1e-6)).astype(out.dtype)
    np.multiply(g, factor, out=out)
