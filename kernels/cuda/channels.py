"""Sums per channel: the gradient of a bias, and batch normalization in pieces.

Tensors are (N, C), or (N, C, H, W) stored N H W C; numbers per channel are f32. Sums take a
workspace and are made in an order that follows from the shape only. See the reference's `norm` for
`count` and for what the pieces add up to. With `group`, statistics are (groups, C), and `group` and
`before` those of the reference's `grouped`.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import THREADS, Columns, ceil_div, columns, cut, macros
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor

FILE = "channels.cu"
ROWS = 8
"""Rows that a thread reads at once, as in the source; half with two operands, and in sums."""
TURNS = 4
"""How often it does that in `bn_dx`, as in the source."""
SLICES = 16
"""Threads that share a channel in the second launch, as in the source."""
MOST_BLOCKS = 528
"""Blocks that make sums: four for every multiprocessor of an H100."""


def sums_workspace(out: tuple[int, ...], x: tuple[int, ...], *others: tuple[int, ...]) -> int:
    """Bytes of `work` for a sum per channel of a tensor of shape `x`, by groups where `out` is."""
    rows, groups = prod(x) // max(1, x[1]), _groups_of(out)
    return 4 * x[1] * groups * min(_most_blocks(groups), rows)


def two_sums_workspace(out: tuple[int, ...], x: tuple[int, ...], *others: tuple[int, ...]) -> int:
    """Bytes of `work` for two sums at once."""
    return 2 * sums_workspace(out, x)


def pairs_workspace(out: tuple[int, ...], x: tuple[int, ...]) -> int:
    """Bytes of `work` for `bn_sums`, whose result has pairs."""
    return two_sums_workspace(out[:-1], x)


def two_slopes_workspace(out: tuple[int, ...], *operands: tuple[int, ...]) -> int:
    """Bytes of `work` for two sums where the first result is the image that they are of."""
    return 2 * sums_workspace(out[1:2], out)


def four_slopes_workspace(out: tuple[int, ...], *operands: tuple[int, ...]) -> int:
    """Bytes of `work` for twice two sums, of which the sum of the image is one."""
    return 3 * sums_workspace(out[1:2], out)


def _groups_of(statistic: tuple[int, ...]) -> int:
    return statistic[0] if len(statistic) == 2 else 1


def _most_blocks(groups: int) -> int:
    """Blocks that make the sums of one group."""
    return max(1, MOST_BLOCKS // max(1, groups))


def bias_db(
    out: Tensor, dy: Tensor, *, work: Tensor | None, stream: int, group: int = 0, before: int = 0
) -> None:
    """Compute the gradient of a bias, out (C,) f32: the sum of dy over all dims but 1."""
    sums = _Sums(dy, work, stream, groups=_Groups.of(out.shape, dy, group, before))
    sums.first("sum", dy.pointer)
    sums.finish(out, 1.0)


def bias_db_relu_dx(
    dx_out: Tensor, db_out: Tensor, dy: Tensor, y: Tensor, *, work: Tensor | None, stream: int
) -> None:
    """Compute relu_dx(y, dy) and bias_db of the result at once. dx_out may be dy or y."""
    sums = _Sums(dy, work, stream, dx_out, y, groups=_Groups.of(db_out.shape, dy))
    sums.first("sum_relu_dx", dx_out.pointer, dy.pointer, y.pointer)
    sums.finish(db_out, 1.0)


def bn_mean(
    out: Tensor, x: Tensor,
    *, count: int, work: Tensor | None, stream: int, group: int = 0, before: int = 0,
) -> None:  # fmt: skip
    """Compute this shard's part of the mean, out (C,): sum of x / count."""
    sums = _Sums(x, work, stream, groups=_Groups.of(out.shape, x, group, before))
    sums.first("sum", x.pointer)
    sums.finish(out, 1 / count)


def bn_var(
    out: Tensor, x: Tensor, mean: Tensor,
    *, count: int, work: Tensor | None, stream: int, group: int = 0, before: int = 0,
) -> None:  # fmt: skip
    """Compute this shard's part of the variance, out (C,): sum of (x - mean)**2 / count."""
    sums = _Sums(x, work, stream, groups=_Groups.of(out.shape, x, group, before))
    sums.first("sum_squares", x.pointer, mean.pointer)
    sums.finish(out, 1 / count)


