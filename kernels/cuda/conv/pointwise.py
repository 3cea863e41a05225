"""Convolutions of 1 by 1 pixel with what batch normalization asks of their results.

In bf16, on Hopper's chips, with stride 1 and no padding (`suits`). Such convolutions wait for
memory: what is done to their results on the way there spares passes over them; the source tells
how. Sums are of results as they are stored, in an order that follows from the shapes only. `work`
holds sums of groups of pixels (`workspace_bytes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.channels import SLICES
from netc_kernels.cuda.conv.tiles import tile_map
from netc_kernels.cuda.layout import ceil_div, macros
from netc_kernels.cuda.tensor import Tensor

Shape: TypeAlias = tuple[int, ...]

FILE = "conv/pointwise.cu"
MOST_TERMS = 512
"""Terms of a sum for which filters stay in shared memory."""
_BLOCKS = 132
"""What groups of rows are chosen for, an H100's multiprocessors; on others they are as right."""
_ROWS, _STEP, _STAGES = 128, 64, 8
_SHARED_BYTES = 226 * 1024
"""That a block may have, without what it declares itself."""
NOTHING, MOMENTS, SLOPES = range(3)
"""Sums: none; of results and squares; of results times normalized x, and of results."""
_PROBLEM = np.dtype(
    [("map_a", "V128"), ("map_b", "V128")]
    + [(name, "u8") for name in ("out", "added", "positive", "x", "mean", "var", "partial")]
    + [(name, "i4") for name in ("rows", "columns", "terms")]
    + [("eps", "f4"), ("rest", "V56")]
)
"""`Problem` of the source."""


