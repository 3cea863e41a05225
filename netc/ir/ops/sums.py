"""Sums from which mean and variance are made, where several devices have terms of them.

A sum of numbers and one of their squares can be made in one pass over memory and exchanged at once,
while a variance about a mean waits for the mean. What is lost where the mean is far from zero is
that of float64: the variance keeps 16 digits less twice those of mean / deviation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from netc.ir.ops.base import Op, ShapeError, letters
from netc.ir.ops.grouped import GroupedStatistic
from netc.ir.types import TensorType, units_of

WIDE = "f64"
"""The data type of the sums, whatever it is that they are of."""


@dataclass(frozen=True, slots=True)
class BnSums(Op):
    """The means of x and of its square, (K, 2), over batch, height and width: sums divided by the
    global `count`.
    """

    kernel: ClassVar[str] = "bn_sums"
    wide: ClassVar[bool] = True
    count: int

    def infer(self, *operands: TensorType) -> TensorType:
        """K pairs."""
        x = operands[0]
        return TensorType(WIDE, (x.shape[1], 2), units_of(x.unit(1), 1))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under every label but `k`."""
        return f"{letters(operands[0].rank)}->k."


@dataclass(frozen=True, slots=True)
class GroupedSums(GroupedStatistic):
    """The same for each group of images, (groups, K, 2); `count` is of a group."""

    kernel: ClassVar[str] = "grouped_sums"
    wide: ClassVar[bool] = True
    count: int

    def infer(self, *operands: TensorType) -> TensorType:
        """K pairs a group."""
        x = operands[0]
        shape = (-(-x.shape[0] // self.group), x.shape[1], 2)
        return TensorType(WIDE, shape, units_of(1, x.unit(1), 1))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under what is summed up."""
        return f"{letters(operands[0].rank)}->{self.each}."


@dataclass(frozen=True, slots=True)
class _OfSums(Op):
    hidden: ClassVar[tuple[str, ...]] = ("dtype", "apart")
    dtype: str
    """Of the result."""
    apart: bool = field(default=False, kw_only=True)
    """Whether each device has the sums of its own groups (`ByGroups`)."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of the sums, without their pairs."""
        (sums,) = operands
        pairs = sums.dtype == WIDE and sums.rank in (2, 3) and sums.shape[-1] == 2
        if not pairs or self.dtype not in ("f32", WIDE):
            raise ShapeError(f"no {self.dtype} statistics are of {sums}")
        return TensorType(self.dtype, sums.shape[:-1], units_of(*sums.units[:-1]))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """One number of each pair."""
        each = "k" if operands[0].rank == 2 else f"{'n' if self.apart else '.'}k"
        return f"{each}.->{each}"


@dataclass(frozen=True, slots=True)
class MeanOfSums(_OfSums):
    """From whole sums: the mean."""

    kernel: ClassVar[str] = "sums_mean"


@dataclass(frozen=True, slots=True)
class VarOfSums(_OfSums):
    """From whole sums: the biased variance, that of the squares less the mean's square."""

    kernel: ClassVar[str] = "sums_var"
