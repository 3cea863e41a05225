"""Sliding windows over padded images: what convolution and pooling share.

Window (p, q) covers rows p * stride ... p * stride + size - 1 of the padded image, and so for
columns. A *tap* is one position inside the window: the (P, Q) image of all windows' elements there.

Images here are (A, H, W, B): whichever dim has most to say goes last, as a short last dim makes
NumPy slow. Convolution takes (C, H, W, N), pooling (N, H, W, C).
"""

from collections.abc import Iterator

import numpy as np

from netc_kernels.reference.layout import Array, Pad, Pair


def canvas(x: Array, outputs: Pair, size: Pair, stride: Pair, pad: Pad, fill: float) -> Array:
    """Return a new padded image for `x`, all `fill`, that holds `x` and every window in full.

    Windows may run past the bottom and right padding (pooling in ceil mode), and the image past
    the last window.
    """
    height = max(pad[0] + x.shape[1], _reach(outputs[0], size[0], stride[0]))
    width = max(pad[2] + x.shape[2], _reach(outputs[1], size[1], stride[1]))
    return np.full((x.shape[0], height, width, x.shape[3]), fill, x.dtype)


def _reach(outputs: int, size: int, stride: int) -> int:
    return (outputs - 1) * stride + size if outputs else 0


def interior(padded: Array, x: Array, pad: Pad) -> Array:
    """View the part of a padded image where `x` lies."""
    top, left = pad[0], pad[2]
    return padded[:, top : top + x.shape[1], left : left + x.shape[2]]


def padded_image(x: Array, outputs: Pair, size: Pair, stride: Pair, pad: Pad, fill: float) -> Array:
    """Return a padded copy of `x`; what is not `x` is `fill`."""
    padded = canvas(x, outputs, size, stride, pad, fill)
    interior(padded, x, pad)[...] = x
    return padded


def taps(padded: Array, outputs: Pair, size: Pair, stride: Pair) -> Iterator[Array]:
    """View every tap, (A, P, Q, B), in row-major order of the window's elements."""
    height, width = outputs[0] * stride[0], outputs[1] * stride[1]
    for r in range(size[0]):
        for s in range(size[1]):
            yield padded[:, r : r + height : stride[0], s : s + width : stride[1]]


def all_taps(padded: Array, outputs: Pair, size: Pair, stride: Pair) -> Array:
    """View all taps of a row-major padded image at once: (A, R, S, P, Q, B)."""
    a, h, w, b = padded.strides
    shape = (padded.shape[0], *size, *outputs, padded.shape[3])
    strides = (a, h, w, h * stride[0], w * stride[1], b)
    return np.ndarray(shape, padded.dtype, padded, 0, strides)