def bn_moments(
    mean_out: Tensor, var_out: Tensor, x: Tensor,
    *, work: Tensor | None, stream: int, group: int = 0, before: int = 0,
) -> None:  # fmt: skip
    """Compute mean and variance in one pass, where x is the whole batch; x is not empty. With
    groups, x is whole ones.
    """
    sums = _Sums(x, work, stream, groups=_Groups.of(mean_out.shape, x, group, before))
    assert sums.over.rows and not before, "the mean of nothing"
    sums.first("sum_moments", x.pointer)
    sums.second(
        "finish_moments", mean_out.pointer, var_out.pointer, sums.work, x.pointer,
        more=(np.int64(sums.groups.period),),
    )  # fmt: skip


def bn_sums(
    out: Tensor, x: Tensor,
    *, count: int, work: Tensor | None, stream: int, group: int = 0, before: int = 0,
) -> None:  # fmt: skip
    """Compute this shard's part of the means of x and of its square in one pass, out (C, 2) f64."""
    groups = _Groups.of(out.shape[:-1], x, group, before)
    sums = _Sums(x, work, stream, groups=groups)
    sums.first("sum_moments", x.pointer)
    _, _, *where = _extent(sums.over, groups)
    extent = np.int64(sums.over.rows), *where, np.float64(1 / count)
    sums.second("finish_sums", out.pointer, sums.work, x.pointer, more=extent)


def sums_mean(out: Tensor, sums: Tensor, *, stream: int) -> None:
    """Take the mean, f32, from whole sums: the first of each pair of f64."""
    _of_sums("sums_mean", stream, out, sums)


def sums_var(out: Tensor, sums: Tensor, *, stream: int) -> None:
    """Compute the biased variance, f32, from whole sums."""
    _of_sums("sums_var", stream, out, sums)


def sums_moments(mean_out: Tensor, var_out: Tensor, sums: Tensor, *, stream: int) -> None:
    """Compute both at once."""
    _of_sums("sums_moments", stream, mean_out, var_out, sums)


def _of_sums(name: str, stream: int, out: Tensor, *blocks: Tensor) -> None:
    kernel = source.function(FILE, name, **macros(out, 1))
    args = (out.pointer, *(block.pointer for block in blocks), np.int32(out.elements))
    source.launch(kernel, (ceil_div(out.elements, THREADS),), (THREADS,), args, stream)


def bn_dgamma(
    out: Tensor, x: Tensor, mean: Tensor, var: Tensor, dy: Tensor,
    *, eps: float, work: Tensor | None, stream: int, group: int = 0, before: int = 0,
) -> None:  # fmt: skip
    """Compute this shard's part of the gradient of gamma, out (C,): sum of dy * normalized x."""
    sums = _Sums(x, work, stream, dy, groups=_Groups.of(out.shape, x, group, before))
    sums.first("sum_slopes", x.pointer, mean.pointer, var.pointer, dy.pointer, eps=eps)
    sums.finish(out, 1.0)


def bn_slopes(
    dgamma_out: Tensor, dbeta_out: Tensor, x: Tensor, mean: Tensor, var: Tensor, dy: Tensor,
    *, eps: float, work: Tensor | None, stream: int, group: int = 0, before: int = 0,
) -> None:  # fmt: skip
    """Compute `bn_dgamma` and, at once, dbeta: bias_db of dy."""
    sums = _Sums(x, work, stream, dy, groups=_Groups.of(dgamma_out.shape, x, group, before))
    sums.first("sum_slopes", x.pointer, mean.pointer, var.pointer, dy.pointer, eps=eps)
    sums.second("finish_two", dgamma_out.pointer, dbeta_out.pointer, sums.work)


def add_relu_slopes(
    d_out: Tensor, dgamma_out: Tensor, dbeta_out: Tensor, a: Tensor, b: Tensor, y: Tensor,
    x: Tensor, mean: Tensor, var: Tensor, *, eps: float, work: Tensor | None, stream: int,
) -> None:  # fmt: skip
    """Compute relu_dx(y, a + b) and, at once, `bn_slopes` of it. d_out may be a, b or y."""
    sums = _Sums(x, work, stream, d_out, a, b, y, groups=_Groups.of(dgamma_out.shape, x))
    pointers = (each.pointer for each in (d_out, a, b, y, x, mean, var))
    sums.first("sum_add_relu_slopes", *pointers, eps=eps)
    sums.second("finish_two", dgamma_out.pointer, dbeta_out.pointer, sums.work)


