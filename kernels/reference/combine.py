"""Sums, joins, parts and copies of tensors."""

from functools import reduce

import numpy as np

from netc_kernels.reference.layout import Array


def add(out: Array, *xs: Array) -> None:
    """Add one or more tensors of one shape, from left to right. `out` may be any of them."""
    if len(xs) == 1:
        copy(out, xs[0])
    else:
        np.add(reduce(np.add, xs[:-1]), xs[-1], out=out)


def accumulate(out: Array, acc: Array, x: Array) -> None:
    """Compute acc + x. `out` may be acc."""
    np.add(acc, x, out=out)


def concat(out: Array, *xs: Array) -> None:
    """Join tensors along dim 1 (channels)."""
    np.concatenate(xs, axis=1, out=out)


def concat_rows(out: Array, *xs: Array) -> None:
    """Join tensors along dim 0."""
    np.concatenate(xs, axis=0, out=out)


def slice_dim(out: Array, x: Array, *, dim: int, start: int) -> None:
    """Copy the part of x from `start` on along `dim`, as long as `out` is there."""
    before = (slice(None),) * dim
    out[...] = x[(*before, slice(start, start + out.shape[dim]))]


def copy(out: Array, x: Array) -> None:
    """Copy x."""
    out[...] = x


def cast(out: Array, x: Array) -> None:
    """Bring x into the data type of `out`, rounded to the nearest."""
    out[...] = x
