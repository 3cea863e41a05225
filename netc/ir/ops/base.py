"""What every operation declares: its shape rule, its labels, and its local attributes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

from netc.ir.step import Attributes, Step
from netc.ir.types import TensorPart, TensorType, WindowReach


class ShapeError(Exception):
    """Operands that do not fit an operation: the user's mistake, given a place by the caller."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


@dataclass(frozen=True, slots=True)
class Site:
    """What one device is told when an operation runs on its part of the tensors."""

    operands: tuple[TensorPart, ...]
    """The part of every operand that the device holds."""
    operand_types: tuple[TensorType, ...]
    """The global types of the operands."""
    result: TensorPart
    """The part of the result it computes."""
    type: TensorType
    """The global type of the result."""
    rows: tuple[tuple[int, int], ...]
    """Global rows, as (start, count), that dimension 0 stands for; empty: the block's own."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation with one result. Subclasses are frozen values; fields are its attributes."""

    kernel: ClassVar[str] = ""
    """The kernel that computes it; its name is printed too, unless `printed` says otherwise."""
    printed: ClassVar[str] = ""
    """The name printed, where another operation prints the kernel's."""
    view: ClassVar[bool] = False
    """True where the result is the operand's own bytes, seen otherwise; nothing is launched."""
    alias: ClassVar[int | None] = None
    """The operand whose storage the result takes over: state that is overwritten."""
    inplace: ClassVar[tuple[int, ...]] = ()
    """Operands the result may overwrite element by element, at exactly equal offsets."""
    unread: ClassVar[tuple[int, ...]] = ()
    """Operands that only name the storage to fill."""
    reduction: ClassVar[str] = "sum"
    """How results combine when a contracted label is split: sum, max or min."""
    hidden: ClassVar[tuple[str, ...]] = ()
    """Fields that the compiler needs and the kernel does not."""
    wide: ClassVar[bool] = False
    """True where results are float64 whatever they are made of: kernels are then those for the type
    of the first operand."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The result's global type; raises ShapeError where the operands do not fit."""
        raise NotImplementedError

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """The label string, such as "ncHW,kc..->nkhw": a dot is a dimension never split, a capital
        one of which each part needs what `reach` says for its own part of the letter.
        """
        raise NotImplementedError

    def reach(self, letter: str, operand: int, operands: tuple[TensorType, ...]) -> WindowReach:
        """What is read of the dimension that an operand labels with a capital of `letter`, for the
        elements of the dimension that has the letter itself.
        """
        raise NotImplementedError

    def attributes(self) -> dict[str, Any]:
        """What the kernel is told on every device."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in self.hidden}

    def local(self, site: Site) -> dict[str, Any]:
        """What the kernel is told on one device besides `attributes`."""
        return {}

    def steps(self, site: Site) -> tuple[Step, ...]:
        """What a launch of it does on one device."""
        attributes = Attributes.of({**self.attributes(), **self.local(site)})
        operands = tuple(range(len(site.operands)))
        return (Step(self.kernel, operands, attributes, site.result.shape),)

    def overwritable(self) -> tuple[int, ...]:
        """Operands whose bytes the result may take over in the same launch."""
        return self.inplace

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """Floating-point operations on parts of these shapes; a multiply-add counts two."""
        return max([math.prod(result), *(math.prod(shape) for shape in operands)])

    def __str__(self) -> str:
        inner = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        name = self.printed or self.kernel
        return f"{name}{{{inner}}}" if inner else name


def letters(rank: int, pattern: str = "nkhw") -> str:
    """The first `rank` letters of a pattern of four."""
    return pattern[:rank]


def elementwise(operands: tuple[TensorType, ...], count: int, scalars: int = 0) -> str:
    """Labels of `count` operands and a result of one shape, and scalars behind the operands."""
    each = letters(operands[0].rank)
    return ",".join([each] * count + [""] * scalars) + "->" + each


def image_text(type_: TensorType) -> str:
    """The shape of one example, as a person writes it: 64x56x56."""
    return "x".join(map(str, type_.shape[1:])) or "1"


def same_shape(*operands: TensorType) -> TensorType:
    """The common type of elementwise operands."""
    for other in operands[1:]:
        if other.shape != operands[0].shape:
            raise ShapeError(
                f"its inputs differ in shape: {image_text(operands[0])} and {image_text(other)}",
                "every branch must end with the same channels, height and width.",
            )
    return operands[0]


def place_of(label: str, own: str) -> int:
    """The dimension of a tensor with those labels that a split divides; -1 where there is none. A
    `g` is divided where filters are.
    """
    found = own.find(label)
    return own.find("g") if found < 0 and label == "k" else found


@cache
def parse_labels(labels: str) -> tuple[tuple[str, ...], str]:
    """Operand labels and result labels of a label string; without an arrow there are no operands,
    with nothing before it one scalar.
    """
    left, arrow, result = labels.rpartition("->")
    return tuple(left.split(",")) if arrow else (), result
