"""Convolution (cross-correlation) and its two gradients, as matrix products.

With the windows of the images laid out as a matrix, columns (C*R*S, P*Q*N), and the filters as
(K, C*R*S), they are

    y  = w @ columns(x)        dw = dy @ columns(x).T        dx = fold(w.T @ dy)

where fold adds every element of the matrix to the pixel it was read from (Chellapilla et al. 2006,
"High performance convolutional neural networks for document processing"). Images are taken a few
at a time, so that the columns stay in the cache.

Shapes: x (N, C, H, W), w (K, C / groups, R, S), y (N, K, P, Q). `stride` is (height, width), `pad`
(top, bottom, left, right). The arrays may hold one shard of the layer's `filters`: those from
`first_filter` on, as many as w has. A shard may begin and end inside a group; x then still holds
all input channels. Without groups, x and w may instead both hold the same shard of the channels.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from netc_kernels.reference.layout import Array, Pad, Pair, dense
from netc_kernels.reference.windows import all_taps, canvas, interior, padded_image, taps

CACHED_ELEMENTS = 1 << 17
"""Elements of the matrix of windows made at once (512 KiB in float32)."""


class GroupRange(NamedTuple):
    """Filters of the shard that belong to the same groups in full, or to a piece of one group."""

    filters: slice
    """Positions in the shard."""
    channels: slice
    """The input channels they read."""
    groups: int
    """The number of groups; each has an equal number of the filters and of the channels."""


def conv(
    out: Array,
    x: Array,
    w: Array,
    *,
    stride: Pair,
    pad: Pad,
    groups: int,
    filters: int,
    first_filter: int,
) -> None:
    """Convolve: out (N, K, P, Q) from x (N, C, H, W) and filters w (K, C / groups, R, S)."""
    outputs, size = out.shape[2:], w.shape[2:]
    for images in _batches(x, outputs, size):
        batch = _batch_last(x[images])
        padded = padded_image(batch, outputs, size, stride, pad, 0)
        for part in _parts(w, groups, filters, first_filter):
            columns = _columns(padded, part, outputs, size, stride)
            y = _filter_matrix(w, part) @ columns
            target = _batch_last(out[images, part.filters])
            target[...] = y.reshape(target.shape)


def conv_dx(
    out: Array,
    dy: Array,
    w: Array,
    *,
    stride: Pair,
    pad: Pad,
    groups: int,
    filters: int,
    first_filter: int,
) -> None:
    """Compute the gradient of the input, out (N, C, H, W), from dy (N, K, P, Q) and w.

    With a shard of the filters it is the sum over those only: the sum of all shards' results is
    the gradient.
    """
    outputs, size = dy.shape[2:], w.shape[2:]
    for images in _batches(out, outputs, size):
        batch = _batch_last(out[images])
        padded = canvas(batch, outputs, size, stride, pad, 0)
        for part in _parts(w, groups, filters, first_filter):
            columns = _filter_matrix(w, part).swapaxes(1, 2) @ _output_matrix(dy[images], part)
            _fold(padded[part.channels], columns, outputs, size, stride)
        batch[...] = interior(padded, batch, pad)


def conv_dw(
    out: Array,
    x: Array,
    dy: Array,
    *,
    stride: Pair,
    pad: Pad,
    groups: int,
    filters: int,
    first_filter: int,
) -> None:
    """Compute the gradient of the filters, out (K, C / groups, R, S), from x and dy."""
    outputs, size = dy.shape[2:], out.shape[2:]
    total = np.zeros(out.shape, out.dtype)
    for images in _batches(x, outputs, size):
        batch = _batch_last(x[images])
        padded = padded_image(batch, outputs, size, stride, pad, 0)
        for part in _parts(out, groups, filters, first_filter):
            columns = _columns(padded, part, outputs, size, stride)
            dw = _output_matrix(dy[images], part) @ columns.swapaxes(1, 2)
            target = total[part.filters]
            target += dw.reshape(target.shape)
    out[...] = total


def _batches(x: Array, outputs: Pair, size: Pair) -> Iterator[slice]:
    """Cut the batch so that the windows of the images between two cuts fit the cache."""
    per_image = math.prod((x.shape[1], *size, *outputs))
    step = max(1, CACHED_ELEMENTS // max(1, per_image))
    for start in range(0, len(x), step):
        yield slice(start, start + step)


def _batch_last(x: Array) -> Array:
    """View (N, C, H, W) as (C, H, W, N)."""
    return x.transpose(1, 2, 3, 0)


def _parts(w: Array, groups: int, filters: int, first_filter: int) -> Iterator[GroupRange]:
    """Cut a shard of the filters at the groups it is not whole in."""
    per_group, channels = filters // groups, w.shape[1]
    position, end = first_filter, first_filter + len(w)
    while position < end:
        group, inside = divmod(position, per_group)
        whole = 0 if inside else (end - position) // per_group
        count = whole * per_group or min(per_group - inside, end - position)
        start, whole = position - first_filter, max(1, whole)
        span = slice(group * channels, (group + whole) * channels)
        yield GroupRange(slice(start, start + count), span, whole)
        position += count


def _filter_matrix(w: Array, part: GroupRange) -> Array:
    """Lay out filters as (groups, K, C*R*S), both per group."""
    chosen = dense(w[part.filters])
    return chosen.reshape(part.groups, len(chosen) // part.groups, math.prod(w.shape[1:]))


def _output_matrix(dy: Array, part: GroupRange) -> Array:
    """Lay out outputs as (groups, K, P*Q*N), K per group."""
    chosen = dense(_batch_last(dy[:, part.filters]))
    return chosen.reshape(part.groups, len(chosen) // part.groups, math.prod(chosen.shape[1:]))


def _columns(padded: Array, part: GroupRange, outputs: Pair, size: Pair, stride: Pair) -> Array:
    """Lay out windows as (groups, C*R*S, P*Q*N), C per group."""
    windows = all_taps(padded[part.channels], outputs, size, stride)
    rows = len(windows) // part.groups * size[0] * size[1]
    return windows.reshape(part.groups, rows, math.prod(windows.shape[3:]))


def _fold(padded: Array, columns: Array, outputs: Pair, size: Pair, stride: Pair) -> None:
    """Add columns (groups, C*R*S, P*Q*N) to the pixels of `padded` they stand for."""
    channels, images = len(padded), padded.shape[3]
    by_tap = columns.reshape(channels, size[0] * size[1], *outputs, images)
    for index, pixels in enumerate(taps(padded, outputs, size, stride)):
        pixels += by_tap[:, index]
