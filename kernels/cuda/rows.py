"""Softmax with cross-entropy in pieces, each over one shard of the classes (see the reference).

x (N, K) is f32 or bf16; m, s, p and the losses are f32, labels and classes i64. `rows` are segments
(start, count) of global rows, or empty for those from `offset` on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import ceil_div, macros
from netc_kernels.cuda.tensor import Tensor

FILE = "rows.cu"
THREADS = 128
"""Threads that share a row, as in the source."""
LOSS_THREADS = 256

Rows: TypeAlias = tuple[tuple[int, int], ...]


def row_max(out: Tensor, x: Tensor, *, stream: int) -> None:
    """Take every row's maximum, out (N,); -inf where the shard has no columns."""
    _by_row("row_max", x, (out.pointer, x.pointer, np.int32(x.shape[1])), stream)


def row_sum_exp(out: Tensor, x: Tensor, m: Tensor, *, stream: int) -> None:
    """Sum exp(x - m) over every row's columns, out (N,)."""
    args = (out.pointer, x.pointer, m.pointer, np.int32(x.shape[1]))
    _by_row("row_sum_exp", x, args, stream)


def row_argmax(
    out: Tensor, x: Tensor, m: Tensor, *, first_class: int, classes: int, stream: int
) -> None:
    """Find the lowest global class whose x equals m, out (N,) i64; `classes` if none does."""
    numbers = np.int32(x.shape[1]), np.int32(first_class), np.int32(classes)
    _by_row("row_argmax", x, (out.pointer, x.pointer, m.pointer, *numbers), stream)


def row_pick(out: Tensor, x: Tensor, labels: Tensor, *, first_class: int, stream: int) -> None:
    """Pick the label's column of every row, out (N,); 0 where another shard holds it."""
    numbers = np.int32(x.shape[0]), np.int32(x.shape[1]), np.int32(first_class)
    kernel = source.function(FILE, "row_pick", **macros(x, 1))
    args = (out.pointer, x.pointer, labels.pointer, *numbers)
    source.launch(kernel, (ceil_div(x.shape[0], THREADS),), (THREADS,), args, stream)


def row_pick_smoothed(
    out: Tensor, x: Tensor, labels: Tensor,
    *, smoothing: float, classes: int, first_class: int, stream: int,
) -> None:  # fmt: skip
    """Sum what the targets have of every row, out (N,): 1 - smoothing of the label's column where
    this shard holds it, and smoothing / classes of every column.
    """
    _targets((out, x, labels), _parts(smoothing, classes), first_class, stream)


def row_pick_mixed(
    out: Tensor, x: Tensor, labels: Tensor, labels2: Tensor, share: Tensor,
    *, smoothing: float, classes: int, first_class: int, stream: int,
) -> None:  # fmt: skip
    """Sum what the targets have of every row, out (N,): those of `row_pick_smoothed`, the first
    label's by `share` (N,), f32, and the second's by what is left of 1.
    """
    blocks = out, x, labels, labels2, share
    _targets(blocks, _parts(smoothing, classes), first_class, stream)


def softmax_dx(
    out: Tensor, x: Tensor, labels: Tensor, m: Tensor, s: Tensor,
    *, batch: int, first_class: int, stream: int,
) -> None:  # fmt: skip
    """Compute the gradient of the mean cross-entropy: (exp(x - m) / s - onehot) / batch.

    `batch` is the global batch. `out` may be x.
    """
    blocks = out, x, labels, None, None, m, s
    _gradient(blocks, first_class, (1.0, 0.0), batch, stream)


def softmax_dx_smoothed(
    out: Tensor, x: Tensor, labels: Tensor, m: Tensor, s: Tensor,
    *, batch: int, smoothing: float, classes: int, first_class: int, stream: int,
) -> None:  # fmt: skip
    """Compute the gradient of the mean cross-entropy with smoothed labels: (exp(x - m) / s -
    (1 - smoothing) onehot - smoothing / classes) / batch. `out` may be x.
    """
    blocks = out, x, labels, None, None, m, s
    _gradient(blocks, first_class, _parts(smoothing, classes), batch, stream)


