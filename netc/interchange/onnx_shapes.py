"""Arithmetic on shapes: what a model computes of sizes alone, where the batch may be open.

A size is a whole number, or so many times the open batch. Everything that is not one of the few
operations below, or not all whole numbers, is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from netc.interchange.onnx_given import Given
from netc.interchange.onnx_trace import ONNX_DOMAINS
from netc.interchange.onnx_values import Batches, Dims, Numbers, Unsupported
from netc.ir.onnx import SMALL_ELEMENTS, OnnxNode, OnnxTensor

_WHOLE = (6, 7)
"""Element types that Cast may turn sizes into: int32 and int64."""
_LARGEST = 2**31 - 1
"""Sizes beyond it are no sizes; ONNX's integers would overflow some operations later."""


@dataclass(slots=True)
class Shapes:
    """The numbers of values that do not depend on the images' numbers."""

    opset: int
    constants: dict[str, OnnxTensor]
    dims: Callable[[str], Dims | None]
    """The dimensions of a value that is made of images, where they are known."""
    known: dict[str, Numbers]
    """What was computed so far."""

    def numbers(self, name: str) -> Numbers | None:
        """The numbers of a value of at most one dimension; None where nothing is known of it."""
        constant = self.constants.get(name)
        if constant is None:
            return self.known.get(name)
        return constant.values if len(constant.shape) < 2 else None

    def learn(self, node: OnnxNode) -> None:
        """Note what a node computes, where it can be told."""
        rule = RULES.get(node.op_type) if node.domain in ONNX_DOMAINS else None
        if rule is None or len(node.outputs) != 1:
            return
        given = Given(node, self.opset, self.numbers)
        try:
            values = rule(self, given)
            given.settle()
        except Unsupported:
            return
        if len(values) <= SMALL_ELEMENTS and all(map(_is_size, values)):
            self.known[node.outputs[0]] = values


def reshaped(dims: Dims, wanted: Numbers, zero_copies: bool) -> Dims | None:
    """The dimensions after ONNX's Reshape; None where they cannot be told.

    A first number in place of the open batch is believed: the model takes no other batch.
    """
    result: list[int | Batches] = []
    for place, size in enumerate(wanted):
        if size == 0 and zero_copies and place < len(dims):
            result.append(dims[place])
        elif isinstance(size, Batches) or (isinstance(size, int) and (size == -1 or size > 0)):
            result.append(size)
        else:
            return None
    total, free = product(dims), [place for place, size in enumerate(result) if size == -1]
    rest = product(tuple(size for size in result if size != -1))
    if total is None or rest is None or len(free) > 1:
        return None
    if free:
        quotient = _divided(total, rest)
        if quotient is None:
            return None
        result[free[0]] = quotient
    elif rest != total:
        inner = product(tuple(result[1:]))
        if not isinstance(total, Batches) or not isinstance(rest, int) or inner != total.times:
            return None
        result[0] = Batches(1)
    return tuple(result)


def product(sizes: Dims) -> int | Batches | None:
    """All sizes multiplied; None where two of them are the open batch."""
    times = math.prod(size.times if isinstance(size, Batches) else size for size in sizes)
    open_ones = sum(isinstance(size, Batches) for size in sizes)
    if open_ones > 1:
        return None
    return Batches(times) if open_ones else times


def placed(axes: tuple[int, ...] | None, rank: int) -> tuple[int, ...]:
    """Axes counted from the front; refused where one is out of range or there twice."""
    if axes is None or not all(-rank <= axis < rank for axis in axes):
        raise Unsupported("its axes are out of range")
    counted = tuple(sorted(axis % rank for axis in axes))
    if len(set(counted)) < len(counted):
        raise Unsupported("its axes are there twice")
    return counted


def _divided(total: int | Batches, rest: int | Batches) -> int | Batches | None:
    """A quotient that is a size for every batch."""
    if isinstance(total, Batches) and isinstance(rest, Batches):
        total, rest = total.times, rest.times
    if isinstance(rest, Batches) or rest <= 0:
        return None
    times = total.times if isinstance(total, Batches) else total
    if times % rest:
        return None
    return Batches(times // rest) if isinstance(total, Batches) else times // rest


def _is_size(value: object) -> bool:
    number = value.times if isinstance(value, Batches) else value
    return isinstance(number, int) and abs(number) <= _LARGEST


def _operand(given: Given, place: int) -> Numbers:
    values = given.numbers(place, "operand")
    if values is None:
        raise Unsupported("an operand is left out")
    return values


def _shape(shapes: Shapes, given: Given) -> Numbers:
    dims = shapes.dims(given.operand(0))
    start = given.whole("start", 0)
    end = given.whole("end", _LARGEST)
    if dims is None:
        raise Unsupported("of a value whose shape is not known")
    return dims[start:end]


def _gather(shapes: Shapes, given: Given) -> Numbers:
    given.require("axis", 0)
    values, picked = _operand(given, 0), _operand(given, 1)
    if not all(isinstance(n, int) and -len(values) <= n < len(values) for n in picked):
        raise Unsupported("past the end")
    return tuple(values[int(n)] for n in picked if isinstance(n, int))


def _slice(shapes: Shapes, given: Given) -> Numbers:
    values = _operand(given, 0)
    start, end = _one(given.listed("starts", 1)), _one(given.listed("ends", 2))
    axis, step = _one(given.listed("axes", 3), 0), _one(given.listed("steps", 4), 1)
    if axis not in (0, -1) or step < 1:
        raise Unsupported("anything but some of the numbers, in order")
    return values[start:end:step]


def _one(listed: tuple[int, ...] | None, default: int | None = None) -> int:
    """The one number of a list, or what stands for a list that is left out."""
    if listed is None and default is not None:
        return default
    if listed is None or len(listed) != 1:
        raise Unsupported("anything but one number")
    return listed[0]


def _concat(shapes: Shapes, given: Given) -> Numbers:
    if given.whole("axis", None) not in (0, -1):
        raise Unsupported("along another axis")
    return tuple(n for place, _ in enumerate(given.operands()) for n in _operand(given, place))


def _same(shapes: Shapes, given: Given) -> Numbers:
    return _operand(given, 0)


def _cast(shapes: Shapes, given: Given) -> Numbers:
    given.ignore("saturate", "round_mode")
    values = _operand(given, 0)
    if given.whole("to", None) not in _WHOLE or not all(map(_is_size, values)):
        raise Unsupported("to another type")
    return values


def _turned(shapes: Shapes, given: Given) -> Numbers:
    """Squeeze and Unsqueeze: one number with a dimension, or without."""
    values, axes = _operand(given, 0), given.listed("axes", 1)
    if axes not in ((0,), (-1,), None) or len(values) != 1:
        raise Unsupported("anything but one number")
    return values


def _mul(shapes: Shapes, given: Given) -> Numbers:
    one, other = _operand(given, 0), _operand(given, 1)
    if len(one) != 1 or len(other) != 1 or not all(map(_is_size, one + other)):
        raise Unsupported("anything but two sizes")
    both = product((_size(one[0]), _size(other[0])))
    if both is None:
        raise Unsupported("the batch times itself")
    return (both,)


def _size(value: int | float | Batches) -> int | Batches:
    return value if isinstance(value, Batches) else int(value)


RULES: dict[str, Callable[[Shapes, Given], Numbers]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Gather": _gather,
    "Identity": _same,
    "Mul": _mul,
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": _turned,
    "Unsqueeze": _turned,
}
"""What a node computes of sizes; each raises Unsupported where that cannot be told."""