def add_relu_two_slopes(
    d_out: Tensor, dgamma_out: Tensor, dbeta_out: Tensor, other_dgamma_out: Tensor,
    other_dbeta_out: Tensor, a: Tensor, b: Tensor, y: Tensor, x: Tensor, mean: Tensor, var: Tensor,
    other: Tensor, other_mean: Tensor, other_var: Tensor,
    *, eps: float, work: Tensor | None, stream: int,
) -> None:  # fmt: skip
    """Compute relu_dx(y, a + b) and, at once, `bn_slopes` of it for two images that were
    normalized. d_out may be a, b or y.
    """
    sums = _Sums(x, work, stream, other, d_out, a, b, y, groups=_Groups.of(dgamma_out.shape, x))
    operands = (d_out, a, b, y, x, mean, var, other, other_mean, other_var)
    sums.first("sum_add_relu_two_slopes", *(each.pointer for each in operands), eps=eps)
    made = (dgamma_out, dbeta_out, other_dgamma_out, other_dbeta_out)
    sums.second("finish_slopes", *(each.pointer for each in made), sums.work)


def slice_relu_slopes(
    d_out: Tensor, dgamma_out: Tensor, dbeta_out: Tensor, whole: Tensor, y: Tensor, x: Tensor,
    mean: Tensor, var: Tensor,
    *, dim: int, start: int, eps: float, work: Tensor | None, stream: int,
) -> None:  # fmt: skip
    """Compute relu_dx(y, `whole` from channel `start` on) and, at once, `bn_slopes` of it."""
    assert dim == 1 and whole.nhwc == x.nhwc, "want channels innermost"
    pitch, begin = whole.shape[1], whole.pointer + start * ITEM_BYTES[whole.dtype]
    over = columns(x, d_out, y, replace(whole, pointer=begin, shape=x.shape))
    if pitch % over.lanes:
        over = cut(over.rows, over.channels, 1)
    groups = _Groups.of(dgamma_out.shape, x)
    sums = _Sums(x, work, stream, groups=groups, over=over)
    after = (each.pointer for each in (y, x, mean, var))
    sums.first("sum_slice_relu_slopes", d_out.pointer, begin, pitch, *after, eps=eps)
    sums.second("finish_two", dgamma_out.pointer, dbeta_out.pointer, sums.work)