def softmax_dx_mixed(
    out: Tensor, x: Tensor, labels: Tensor, labels2: Tensor, share: Tensor, m: Tensor, s: Tensor,
    *, batch: int, smoothing: float, classes: int, first_class: int, stream: int,
) -> None:  # fmt: skip
    """Compute the gradient of the mean cross-entropy with two labels a row: (exp(x - m) / s -
    targets) / batch, targets as `row_pick_mixed` has them. `out` may be x.
    """
    blocks = out, x, labels, labels2, share, m, s
    _gradient(blocks, first_class, _parts(smoothing, classes), batch, stream)


def ce_loss(out: Tensor, m: Tensor, s: Tensor, p: Tensor, *, batch: int, stream: int) -> None:
    """Compute this block's part of the mean cross-entropy, out (); `batch` is the global batch."""
    numbers = np.int32(m.shape[0]), np.int64(0), np.float32(batch), np.int32(0)
    _at_once("cross_entropy", (out.pointer, m.pointer, s.pointer, p.pointer, 0, *numbers), stream)


def ce_loss_masked(
    out: Tensor, m: Tensor, s: Tensor, p: Tensor, count: Tensor,
    *, offset: tuple[int, ...], rows: Rows, stream: int,
) -> None:  # fmt: skip
    """Sum the cross-entropy, out (), over the block's global rows below count (): no mean."""
    for held, first, start in _segments(m.shape[0], offset, rows):
        pointers = (block.pointer + 4 * start for block in (m, s, p))
        numbers = np.int32(held), np.int64(first), np.float32(1), np.int32(start > 0)
        _at_once("cross_entropy", (out.pointer, *pointers, count.pointer, *numbers), stream)


def correct(
    out: Tensor, argmax: Tensor, labels: Tensor, count: Tensor,
    *, offset: tuple[int, ...], rows: Rows, stream: int,
) -> None:  # fmt: skip
    """Count, out () f32, the block's global rows below count () whose argmax is the label."""
    for held, first, start in _segments(labels.shape[0], offset, rows):
        pointers = (block.pointer + 8 * start for block in (argmax, labels))
        numbers = np.int32(held), np.int64(first), np.int32(start > 0)
        _at_once("correct", (out.pointer, *pointers, count.pointer, *numbers), stream)


def _parts(smoothing: float, classes: int) -> tuple[float, float]:
    """The label's own part of smoothed targets, and that of every class."""
    return 1 - smoothing, smoothing / classes


def _targets(
    blocks: tuple[Tensor, ...], parts: tuple[float, float], first_class: int, stream: int
) -> None:
    """Blocks are (out, x, labels), and the second labels and shares where there are some."""
    x, pointers = blocks[1], [block.pointer for block in blocks]
    pointers += [0] * (5 - len(pointers))
    numbers = np.int32(x.shape[1]), np.int32(first_class), *map(np.float32, parts)
    _by_row("row_pick_targets", x, (*pointers, *numbers), stream)


def _gradient(
    blocks: tuple[Tensor | None, ...],
    first_class: int,
    parts: tuple[float, float],
    batch: int,
    stream: int,
) -> None:
    """Blocks are (out, x, labels, second labels, shares, m, s); `parts` as `_parts` has them."""
    x = blocks[1]
    assert x is not None
    numbers = np.int32(x.shape[1]), np.int32(first_class), *map(np.float32, (*parts, batch))
    kernel = source.function(FILE, "softmax_dx", **macros(x, 1))
    grid = (x.shape[0], ceil_div(x.shape[1], LOSS_THREADS))
    args = (*(0 if block is None else block.pointer for block in blocks), *numbers)
    source.launch(kernel, grid, (LOSS_THREADS,), args, stream)


def _segments(count: int, offset: tuple[int, ...], rows: Rows) -> Iterator[tuple[int, int, int]]:
    """Segments of global rows that are not empty, or one: rows, first global row, first row."""
    start = 0
    for first, held in rows or ((offset[0], count),):
        if held or not count:
            yield held, first, start
        start += held
        if not count:
            return


def _by_row(name: str, x: Tensor, args: tuple[Any, ...], stream: int) -> None:
    kernel = source.function(FILE, name, **macros(x, 1))
    source.launch(kernel, (x.shape[0],), (THREADS,), args, stream)


def _at_once(name: str, args: tuple[Any, ...], stream: int) -> None:
    kernel = source.function(FILE, name, BF16=0, LANES=1)
    source.launch(kernel, (1,), (LOSS_THREADS,), args, stream)
