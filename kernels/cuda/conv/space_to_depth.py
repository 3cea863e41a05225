"""Convolutions of few channels as convolutions of more, which tensor cores take (space to depth).

The pixels that a window passes in one step become the channels of one pixel, and zeros fill the
channels up to whole chunks of 16 bytes. With blocks of a x b pixels an image (N, H, W, C) becomes
(N, about H / a, about W / b, depth), filters (K, R, S, C) become (K, R / a, S / b, depth), rounded
up, and the convolution has stride 1 and no padding. With blocks of one pixel, channels are padded
and nothing else changes.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import PACK_BYTES, THREADS, ceil_div
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor

__all__ = ["Folded", "depth_to_space", "fold", "space_to_depth"]

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]

FILE = "conv/space_to_depth.cu"
_PLACES = np.dtype(
    [
        (name, "i4")
        for name in (
            *("rows", "columns", "channels", "down", "across"),
            *("deep_rows", "deep_columns", "depth"),
        )
    ]
)
"""`Places` of conv/space_to_depth.cuh."""


class Folded(NamedTuple):
    """A convolution in place of another, whose pixels have more channels."""

    block: Pair
    """Pixels down and across that become one."""
    image: Shape
    """N, C, H, W with the depth for C, as are the filters'."""
    filters: Shape
    stride: Pair
    pad: Pair
    """Rows above and columns before the image, for the convolution to imagine."""
    margin: Pair
    """The same, that the folded image holds."""


def fold(x: Shape, w: Shape, y: Shape, stride: Pair, pad: Pair, chunk: int) -> Folded | None:
    """Fold the convolution of x (N, C, H, W) with w (K, C, R, S) to y (N, K, P, Q).

    None where channels come in whole chunks already. Blocks have a stride's pixels where that
    makes the sums shorter, else one.
    """
    if x[1] % chunk == 0:
        return None
    padded = ceil_div(x[1], chunk) * chunk
    plain = Folded((1, 1), (x[0], padded, *x[2:]), (w[0], padded, *w[2:]), stride, pad, (0, 0))
    depth = ceil_div(x[1] * prod(stride), chunk) * chunk
    size = ceil_div(w[2], stride[0]), ceil_div(w[3], stride[1])
    if depth * prod(size) >= prod(plain.filters[1:]):
        return plain
    image = (x[0], depth, y[2] + size[0] - 1, y[3] + size[1] - 1)
    return Folded(stride, image, (w[0], depth, *size), (1, 1), (0, 0), pad)


def space_to_depth(
    out: Tensor, x: Tensor, block: Pair, *, stream: int, margin: Pair = (0, 0)
) -> None:
    """Fold an image or filters. `margin` is padding above and before the image, as zeros."""
    lanes = PACK_BYTES // ITEM_BYTES[out.dtype]
    assert out.shape[1] % lanes == 0 and out.pointer % PACK_BYTES == 0
    packs = out.elements // lanes
    kernel = source.function(FILE, "space_to_depth", BF16=int(out.dtype == "bf16"))
    args = out.pointer, x.pointer, packs, places(x.shape, out.shape, block), *map(np.int32, margin)
    source.launch(kernel, (ceil_div(packs, THREADS),), (THREADS,), args, stream)


def depth_to_space(out: Tensor, x: Tensor, block: Pair, *, stream: int) -> None:
    """Undo `space_to_depth` without a margin: out gets its elements back from x."""
    kernel = source.function(FILE, "depth_to_space", BF16=int(out.dtype == "bf16"))
    args = out.pointer, x.pointer, out.elements, places(out.shape, x.shape, block)
    source.launch(kernel, (ceil_div(out.elements, THREADS),), (THREADS,), args, stream)


def places(shape: Shape, deep: Shape, block: Pair) -> Any:
    """Fill in `Places`, for a tensor and the folded one. One array is passed by value."""
    values = (*shape[2:], shape[1], *block, *deep[2:], deep[1])
    return np.array([values], _PLACES)
