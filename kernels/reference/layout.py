"""Memory order, channels and global rows: what several kernels need."""

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Pair: TypeAlias = tuple[int, int]
"""(height, width)."""
Pad: TypeAlias = tuple[int, int, int, int]
"""(top, bottom, left, right)."""
Rows: TypeAlias = tuple[Pair, ...]
"""Segments (start, count) of global rows; empty: the rows from the offset on."""


def dense(x: Array) -> Array:
    """Return `x` in row-major order with its natural strides, copying only where needed."""
    return np.ascontiguousarray(x).reshape(-1).reshape(x.shape)


def on_channels(value: Array, like: Array) -> Array:
    """View a value per channel, shape (C,), so that it broadcasts along dim 1 of `like`."""
    return value.reshape((-1,) + (1,) * (like.ndim - 2))


def channel_sum(x: Array) -> Array:
    """Sum over all dims but 1, in an order that does not follow the strides of `x`."""
    columns = x.shape[0] * math.prod(x.shape[2:])
    by_channel = np.ascontiguousarray(x.swapaxes(0, 1)).reshape(x.shape[1], columns)
    total: Array = by_channel.sum(axis=1)
    return total


def global_rows(count: int, first: int, rows: Rows) -> Array:
    """List the global rows that the `count` rows of a block stand for, int64, in order.

    They are `first`, `first` + 1, ...; or, where `rows` is not empty, its segments in order.
    """
    if not rows:
        return np.arange(first, first + count)
    return np.concatenate([np.arange(start, start + length) for start, length in rows])
