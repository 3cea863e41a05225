"""Strides folded away: what a stride jumps over becomes channels.

A square of s x s pixels is one pixel with s * s times the channels, [row, column, channel], and
filters of R x R taps become ceil(R / s) x ceil(R / s), with zeros where there is no tap: the same
convolution with stride 1, also called space to depth. Here are the filters; whoever reads the
image folds it on the way. Filters of stride 1 stay as they are.

Filters are (K, C, R, S) and row-major, float32; those of groups are not folded.
"""

from typing import Any, NamedTuple

from netc_kernels.cpu.shape import Array, ConvShape, up
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    copy_element,
    kernel,
    piece,
)


class Taps(NamedTuple):
    """The taps of filters and of folded ones."""

    channels: int
    size_y: int
    size_x: int
    step_y: int
    step_x: int
    side_y: int
    """Rows of a folded filter."""
    side_x: int


def needed(shape: ConvShape) -> bool:
    """Tell whether there is a stride."""
    return shape.stride != (1, 1)


def size(shape: ConvShape) -> tuple[int, int]:
    """(height, width) of a folded filter."""
    return -(-shape.size[0] // shape.stride[0]), -(-shape.size[1] // shape.stride[1])


def channels(shape: ConvShape) -> int:
    """Count the channels of a folded pixel."""
    return shape.channels * shape.stride[0] * shape.stride[1]


def elements(shape: ConvShape) -> int:
    """Elements of `work` that folded filters take, in whole lines of the cache."""
    return up(_count(shape), 16) if needed(shape) else 0


def _count(shape: ConvShape) -> int:
    return shape.filters * channels(shape) * size(shape)[0] * size(shape)[1]


def room(w: Array, shape: ConvShape, work: Array) -> tuple[Array, Array]:
    """Where the folded filters of w have their place, in 1-D, and the rest of `work`."""
    if not needed(shape):
        return w.reshape(-1), work
    return work[: _count(shape)], work[elements(shape) :]


def filters(w: Array, shape: ConvShape, work: Array, pool: Pool) -> tuple[Array, Array]:
    """Fold filters into `work`; return them, in 1-D, and the rest of `work`."""
    out, rest = room(w, shape, work)
    if needed(shape):
        pool.split(shape.filters, fold_filters, out, w.reshape(-1), _taps(shape))
    return out, rest


def unfold(w: Array, folded: Array, shape: ConvShape, pool: Pool) -> None:
    """Take the taps of w out of folded filters."""
    if needed(shape):
        pool.split(shape.filters, unfold_filters, w.reshape(-1), folded, _taps(shape))


def _taps(shape: ConvShape) -> Taps:
    return Taps(shape.channels, *shape.size, *shape.stride, *size(shape))


@kernel
def fold_filters(out: Any, w: Any, p: Taps, thread: int, start: int, stop: int) -> None:
    """Fold filters `start` ... `stop`."""
    each = p.step_y * p.side_y * p.step_x * p.side_x * p.channels
    out[start * each : stop * each] = 0.0
    _copy_taps(out, w, p, start, stop, True)


@kernel
def unfold_filters(w: Any, folded: Any, p: Taps, thread: int, start: int, stop: int) -> None:
    """Copy filters `start` ... `stop` from what was folded."""
    _copy_taps(folded, w, p, start, stop, False)


@piece
def _copy_taps(folded: Any, w: Any, p: Taps, start: int, stop: int, fold: bool) -> None:
    """Copy the taps of some filters from w to the folded ones, or back."""
    of, lines = start * p.channels * p.size_y * p.size_x, p.channels * p.side_y * p.side_x
    for k in range(start, stop):
        for c in range(p.channels):
            for r in range(p.size_y):
                row, in_row = divmod(r, p.step_y)
                for s in range(p.size_x):
                    column, in_column = divmod(s, p.step_x)
                    pixel = (k * p.step_y + in_row) * p.step_x + in_column
                    to = pixel * lines + (c * p.side_y + row) * p.side_x + column
                    if fold:
                        copy_element(folded, to, w, of)
                    else:
                        copy_element(w, of, folded, to)
                    of += 1
