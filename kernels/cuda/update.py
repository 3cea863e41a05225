"""Stochastic gradient descent with momentum and decay (Krizhevsky et al. 2012, section 5).

Weights and velocities are f32, gradients f32 or bf16, all in one order in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.block import Block
from netc_kernels.cuda.elementwise import add
from netc_kernels.cuda.layout import THREADS, alike, ceil_div, lanes, macros

FILE = "update.cu"
PACKS = 2
"""Packs that a thread takes, as in the source."""
LANES = 8
"""Elements of a pack: 16 bytes of bf16, 32 of f32."""


def sgd_velocity(
    out: Block, v: Block, w: Block, g: Block, lr: Block,
    *, momentum: float, decay: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Update the velocity: momentum * v - lr * (g + scale * decay * w). `out` may be v."""
    _launch("sgd_velocity", (out,), g, v, w, lr, (momentum, scale * decay), stream)


def sgd_apply(out: Block, w: Block, v: Block, *, stream: int) -> None:
    """Move the weights by the velocity: w + v. `out` may be w."""
    add(out, w, v, stream=stream)


def sgd(
    v_out: Block, w_out: Block, g: Block, v: Block, w: Block, lr: Block,
    *, momentum: float, decay: float, scale: float, stream: int, shadow: Block | None = None,
) -> None:  # fmt: skip
    """Compute `sgd_velocity` and `sgd_apply` in one pass. v_out may be v, w_out may be w.

    `shadow` gets the new weights as bf16.
    """
    results = (v_out, w_out) if shadow is None else (v_out, w_out, shadow)
    _launch("sgd", results, g, v, w, lr, (momentum, scale * decay), stream)


def _launch(
    name: str, results: tuple[Block, ...], g: Block, v: Block, w: Block, lr: Block,
    pace: tuple[float, float], stream: int,
) -> None:  # fmt: skip
    operands = (*results, g, v, w)
    assert alike(*operands) and {lr.dtype, v.dtype, w.dtype} == {"f32"}
    packed = lanes(g.elements, *operands, most=LANES)
    packs = g.elements // packed
    pointers: list[Any] = [block.pointer for block in operands]
    if len(results) == 2:
        pointers.insert(2, 0)
    numbers = (lr.pointer, np.int64(packs), *(np.float32(each) for each in pace))
    kernel = source.function(FILE, name, **macros(g, packed))
    grid = (ceil_div(packs, THREADS * PACKS),)
    source.launch(kernel, grid, (THREADS,), (*pointers, *numbers), stream)