class PointwiseProduct(NamedTuple):
    """One product: rows x terms by terms x columns."""

    rows: int
    columns: int
    terms: int

    @classmethod
    def of(cls, out: Shape, a: Shape) -> PointwiseProduct:
        """Of a result and the operand that has its pixels."""
        return cls(out[0] * prod(out[2:]), out[1], a[1])

    @property
    def tile(self) -> int:
        """Columns of a block."""
        return 64 if self.columns <= 64 else 128

    @property
    def grid(self) -> tuple[int, int]:
        """Pieces of columns, and groups of rows."""
        pieces = ceil_div(self.columns, self.tile)
        return pieces, max(1, min(_BLOCKS // pieces, ceil_div(self.rows, _ROWS)))

    @property
    def stages(self) -> int:
        """Pieces of A that fit beside the filters."""
        steps = ceil_div(self.terms, _STEP)
        left = _SHARED_BYTES - 1024 - (steps * _STEP + _ROWS) * self.tile * 2
        return min(_STAGES, left // (_ROWS * _STEP * 2))

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory of a block."""
        steps = ceil_div(self.terms, _STEP)
        a = self.stages * _ROWS * _STEP * 2
        return 1024 + (steps * _STEP + _ROWS) * self.tile * 2 + a

    @property
    def partial_bytes(self) -> int:
        """Workspace of two sums per column."""
        return 2 * 4 * self.grid[1] * self.columns


def suits(
    op: str, out: Shape, operands: Sequence[Shape], attributes: Mapping[str, Any], precision: str
) -> bool:
    """Whether these kernels can do a convolution, or its image's gradient, of these shapes."""
    plain = tuple(attributes["stride"]) == (1, 1) and not any(attributes["pad"])
    whole = attributes["groups"] == 1 and operands[1][2:] == (1, 1) and prod(out) > 0
    product = PointwiseProduct.of(out, operands[0])
    aligned = product.columns % 8 == 0 and product.terms % 8 == 0
    known = op.startswith("conv") and precision == "bf16"
    return known and plain and whole and aligned and 0 < product.terms <= MOST_TERMS


def workspace_bytes(out: Shape, operands: Sequence[Shape]) -> int:
    """Bytes that `work` must have, where there are sums."""
    return PointwiseProduct.of(out, operands[0]).partial_bytes


def conv(out: Tensor, x: Tensor, w: Tensor, stream: int) -> None:
    """Convolve x (N, C, H, W) with w (K, C, 1, 1)."""
    _multiply(out, x, w, NOTHING, stream)


def conv_dx(out: Tensor, dy: Tensor, w: Tensor, stream: int, positive: Tensor | None) -> None:
    """Compute the gradient of the input, zeroed where `positive` is there and not positive."""
    _multiply(out, dy, w, NOTHING, stream, turned=True, positive=positive)


def conv_moments(
    out: Tensor, mean_out: Tensor, var_out: Tensor, x: Tensor, w: Tensor,
    *, work: Tensor, stream: int,
) -> None:  # fmt: skip
    """Convolve x (N, C, H, W) with w (K, C, 1, 1), and compute mean and biased variance (K,) f32 of
    each channel of what is stored.
    """
    blocks = _multiply(out, x, w, MOMENTS, stream, work=work)
    rows = np.int64(out.shape[0] * prod(out.shape[2:]))
    _finish("finish_squares", out, (mean_out, var_out), blocks, work, stream, rows)


def conv_sums(
    out: Tensor, sums_out: Tensor, x: Tensor, w: Tensor, *, count: int, work: Tensor, stream: int
) -> None:
    """Convolve, and compute this shard's part of the means of what is stored and of its square, of
    `count` numbers in all, (K, 2) f64.
    """
    blocks = _multiply(out, x, w, MOMENTS, stream, work=work)
    share = np.float64(1 / count)
    _finish("finish_square_sums", out, (sums_out,), blocks, work, stream, share)


def conv_dx_slopes(
    out: Tensor, dgamma_out: Tensor, dbeta_out: Tensor,
    dy: Tensor, w: Tensor, positive: Tensor, x: Tensor, mean: Tensor, var: Tensor,
    *, eps: float, work: Tensor, stream: int, added: Tensor | None = None,
) -> None:  # fmt: skip
    """Compute the gradient of a convolution's input, zeroed where `positive`, the relu's output, is
    not positive; and the gradients of scale and shift of the normalization of x before that relu.
    """
    statistics = x, mean, var
    blocks = _multiply(
        out, dy, w, SLOPES, stream,
        turned=True, work=work, added=added, positive=positive, statistics=statistics, eps=eps,
    )  # fmt: skip
    _finish("finish_two", out, (dgamma_out, dbeta_out), blocks, work, stream)


def conv_dx_add_slopes(
    out: Tensor, dgamma_out: Tensor, dbeta_out: Tensor,
    dy: Tensor, w: Tensor, added: Tensor, *others: Tensor, eps: float, work: Tensor, stream: int,
) -> None:  # fmt: skip
    """Compute the same where the gradient is that of a sum with `added`, before the relu."""
    conv_dx_slopes(
        out, dgamma_out, dbeta_out, dy, w, *others, eps=eps, work=work, stream=stream, added=added
    )


KERNELS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {each.__name__: each for each in (conv_moments, conv_sums, conv_dx_slopes, conv_dx_add_slopes)}
)
"""Every joined launch that these do, by its name. Called as `op(*results, *inputs, work, stream,
**attributes)`, with no more attributes than named here."""


def _finish(
    name: str, out: Tensor, results: Sequence[Tensor], blocks: int, work: Tensor, stream: int,
    *more: Any,
) -> None:  # fmt: skip
    """Add the groups' sums up."""
    kernel = source.function("channels.cu", name, **macros(out, 1))
    channels = out.shape[1]
    args = *(each.pointer for each in results), work.pointer, np.int32(blocks), np.int32(channels)
    grid = ceil_div(channels, 32), 1, 1
    source.launch(kernel, grid, (32, SLICES), (*args, *more), stream)


def _multiply(
    out: Tensor,
    a: Tensor,
    w: Tensor,
    sums: int,
    stream: int,
    *,
    turned: bool = False,
    work: Tensor | None = None,
    added: Tensor | None = None,
    positive: Tensor | None = None,
    statistics: tuple[Tensor, Tensor, Tensor] | None = None,
    eps: float = 0.0,
) -> int:
    """Compute a product; returns how many groups of rows have sums in `work`.

    `turned`: w has terms as its rows. `statistics`: x, mean and variance, for SLOPES.
    """
    product = PointwiseProduct.of(out.shape, a.shape)
    assert sums == NOTHING or (work is not None and work.nbytes >= product.partial_bytes)
    defines = {
        "COLUMNS": product.tile,
        "STAGES": product.stages,
        "TURNED": int(turned),
        "ADDED": int(added is not None),
        "POSITIVE": int(positive is not None),
        "SUMS": sums,
    }
    kernel = source.function(FILE, "conv_pointwise", "sm_90a", **defines)
    if source.compiles_only():
        # A thread that only compiles has no context, which the driver wants for descriptions.
        return product.grid[1]
    x, mean, var = (each.pointer for each in statistics) if statistics else (0, 0, 0)
    sides = (product.terms, product.columns) if turned else (product.columns, product.terms)
    values = (
        tile_map(a.pointer, product.rows, product.terms, (_ROWS, _STEP)),
        tile_map(w.pointer, *sides, (_STEP if turned else product.tile, 64)),
        out.pointer,
        *(each.pointer if each else 0 for each in (added, positive)),
        *(x, mean, var, work.pointer if work and sums else 0),
        *(*product, eps),
        b"",
    )
    problem = np.array([values], _PROBLEM)
    source.launch(kernel, product.grid, (384,), (problem,), stream, product.shared_bytes)
    return product.grid[1]
