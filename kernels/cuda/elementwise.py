"""Activations, sums and changes of type, element by element, and the bias.

Operands of a call have one order in memory, any; `out` may be any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.layout import (
    PACK_BYTES,
    THREADS,
    alike,
    ceil_div,
    columns,
    lanes,
    macros,
)
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor

FILE = "elementwise.cu"
PACKS = 4
"""Packs that a thread takes, as in the source."""
OPERANDS = 8
"""Operands that the source adds at once."""
ACTIVATIONS = ("relu", "sigmoid", "tanh", "gelu")
"""Each is two kernels of the source, relu_y and relu_dx, which read what the reference's do."""


def add(
    out: Tensor, *xs: Tensor, stream: int, relu: bool = False, positive: Tensor | None = None
) -> None:
    """Add one or more tensors of one type, from left to right, and apply relu if asked; or its
    slope, where `positive` was its result.

    More than eight are added in turns, with `out` rounded between.
    """
    # where `out` is an operand, the first turn must read it
    rest = sorted(xs, key=lambda x: x.pointer != out.pointer) if len(xs) > OPERANDS else list(xs)
    turn, rest = rest[:OPERANDS], rest[OPERANDS:]
    _add(out, turn, relu and not rest, None if rest else positive, stream)
    while rest:
        turn, rest = [out, *rest[: OPERANDS - 1]], rest[OPERANDS - 1 :]
        _add(out, turn, relu and not rest, None if rest else positive, stream)


def cast(out: Tensor, x: Tensor, *, stream: int) -> None:
    """Change the type of every element: f32 to bf16, rounded to nearest, or bf16 to f32."""
    names = {("bf16", "f32"): "narrow", ("f32", "bf16"): "widen"}
    _map(names[out.dtype, x.dtype], out, x, stream=stream, most=PACK_BYTES // ITEM_BYTES[out.dtype])


def bias(out: Tensor, x: Tensor, b: Tensor, *, stream: int, relu: bool = False) -> None:
    """Add b (C,) f32 along dim 1 of x, (N, C) or (N, C, H, W), and apply relu if asked."""
    assert alike(out, x) and out.dtype == x.dtype and b.dtype == "f32"
    plane = prod(x.shape[2:])
    if not out.elements:
        return
    if not x.nhwc and plane > 1:
        kernel = source.function(FILE, "bias_planes", **macros(x, 1))
        numbers = np.int64(x.elements), np.int64(plane), np.int32(x.shape[1]), np.int32(relu)
        _launch(kernel, x.elements, (out.pointer, x.pointer, b.pointer, *numbers), stream)
        return
    over = columns(out, x)
    kernel = source.function("channels.cu", "bias", **macros(x, over.lanes))
    args = (
        out.pointer, x.pointer, b.pointer, np.int64(over.rows), np.int32(over.channels),
        np.int32(relu),
    )  # fmt: skip
    source.launch(kernel, (over.tiles(8), over.chunks), over.block, args, stream)


def _map(name: str, out: Tensor, *inputs: Tensor, stream: int, most: int = 0) -> None:
    """Run a kernel of one or two operands."""
    assert alike(out, *inputs), "operands are of one shape and order in memory"
    assert most or len({out.dtype, *(x.dtype for x in inputs)}) == 1, "operands are of one type"
    packed = lanes(out.elements, out, *inputs, most=most)
    packs = out.elements // packed
    kernel = source.function(FILE, name, **macros(out, packed))
    pointers = (block.pointer for block in (out, *inputs))
    _launch(kernel, packs, (*pointers, np.int64(packs)), stream)


KERNELS: Mapping[str, Callable[..., None]] = {
    **{op: partial(_map, f"{op}_y") for op in ACTIVATIONS},
    **{f"{op}_dx": partial(_map, f"{op}_dx") for op in ACTIVATIONS},
}
"""The activations and their gradients by the name of the op."""


def _add(
    out: Tensor, xs: Sequence[Tensor], relu: bool, positive: Tensor | None, stream: int
) -> None:
    others = [*xs, positive] if positive else xs
    assert alike(out, *others) and len({out.dtype, *(x.dtype for x in others)}) == 1
    packed = lanes(out.elements, out, *others)
    packs = out.elements // packed
    kernel = source.function(FILE, "add_up", **macros(out, packed))
    pointers = [x.pointer for x in xs] + [0] * (OPERANDS - len(xs))
    slope = positive.pointer if positive else 0
    numbers = np.int32(len(xs)), np.int32(relu), np.int64(packs)
    _launch(kernel, packs, (out.pointer, *pointers, slope, *numbers), stream)


def _launch(kernel: Any, packs: int, args: Sequence[Any], stream: int) -> None:
    source.launch(kernel, (ceil_div(packs, THREADS * PACKS),), (THREADS,), args, stream)
