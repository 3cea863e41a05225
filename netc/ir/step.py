"""What a launch does: operations on one device's blocks, in order, and who computes each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netc.ir.pairs import Pairs
from netc.ir.types import Affine


@dataclass(frozen=True, slots=True)
class Attributes(Pairs):
    """Plain values that do not change: texts, numbers and tuples of them. Of a class of devices,
    numbers may be affine in their coordinates. They are sorted by name.
    """

    @classmethod
    def of(cls, values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Attributes:
        """Those values, in the order of their names."""
        return cls(tuple(sorted(dict(values).items())))


NONE = Attributes()
CHECKED = ("whole",)
"""Attributes by which blocks are verified, and which kernels are not given."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a launch."""

    operation: str
    """Its word, such as "conv"."""
    operands: tuple[int, ...]
    """Positions among what the launch reads; -1 is the result of the step before, -2 of the one
    before that."""
    attributes: Attributes
    """What its kernel is told, and what it is verified by."""
    result: tuple[int, ...]
    """Local shape, logical N C H W."""
    variant: str = ""
    """Which of the operation's kernels computes it; empty is the reference."""
    absorbed: bool = False
    """Whether the kernel of the step before does it as well."""

    @property
    def asked(self) -> Attributes:
        """The attributes that kernels are given."""
        pairs = self.attributes.pairs
        return Attributes(tuple(pair for pair in pairs if pair[0] not in CHECKED))

    def at(self, coordinates: tuple[int, ...]) -> Step:
        """What it is on one device of a class."""
        pairs = _at(self.attributes.pairs, coordinates)
        if pairs == self.attributes.pairs:
            return self
        return Step(
            self.operation, self.operands, Attributes(pairs), self.result, self.variant,
            self.absorbed,
        )  # fmt: skip

    @property
    def kernel(self) -> str:
        """What people call its kernel: "conv.winograd"."""
        return f"{self.operation}.{self.variant}" if self.variant else self.operation


def _at(value: Any, coordinates: tuple[int, ...]) -> Any:
    """A plain value as it is on one device."""
    if isinstance(value, Affine):
        return value.at(coordinates)
    if isinstance(value, tuple):
        return tuple([_at(each, coordinates) for each in value])
    return value


def kernels_of(steps: Sequence[Step]) -> list[list[Step]]:
    """Every step that a kernel begins with, and those that it does as well."""
    groups: list[list[Step]] = []
    for step in steps:
        if step.absorbed:
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups
