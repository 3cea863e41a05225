"""Maximum and average over windows, as PyTorch defines them.

Shapes: x (N, C, H, W), y (N, C, P, Q). `size` and `stride` are (height, width), `pad` is (top,
bottom, left, right). With ceil mode the last windows run past the bottom or right padding; the
shape of y tells, and what lies outside does not count.
"""

from functools import reduce

import numpy as np

from netc_kernels.reference.layout import Array, Pad, Pair
from netc_kernels.reference.windows import canvas, interior, padded_image, taps


def maxpool(out: Array, x: Array, *, size: Pair, stride: Pair, pad: Pad) -> None:
    """Take the maximum of every window; padding never wins."""
    y, image = _channels_last(out), _channels_last(x)
    outputs = y.shape[1:3]
    padded = padded_image(image, outputs, size, stride, pad, -np.inf)
    y[...] = reduce(np.maximum, taps(padded, outputs, size, stride))


def maxpool_dx(
    out: Array, x: Array, y: Array, dy: Array, *, size: Pair, stride: Pair, pad: Pad
) -> None:
    """Compute the gradient of the input: a window's first maximum, row by row, gets all of dy."""
    outputs, image = y.shape[2:], _channels_last(x)
    maximum, share = _channels_last(y), _channels_last(dy)
    # NaN equals nothing: padding never passes for a maximum, not even for one of -inf
    padded = padded_image(image, outputs, size, stride, pad, np.nan)
    gradient = canvas(image, outputs, size, stride, pad, 0)
    unclaimed = np.ones(maximum.shape, bool)
    pixels = taps(gradient, outputs, size, stride)
    for tap, pixel in zip(taps(padded, outputs, size, stride), pixels, strict=True):
        hit = unclaimed & (tap == maximum)
        unclaimed ^= hit
        pixel += share * hit
    _channels_last(out)[...] = interior(gradient, image, pad)


def maxpool_places(
    out: Array, x: Array, y: Array, *, size: Pair, stride: Pair, pad: Pad, relu: bool
) -> None:
    """Note which pixel of each window is the first that has its maximum y, row by row.

    `out` (uint8) has the shape of y; where no pixel equals y, the number of a window's pixels. With
    `relu`, x and y are its results, and a window that it made 0 has no place.
    """
    places, maximum, image = _channels_last(out), _channels_last(y), _channels_last(x)
    outputs, none = maximum.shape[1:3], size[0] * size[1]
    padded = padded_image(image, outputs, size, stride, pad, np.nan)
    places[...] = none
    for place, tap in enumerate(taps(padded, outputs, size, stride)):
        places[(tap == maximum) & (places == none)] = place
    if relu:
        places[~(maximum > 0)] = none


def maxpool_places_dx(
    out: Array, places: Array, dy: Array, *, size: Pair, stride: Pair, pad: Pad
) -> None:
    """Give dy of each window to the pixel that `maxpool_places` noted, if that is here."""
    image, noted, share = _channels_last(out), _channels_last(places), _channels_last(dy)
    outputs = noted.shape[1:3]
    gradient = canvas(image, outputs, size, stride, pad, 0)
    for place, pixel in enumerate(taps(gradient, outputs, size, stride)):
        pixel += np.where(noted == place, share, 0)
    image[...] = interior(gradient, image, pad)


def avgpool(out: Array, x: Array, *, size: Pair, stride: Pair, pad: Pad) -> None:
    """Average every window, zeros of the padding included (count_include_pad).

    The divisor is the size of the window clipped to the padded input.
    """
    y, image = _channels_last(out), _channels_last(x)
    outputs = y.shape[1:3]
    padded = padded_image(image, outputs, size, stride, pad, 0)
    total = reduce(np.add, taps(padded, outputs, size, stride))
    np.divide(total, _areas(image, outputs, size, stride, pad), out=y)


def avgpool_dx(out: Array, dy: Array, *, size: Pair, stride: Pair, pad: Pad) -> None:
    """Compute the gradient of the input: every window shares its dy equally."""
    outputs, image = dy.shape[2:], _channels_last(out)
    gradient = canvas(image, outputs, size, stride, pad, 0)
    share = _channels_last(dy) / _areas(image, outputs, size, stride, pad)
    for pixel in taps(gradient, outputs, size, stride):
        pixel += share
    image[...] = interior(gradient, image, pad)


def inside_mean(
    out: Array, x: Array, *, size: Pair, stride: Pair, around: Pad, image: Pair,
    shape: tuple[int, ...], offset: tuple[int, ...],
) -> None:  # fmt: skip
    """Turn means over windows with the padding `around` into those over pixels of the image alone.

    x and out are the block at `offset` of the means (N, C, P, Q) of `shape` over an image (height,
    width). The gradient is the same.
    """
    rows, columns = (
        _shares(out.shape[2 + i], offset[2 + i], size[i], stride[i], around[2 * i :][:2], image[i])
        for i in (0, 1)
    )
    np.multiply(x, np.multiply.outer(rows, columns).astype(x.dtype), out=out)


def _shares(
    count: int, first: int, size: int, stride: int, pad: tuple[int, ...], extent: int
) -> Array:
    """By window, what it has of the padded image over what it has of the image."""
    starts = (first + np.arange(count)) * stride - pad[0]
    ends = starts + size
    inside = np.minimum(ends, extent) - np.maximum(starts, 0)
    return np.asarray((np.minimum(ends, extent + pad[1]) - starts) / inside)


def _channels_last(x: Array) -> Array:
    """View (N, C, H, W) as (N, H, W, C)."""
    return x.transpose(0, 2, 3, 1)


def _areas(x: Array, outputs: Pair, size: Pair, stride: Pair, pad: Pad) -> Array:
    """Count the elements of every window, clipped to the padded input: (P, Q, 1)."""
    height, width = pad[0] + x.shape[1] + pad[1], pad[2] + x.shape[2] + pad[3]
    rows = _lengths(outputs[0], size[0], stride[0], height)
    columns = _lengths(outputs[1], size[1], stride[1], width)
    return np.multiply.outer(rows, columns).astype(x.dtype)[:, :, None]


def _lengths(outputs: int, size: int, stride: int, extent: int) -> Array:
    starts = np.arange(outputs) * stride
    return np.minimum(starts + size, extent) - starts
