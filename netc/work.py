"""What a launch of a program has to do: arithmetic, and memory to read and write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from math import prod
from typing import Any

from netc.ir.codec import kernels
from netc.ir.ops import Op
from netc.ir.program import Launch, Program, View
from netc.ir.types import ITEM_BYTES

Shapes = tuple[tuple[int, ...], ...]


def launch_flops(launch: Launch) -> int:
    """Floating-point operations of a launch, of all its steps, whatever kernels compute them.

    Those of the plan's operations; what only moves data has none, nor has the slope of a relu that
    noted places of maxima spare.
    """
    each = [(_plain(made.kernel), made) for made in launch.operations]
    if not all(prod(shape) for _, made in each for shape in (*made.operands, made.result)):
        return 0
    return sum(_flops(kernel, made.told, made.operands, made.result) for kernel, made in each)


def _plain(name: str) -> str:
    """The operation of a kernel's name."""
    kernel = name.partition(".")[0]
    return _SAME.get(kernel, kernel)


def _flops(kernel: str, told: Mapping[str, Any], operands: Shapes, result: tuple[int, ...]) -> int:
    if kernel in _MOVING:
        return 0
    if kernel in _STATISTICS:
        return sum(_operation(k, told).flops(operands, result) for k in _STATISTICS[kernel])
    _, before, update = kernel.rpartition("fc_dw_")
    if update not in _UPDATES:
        return _operation(kernel, told).flops(operands, result)
    gradient = _operation("fc_dw", {}).flops(operands, result) if before else 0
    return gradient + _UPDATES[update] * prod(result)


_MOVING = ("slice", "copy", "concat", "concat_rows", "cast")
"""Kernels that compute nothing."""
_SAME = {"maxpool_places_dx": "maxpool_dx"}
"""Kernels that compute what another operation does, from other operands."""
_STATISTICS = {"bn_moments": ("bn_mean", "bn_var"), "bn_slopes": ("bn_dgamma", "bias_db")}
"""Kernels with two results, and the operations these are of, over the first operand."""
_UPDATES = {"sgd": 2, "adam": 3}
"""Tensors that joined updates compute: the optimizer's state and the weight. One that begins with
fc_dw_ computes the gradient before them too."""


@cache
def _operations() -> Mapping[str, type[Op]]:
    return {op.kernel: op for op in kernels().values()}


def _operation(kernel: str, told: Mapping[str, Any]) -> Op:
    """The operation of a kernel; fields that kernels are not told do not count in its FLOPs."""
    op = _operations()[kernel]
    return op(**{f.name: told.get(f.name) for f in fields(op)})


def launch_bytes(program: Program, launch: Launch) -> int:
    """Bytes that a launch has to read and write: every block once, of a sliced one the slice."""
    result = launch.writes[0].shape
    sliced = {launch.reads[e.args[0]] for e in launch.operations if _plain(e.kernel) == "slice"}
    views = dict.fromkeys((*launch.reads, *launch.writes))
    return sum(
        prod(result if view in sliced else view.shape)
        * ITEM_BYTES[program.buffer[view.buffer].dtype]
        for view in views
        if not is_workspace(view)
    )


def is_workspace(view: View) -> bool:
    """Whether a launch writes this for itself alone."""
    return ".workspace@" in view.buffer
