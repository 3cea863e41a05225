"""What the conversion of ONNX's operators shares: values, problems, attributes, padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from netc.errors import clip
from netc.ir.onnx import OnnxNode
from netc.ir.ops import AvgPool, MaxPool
from netc.ir.ops.base import Op, ShapeError
from netc.ir.types import TensorType
from netc.passes.build_graph import same_padding
from netc.syntax.layers import KINDS
from netc.syntax.network import Options, Value

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]
"""Top, left, bottom, right: ONNX's order."""
Shape = tuple[int, ...]
"""Of one image: (C, H, W) or (features,)."""

NO_PAD: Sides = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Result:
    """What a value of the model is in the network."""

    layer: str
    """The layer or input whose result it is."""
    shape: Shape
    """As the model sees it: a flatten that `fc` does itself is done already."""
    pad: Sides = NO_PAD
    """Zeros around it, which the layer that reads it takes over."""


class Unsupported(Exception):  # noqa: N818 - becomes a diagnostic, together with all others
    """Something that a network cannot say."""

    def __init__(self, message: str, code: str = "E093", help: str = "") -> None:
        super().__init__(message)
        self.message, self.code, self.help = message, code, help


class Unknown(Exception):  # noqa: N818 - not an error of its own
    """An operand whose own conversion failed."""


def ints(node: OnnxNode, name: str, count: int, default: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute of `count` whole numbers."""
    value = node.get(name, default)
    if isinstance(value, tuple) and len(value) == count and all(isinstance(v, int) for v in value):
        return tuple(int(v) for v in value)
    raise Unsupported(f"'{name}' is {_shown(value)}, not {count} whole numbers")


def pair(node: OnnxNode, name: str, default: Pair) -> Pair:
    """An attribute for height and width, each 1 or more."""
    height, width = ints(node, name, 2, default)
    if min(height, width) < 1:
        raise Unsupported(f"'{name}' is {height}x{width}, not 1 or more")
    return height, width


def whole(node: OnnxNode, name: str, default: int) -> int:
    """An attribute that is one whole number."""
    value = node.get(name, default)
    if isinstance(value, int):
        return value
    raise Unsupported(f"'{name}' is {_shown(value)}, not a whole number")


def real(node: OnnxNode, name: str, default: float) -> float:
    """An attribute that is a number."""
    value = node.get(name, default)
    if isinstance(value, int | float):
        return float(value)
    raise Unsupported(f"'{name}' is {_shown(value)}, not a number")


def word(node: OnnxNode, name: str, default: str) -> str:
    """An attribute that is text."""
    value = node.get(name, default)
    if isinstance(value, str):
        return value
    raise Unsupported(f"'{name}' is {_shown(value)}, not a word")


def require(node: OnnxNode, name: str, value: int | float | tuple[int, ...]) -> None:
    """An attribute that may have this value only, its default."""
    found = node.get(name, value)
    if found != value:
        raise Unsupported(f"'{name}' is {_shown(found)}; {_shown(value)} is known")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return clip("x".join(map(str, value)) or "empty")
    return "no plain value" if value is None else clip(str(value))


def options(kind: str, given: dict[str, Value]) -> Options:
    """The options of a layer, the others at their defaults; all within what the language takes."""
    values: dict[str, Value] = {}
    for option in KINDS[kind].options:
        value = given.get(option.name, option.default)
        if option.name in given:
            try:
                value = option.domain.convert(value)  # type: ignore[arg-type]
            except ValueError:
                message = f"'{option.name}' of {kind} would be {_shown(value)}"
                raise Unsupported(f"{message}, not {option.domain.description}") from None
        values[option.name] = value
    return Options.of(**values)


def infer(op: Op, *shapes: Shape) -> Shape:
    """The shape of one image's result."""
    try:
        result = op.infer(*(TensorType("f32", shape) for shape in shapes))
    except ShapeError as error:
        raise Unsupported(f"{error}", "E095", error.help) from None
    return result.shape[1:]


def image(result: Result) -> tuple[int, int, int]:
    """The shape of an operand that is an image."""
    if len(result.shape) != 3:
        raise Unsupported(f"it reads {len(result.shape) + 1}-dimensional values")
    return result.shape[0], result.shape[1], result.shape[2]


def sides(node: OnnxNode, shape: Shape, size: Pair, stride: Pair) -> Sides:
    """The padding that `pads` or `auto_pad` says."""
    mode = word(node, "auto_pad", "NOTSET")
    if mode == "VALID":
        return NO_PAD
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        rows, columns = (same_padding(shape[1 + i], size[i], stride[i]) for i in (0, 1))
        first, last = (0, 1) if mode == "SAME_UPPER" else (1, 0)
        return (rows[first], columns[first], rows[last], columns[last])
    if mode != "NOTSET":
        raise Unsupported(f"'auto_pad' is {_shown(mode)}")
    top, left, bottom, right = ints(node, "pads", 4, NO_PAD)
    return (top, left, bottom, right)


def around(one: Sides, other: Sides) -> Sides:
    """Padding around padding."""
    top, left, bottom, right = (a + b for a, b in zip(one, other, strict=True))
    return (top, left, bottom, right)


def conv_pad(node: OnnxNode, pad: Sides, shape: Shape, size: Pair, stride: Pair) -> Pair | str:
    """The option `pad` of a convolution."""
    top, left, bottom, right = pad
    rows, columns = (same_padding(shape[1 + i], size[i], stride[i]) for i in (0, 1))
    is_same = pad == (rows[0], columns[0], rows[1], columns[1])
    is_even = (top, left) == (bottom, right)
    if is_same and (not is_even or node.get("auto_pad") == "SAME_UPPER"):
        return "same"
    if is_even:
        return top, left
    raise _lopsided(pad, "that of pad=same")


def pool_form(
    node: OnnxNode, kind: Callable[..., MaxPool | AvgPool], pad: Sides, shape: Shape,
    size: Pair, stride: Pair,
) -> tuple[Pair, bool]:  # fmt: skip
    """The options `pad` and `ceil` of a pooling.

    Padding at the end that only completes the last windows is what rounding up does.
    """
    top, left, bottom, right = pad
    rounds_up = bool(whole(node, "ceil_mode", 0))
    if (top, left) == (bottom, right):
        return (top, left), rounds_up
    op = kind(size, stride, (top, top, left, left), True)
    result = infer(op, (1, *shape))
    extents = zip(result[1:], shape[1:], (top, left), size, stride, strict=True)
    ends = tuple(
        before + max((count - 1) * step + window - (extent + 2 * before), 0)
        for count, extent, before, window, step in extents
    )
    if (bottom, right) == ends:
        return (top, left), True
    raise _lopsided(pad, "what ceil=true adds")


def check_window(pad: Pair, size: Pair) -> None:
    """Every window has to hold some of the image."""
    if any(p >= s for p, s in zip(pad, size, strict=True)):
        raise Unsupported(f"padding {_shown(pad)} makes windows of padding only")


def fill(number: Any) -> float:
    """1 - 0.9 as 0.1, as a person would write it."""
    return round(float(number), 9)


def _lopsided(pad: Sides, other: str) -> Unsupported:
    shown = ", ".join(map(str, pad))
    message = f"padding of {shown} (top, left, bottom, right) is neither the same"
    return Unsupported(f"{message} on both sides nor {other}")
