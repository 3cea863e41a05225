"""Local response normalization across channels (Krizhevsky et al. 2012, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, prod
from typing import Any

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import Columns, cut, lanes, macros
from netc_kernels.cuda.tensor import Tensor

FILE = "lrn.cu"
MOST_THREADS = 1024
"""Threads along channels: a block has all channels of a pixel, up to as many packs."""


def lrn(
    out: Tensor, x: Tensor,
    *, size: int, alpha: float, beta: float, k: float, stream: int,
    inside: tuple[int] = (0,),
) -> None:  # fmt: skip
    """Normalize across channels: x / (k + alpha * sum of x**2 over `size` channels)**beta.

    x may have more channels than `out`, whose first is the one at `inside` of x.
    """
    over = _columns(out, (x,), inside)
    args = (out.pointer, x.pointer, *_numbers(over, (x,), inside, alpha, beta, k))
    kernel = _function("lrn", x, over.lanes, size, beta)
    source.launch(kernel, (over.tiles(1), over.chunks), over.block, args, stream)


def lrn_dx(
    out: Tensor, x: Tensor, dy: Tensor,
    *, size: int, alpha: float, beta: float, k: float, stream: int,
    inside: tuple[int, int] = (0, 0), relu: bool = False,
) -> None:  # fmt: skip
    """Compute the gradient of `lrn`'s input. `out` may be dy.

    Both may have more channels than `out`, whose first is the one at `inside` of x and of dy. With
    `relu`, x is a relu's output: go through it.
    """
    over = _columns(out, (x, dy), inside)
    assert over.chunks < 2 or out.pointer != dy.pointer, "too many channels to overwrite dy"
    numbers = (*_numbers(over, (x, dy), inside, alpha, beta, k), np.int32(relu))
    kernel = _function("lrn_dx", x, over.lanes, size, beta)
    args = (out.pointer, x.pointer, dy.pointer, *numbers)
    source.launch(kernel, (over.tiles(1), over.chunks), over.block, args, stream)


def _columns(out: Tensor, operands: Sequence[Tensor], inside: Sequence[int]) -> Columns:
    """Blocks of threads over the result's channels, in packs that begin where operands' do."""
    assert all(x.nhwc == out.nhwc and x.dtype == out.dtype for x in operands)
    widths = [out.shape[1], *(x.shape[1] for x in operands), *inside]
    packed = lanes(gcd(*widths), out, *operands)
    rows = prod(out.shape) // max(1, out.shape[1])
    assert out.nhwc or prod(out.shape[2:]) == 1, "want channels innermost"
    return cut(rows, out.shape[1], packed, MOST_THREADS)


def _numbers(
    over: Columns, operands: Sequence[Tensor], inside: Sequence[int], *facts: float
) -> tuple[Any, ...]:
    wide = ((np.int32(x.shape[1]), np.int32(at)) for x, at in zip(operands, inside, strict=True))
    each = (number for pair in wide for number in pair)
    return np.int64(over.rows), np.int32(over.channels), *each, *map(np.float32, facts)


def _function(name: str, x: Tensor, packed: int, size: int, beta: float) -> Any:
    quarters = int(beta == 0.75)
    return source.function(FILE, name, **macros(x, packed), SIZE=size, THREE_QUARTERS=quarters)
