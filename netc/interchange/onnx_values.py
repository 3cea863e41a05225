"""What the conversion of ONNX's operators shares: values, problems, options and shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netc.errors import clip
from netc.ir.ops.base import Op, ShapeError
from netc.ir.types import TensorType
from netc.syntax.layers import KINDS
from netc.syntax.network import NamedValues, Value

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]
"""Top, left, bottom, right: ONNX's order."""
Shape = tuple[int, ...]
"""Of one image: (C, H, W) or (features,)."""

NO_PAD: Sides = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Batches:
    """So many times the batch, where a model leaves that open."""

    times: int

    def __str__(self) -> str:
        return "N" if self.times == 1 else f"{self.times}N"


Numbers = tuple[int | float | Batches, ...]
"""What is known of a small value, element by element."""
Dims = tuple[int | Batches, ...]
"""The dimensions of a value, the batch first."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a value of the model is in the network."""

    layer: str
    """The layer or input whose result it is."""
    shape: Shape
    """The network's: a flatten that `fc` does itself is done already."""
    pad: Sides = NO_PAD
    """Zeros around it, which the layer that reads it takes over."""
    turned: Shape = ()
    """The image (C, H, W) that the model has with channels last, or whose pixels the rows are in
    that order; empty: the order is the network's.
    """
    view: Shape | None = None
    """The dimensions that the model gave it by a Reshape, where they are no image's or rows'."""

    @property
    def own(self) -> Shape:
        """The dimensions of one image's part in the model, before any Reshape."""
        if len(self.shape) < 3:
            return self.shape
        channels, height, width = self.shape
        top, left, bottom, right = self.pad
        image = (height + top + bottom, width + left + right)
        return (*image, channels) if self.turned else (channels, *image)

    @property
    def channels(self) -> int | None:
        """Which dimension has the channels or features, the batch being 0; None where that cannot
        be said.
        """
        if self.view is None:
            whole = len(self.shape) == 1
            return (None if whole else 3) if self.turned else 1
        alone = [place for place, size in enumerate(self.view, 1) if size != 1]
        turned = bool(self.turned) and len(self.shape) == 1
        alike = len(alone) == 1 and self.shape[0] == self.view[alone[0] - 1] and not turned
        return alone[0] if alike else None


class Unsupported(Exception):  # noqa: N818 - becomes a diagnostic, together with all others
    """Something that a network cannot say."""

    def __init__(self, message: str, code: str = "E093", help: str = "") -> None:
        super().__init__(message)
        self.message, self.code, self.help = message, code, help


class Unknown(Exception):  # noqa: N818 - not an error of its own
    """An operand whose own conversion failed."""


def shown(value: object) -> str:
    """A value as messages show it."""
    if isinstance(value, tuple):
        return clip("x".join(map(str, value)) or "empty")
    return "no plain value" if value is None else clip(str(value))


def options(kind: str, given: dict[str, Value]) -> NamedValues:
    """The options of a layer, the others at their defaults; all within what the language takes."""
    values: dict[str, Value] = {}
    for option in KINDS[kind].options:
        value = given.get(option.name, option.default)
        if option.name in given:
            try:
                value = option.domain.convert(value)  # type: ignore[arg-type]
            except ValueError:
                message = f"'{option.name}' of {kind} would be {shown(value)}"
                raise Unsupported(f"{message}, not {option.domain.description}") from None
        values[option.name] = value
    return NamedValues.of(**values)


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


def fill(number: Any) -> float:
    """1 - 0.9 as 0.1, as a person would write it."""
    return round(float(number), 9)


def by(shape: object) -> str:
    """A shape as messages show it."""
    return "x".join(map(str, shape)) if isinstance(shape, tuple) and shape else "a single number"
