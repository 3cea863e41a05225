"""Sums per channel: the gradient of a bias, and batch normalization in pieces.

Tensors are (N, C), or (N, C, H, W) stored N H W C; numbers per channel are f32. Sums take a
workspace and are made in an order that follows from the shape only. See the reference's `norm` for
`count` and for what the pieces add up to.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import THREADS, Columns, ceil_div, columns, macros
from netc_kernels.cuda.tensor import Tensor

FILE = "channels.cu"
ROWS = 8
"""Rows that a thread reads at once, as in the source; half with two operands, and in sums."""
TURNS = 4
"""How often it does that in `bn_dx`, as in the source."""
SLICES = 16
"""Threads that share a channel in the second launch, as in the source."""
MOST_BLOCKS = 528
"""Blocks that make sums: four for every multiprocessor of an H100."""


def sums_workspace(x: tuple[int, ...]) -> int:
    """Bytes of `work` for one sum per channel of a tensor of shape `x`."""
    rows = prod(x) // max(1, x[1])
    return 4 * x[1] * min(MOST_BLOCKS, rows)


def bias_db_workspace(dy: tuple[int, ...]) -> int:
    """Bytes of `work` that `bias_db` and `bias_db_relu_dx` need, for dy of a shape."""
    return sums_workspace(dy)


def bn_mean_workspace(x: tuple[int, ...]) -> int:
    """Bytes of `work` that `bn_mean` needs, for x of a shape."""
    return sums_workspace(x)


def bn_var_workspace(x: tuple[int, ...], *others: tuple[int, ...]) -> int:
    """Bytes of `work` that `bn_var` needs, for x of a shape."""
    return sums_workspace(x)


def bn_dgamma_workspace(x: tuple[int, ...], *others: tuple[int, ...]) -> int:
    """Bytes of `work` that `bn_dgamma` and `bn_slopes` need, for x of a shape."""
    return 2 * sums_workspace(x)


def bn_moments_workspace(x: tuple[int, ...]) -> int:
    """Bytes of `work` that `bn_moments` needs, for x of a shape."""
    return 2 * sums_workspace(x)


def bias_db(out: Tensor, dy: Tensor, *, work: Tensor | None, stream: int) -> None:
    """Compute the gradient of a bias, out (C,) f32: the sum of dy over all dims but 1."""
    sums = _Sums(dy, work, stream)
    sums.first("sum", dy.pointer)
    sums.finish(out, 1.0)


def bias_db_relu_dx(
    dx_out: Tensor, db_out: Tensor, dy: Tensor, y: Tensor, *, work: Tensor | None, stream: int
) -> None:
    """Compute relu_dx(y, dy) and bias_db of the result at once. dx_out may be dy or y."""
    sums = _Sums(dy, work, stream, dx_out, y)
    sums.first("sum_relu_dx", dx_out.pointer, dy.pointer, y.pointer)
    sums.finish(db_out, 1.0)


def bn_mean(out: Tensor, x: Tensor, *, count: int, work: Tensor | None, stream: int) -> None:
    """Compute this shard's part of the mean, out (C,): sum of x / count."""
    sums = _Sums(x, work, stream)
    sums.first("sum", x.pointer)
    sums.finish(out, 1 / count)


def bn_var(
    out: Tensor, x: Tensor, mean: Tensor, *, count: int, work: Tensor | None, stream: int
) -> None:
    """Compute this shard's part of the variance, out (C,): sum of (x - mean)**2 / count."""
    sums = _Sums(x, work, stream)
    sums.first("sum_squares", x.pointer, mean.pointer)
    sums.finish(out, 1 / count)


def bn_moments(
    mean_out: Tensor, var_out: Tensor, x: Tensor, *, work: Tensor | None, stream: int
) -> None:
    """Compute mean and variance in one pass, where x is the whole batch; x is not empty."""
    sums = _Sums(x, work, stream)
    assert sums.over.rows, "the mean of nothing"
    sums.first("sum_moments", x.pointer)
    sums.second(
        "finish_moments", mean_out.pointer, var_out.pointer, sums.work, x.pointer,
        more=(np.int64(sums.over.rows),),
    )  # fmt: skip


def bn_dgamma(
    out: Tensor, x: Tensor, mean: Tensor, var: Tensor, dy: Tensor,
    *, eps: float, work: Tensor | None, stream: int,
) -> None:  # fmt: skip
    """Compute this shard's part of the gradient of gamma, out (C,): sum of dy * normalized x."""
    sums = _Sums(x, work, stream, dy)
    sums.first("sum_slopes", x.pointer, mean.pointer, var.pointer, dy.pointer, eps=eps)
    sums.finish(out, 1.0)


