"""What a launch of a program has to do: arithmetic, and memory to read and write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from math import prod

from netc.ir.codec import kernels
from netc.ir.ops import Op
from netc.ir.program import Launch, Program, View
from netc.ir.step import Step
from netc.ir.types import ITEM_BYTES

Shapes = tuple[tuple[int, ...], ...]


def launch_flops(launch: Launch) -> int:
    """Floating-point operations of a launch: those of its steps, whatever kernels compute them.

    What only moves data has none, nor has the slope of a relu that noted places of maxima spare.
    """
    each = list(zip(launch.steps, launch.shapes, strict=True))
    if not all(prod(shape) for step, shapes in each for shape in (*shapes, step.result)):
        return 0
    return sum(_flops(step, shapes) for step, shapes in each)


def _flops(step: Step, operands: Shapes) -> int:
    if step.operation in _MOVING:
        return 0
    return _operation(step).flops(operands, step.result)


_MOVING = ("slice", "copy", "concat", "concat_rows", "cast")
"""Operations that compute nothing."""


@cache
def _operations() -> Mapping[str, type[Op]]:
    return {op.kernel: op for op in kernels().values()}


def _operation(step: Step) -> Op:
    """The operation of a step; fields that kernels are not told do not count in its FLOPs."""
    op = _operations()[step.operation]
    return op(**{f.name: step.attributes.get(f.name) for f in fields(op)})


def launch_bytes(program: Program, launch: Launch) -> int:
    """Bytes that a launch has to read and write: every block once, of a sliced one the slice."""
    result = launch.writes[0].shape
    cuts = (step.operands[0] for step in launch.steps if step.operation == "slice")
    sliced = {launch.reads[place] for place in cuts}
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
