"""Local response normalization across channels (Krizhevsky et al. 2012, section 3.3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import Columns, columns, macros
from netc_kernels.cuda.tensor import Tensor

FILE = "lrn.cu"
MOST_THREADS = 1024
"""Threads along channels: a block has all channels of a pixel, up to as many packs."""


def lrn(
    out: Tensor, x: Tensor, *, size: int, alpha: float, beta: float, k: float, stream: int
) -> None:
    """Normalize across channels: x / (k + alpha * sum of x**2 over `size` channels)**beta."""
    over = columns(out, x, most=MOST_THREADS)
    args = (out.pointer, x.pointer, *_numbers(over, alpha, beta, k))
    kernel = _function("lrn", x, over.lanes, size, beta)
    source.launch(kernel, (over.tiles(1), over.chunks), over.block, args, stream)


def lrn_dx(
    out: Tensor, x: Tensor, dy: Tensor,
    *, size: int, alpha: float, beta: float, k: float, stream: int, relu: bool = False,
) -> None:  # fmt: skip
    """Compute the gradient of `lrn`'s input. `out` may be dy.

    With `relu`, x is a relu's output: go through it.
    """
    over = columns(out, x, dy, most=MOST_THREADS)
    assert over.chunks < 2 or out.pointer != dy.pointer, "too many channels to overwrite dy"
    numbers = (*_numbers(over, alpha, beta, k), np.int32(relu))
    kernel = _function("lrn_dx", x, over.lanes, size, beta)
    args = (out.pointer, x.pointer, dy.pointer, *numbers)
    source.launch(kernel, (over.tiles(1), over.chunks), over.block, args, stream)


def _numbers(over: Columns, alpha: float, beta: float, k: float) -> tuple[Any, ...]:
    facts = np.float32(alpha), np.float32(beta), np.float32(k)
    return np.int64(over.rows), np.int32(over.channels), *facts


def _function(name: str, x: Tensor, packed: int, size: int, beta: float) -> Any:
    quarters = int(beta == 0.75)
    return source.function(FILE, name, **macros(x, packed), SIZE=size, THREE_QUARTERS=quarters)