def bn_slopes(
    dgamma_out: Tensor, dbeta_out: Tensor, x: Tensor, mean: Tensor, var: Tensor, dy: Tensor,
    *, eps: float, work: Tensor | None, stream: int,
) -> None:  # fmt: skip
    """Compute `bn_dgamma` and, at once, dbeta: bias_db of dy."""
    sums = _Sums(x, work, stream, dy)
    sums.first("sum_slopes", x.pointer, mean.pointer, var.pointer, dy.pointer, eps=eps)
    sums.second("finish_two", dgamma_out.pointer, dbeta_out.pointer, sums.work)


def bn_norm(
    out: Tensor, x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor,
    *, eps: float, stream: int, relu: bool = False, other: Tensor | None = None,
) -> None:  # fmt: skip
    """Compute gamma * (x - mean) / sqrt(var + eps) + beta, plus `other`, and relu if asked.

    `out` may be x or `other`.
    """
    images = (x,) if other is None else (x, other)
    over = columns(out, *images)
    name, tile = ("bn_norm", ROWS) if other is None else ("bn_norm_add", ROWS // 2 * TURNS)
    kernel = source.function(FILE, name, **macros(x, over.lanes))
    pointers = (block.pointer for block in (out, *images, mean, var, gamma, beta))
    args = (*pointers, *_extent(over), np.float32(eps), np.int32(relu))
    source.launch(kernel, (over.tiles(tile), over.chunks), over.block, args, stream)


def bn_dx(
    out: Tensor, x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, dgamma: Tensor, dbeta: Tensor,
    dy: Tensor, *, eps: float, count: int, stream: int,
) -> None:  # fmt: skip
    """Compute the gradient of the input, through mean and variance too. `out` may be dy or x."""
    over = columns(out, x, dy)
    kernel = source.function(FILE, "bn_dx", **macros(x, over.lanes))
    pointers = (block.pointer for block in (out, x, mean, var, gamma, dgamma, dbeta, dy))
    args = (*pointers, *_extent(over), np.float32(eps), np.float32(1 / count))
    source.launch(kernel, (over.tiles(ROWS // 2 * TURNS), over.chunks), over.block, args, stream)


def bn_running(
    out: Tensor, running: Tensor, value: Tensor, *, momentum: float, correction: float, stream: int
) -> None:
    """Update a running statistic, (C,) f32: (1 - momentum) * running + momentum * correction *
    value. `out` may be `running`.
    """
    kernel = source.function(FILE, "bn_running", **macros(out, 1))
    numbers = np.float32(1 - momentum), np.float32(momentum * correction)
    args = (out.pointer, running.pointer, value.pointer, np.int32(out.elements), *numbers)
    source.launch(kernel, (ceil_div(out.elements, THREADS),), (THREADS,), args, stream)


def _extent(over: Columns) -> tuple[Any, ...]:
    return np.int64(over.rows), np.int32(over.channels)


class _Sums:
    """The two launches of a sum per channel."""

    def __init__(self, x: Tensor, work: Tensor | None, stream: int, *others: Tensor) -> None:
        self.over, self.x = columns(x, *others), x
        # Tensors without elements have no workspace: nothing is read from there.
        self.work = 0 if work is None else work.pointer
        assert work is not None or not x.elements, "sums want a workspace"
        self.stream, self.blocks = stream, 0

    def first(self, name: str, *pointers: int, eps: float | None = None) -> None:
        """Sum some rows in every block."""
        unit = ROWS // 2 * self.over.block[1]
        share = unit * max(1, ceil_div(self.over.rows, MOST_BLOCKS * unit))
        self.blocks = ceil_div(self.over.rows, share)
        kernel = source.function(FILE, name, **macros(self.x, self.over.lanes))
        more = () if eps is None else (np.float32(eps),)
        args = (self.work, *pointers, *_extent(self.over), np.int64(share), *more)
        source.launch(kernel, (self.blocks, self.over.chunks), self.over.block, args, self.stream)

    def finish(self, out: Tensor, scale: float) -> None:
        """Add the blocks' sums up; zeros if there are none."""
        self.second("finish", out.pointer, self.work, more=(np.float32(scale),))

    def second(self, name: str, *pointers: int, more: tuple[Any, ...] = ()) -> None:
        """Launch what reads the blocks' sums."""
        kernel = source.function(FILE, name, **macros(self.x, self.over.lanes))
        channels = self.over.channels
        args = (*pointers, np.int32(self.blocks), np.int32(channels), *more)
        source.launch(kernel, (ceil_div(channels, 32),), (32, SLICES), args, self.stream)