def bn_norm(
    out: Tensor, x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor,
    *, eps: float, stream: int, relu: bool = False, other: Tensor | None = None, group: int = 0,
    before: int = 0,
) -> None:  # fmt: skip
    """Compute gamma * (x - mean) / sqrt(var + eps) + beta, plus `other`, and relu if asked.

    `out` may be x or `other`.
    """
    images = (x,) if other is None else (x, other)
    over = columns(out, *images)
    name, tile = ("bn_norm", ROWS) if other is None else ("bn_norm_add", ROWS // 2 * TURNS)
    kernel = source.function(FILE, name, **macros(x, over.lanes))
    pointers = (block.pointer for block in (out, *images, mean, var, gamma, beta))
    groups = _Groups.of(mean.shape, x, group, before)
    args = (*pointers, *_extent(over, groups), np.float32(eps), np.int32(relu))
    source.launch(kernel, groups.tiles(over, tile), over.block, args, stream)


def bn_norms_add_relu(
    out: Tensor, x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor, y: Tensor,
    y_mean: Tensor, y_var: Tensor, y_gamma: Tensor, y_beta: Tensor, *, eps: float, stream: int,
) -> None:  # fmt: skip
    """Compute `bn_norm` of x and of y, their sum, and relu of it. `out` may be x or y."""
    over = columns(out, x, y)
    kernel = source.function(FILE, "bn_norms_add_relu", **macros(x, over.lanes))
    blocks = (out, x, mean, var, gamma, beta, y, y_mean, y_var, y_gamma, y_beta)
    numbers = np.int64(over.rows), np.int32(over.channels), np.float32(eps)
    args = (*(block.pointer for block in blocks), *numbers)
    grid = over.tiles(ROWS // 2 * TURNS), over.chunks
    source.launch(kernel, grid, over.block, args, stream)


def bn_dx(
    out: Tensor, x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, dgamma: Tensor, dbeta: Tensor,
    dy: Tensor, *, eps: float, count: int, stream: int, group: int = 0, before: int = 0,
) -> None:  # fmt: skip
    """Compute the gradient of the input, through mean and variance too. `out` may be dy or x."""
    over = columns(out, x, dy)
    kernel = source.function(FILE, "bn_dx", **macros(x, over.lanes))
    pointers = (block.pointer for block in (out, x, mean, var, gamma, dgamma, dbeta, dy))
    groups = _Groups.of(mean.shape, x, group, before)
    args = (*pointers, *_extent(over, groups), np.float32(eps), np.float32(1 / count))
    source.launch(kernel, groups.tiles(over, ROWS // 2 * TURNS), over.block, args, stream)


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


class _Groups(NamedTuple):
    """Groups of rows that have their own numbers per channel, as in the source."""

    number: int
    period: int
    """Rows of a group."""
    skip: int
    """Rows of the first groups that are not here."""
    most: int
    """Rows of a group that may be here."""

    @classmethod
    def of(cls, statistic: tuple[int, ...], x: Tensor, group: int = 0, before: int = 0) -> _Groups:
        """Those of `group` images of x, as many as a statistic of that shape is of; all are one if
        that is 0.
        """
        images, pixels = x.shape[0], prod(x.shape[2:])
        period = (group or images) * pixels
        number = _groups_of(statistic) if group else 1
        return cls(number, period, before * pixels, min(period, images * pixels))

    def tiles(self, over: Columns, rows: int) -> tuple[int, int, int]:
        """The grid whose threads take so many rows each."""
        return ceil_div(self.most, rows * over.block[1]), over.chunks, self.number


def _extent(over: Columns, groups: _Groups) -> tuple[Any, ...]:
    rows, channels = np.int64(over.rows), np.int32(over.channels)
    return rows, channels, np.int64(groups.period), np.int64(groups.skip)


class _Sums:
    """The two launches of a sum per channel."""

    def __init__(
        self, x: Tensor, work: Tensor | None, stream: int, *others: Tensor, groups: _Groups,
        over: Columns | None = None,
    ) -> None:  # fmt: skip
        self.over, self.x, self.groups = over or columns(x, *others), x, groups
        # Tensors without elements have no workspace: nothing is read from there.
        self.work = 0 if work is None else work.pointer
        assert work is not None or not x.elements, "sums want a workspace"
        self.stream, self.blocks = stream, 0

    def first(self, name: str, *pointers: int, eps: float | None = None) -> None:
        """Sum some rows in every block."""
        unit = ROWS // 2 * self.over.block[1]
        rows, most = self.groups.most, _most_blocks(self.groups.number)
        share = unit * max(1, ceil_div(rows, most * unit))
        self.blocks = ceil_div(rows, share)
        kernel = source.function(FILE, name, **macros(self.x, self.over.lanes))
        more = () if eps is None else (np.float32(eps),)
        args = (self.work, *pointers, *_extent(self.over, self.groups), np.int64(share), *more)
        grid = self.blocks, self.over.chunks, self.groups.number
        source.launch(kernel, grid, self.over.block, args, self.stream)

    def finish(self, out: Tensor, scale: float) -> None:
        """Add the blocks' sums up; zeros if there are none."""
        self.second("finish", out.pointer, self.work, more=(np.float32(scale),))

    def second(self, name: str, *pointers: int, more: tuple[Any, ...] = ()) -> None:
        """Launch what reads the blocks' sums."""
        kernel = source.function(FILE, name, **macros(self.x, self.over.lanes))
        channels = self.over.channels
        args = (*pointers, np.int32(self.blocks), np.int32(channels), *more)
        grid = ceil_div(channels, 32), 1, self.groups.number
        source.launch(kernel, grid, (32, SLICES), args, self.stream)
