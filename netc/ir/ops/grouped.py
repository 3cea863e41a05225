"""Batch normalization by groups of images: each has its own mean and variance.

Group g is the images from g * group up, `group` of them, of the whole batch, whatever the devices.
What differs from batch normalization over the whole batch is that statistics have a row a group.
Each device has terms of the sums of all rows; where the images of every device are whole groups,
the pass split-groups says so (`apart`), and each has the rows of its own groups alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from netc.ir.ops.activation import BiasDb
from netc.ir.ops.base import Op, Site, letters
from netc.ir.ops.norm import BnMean
from netc.ir.types import TensorPart, TensorType, difference, scaled, summed, units_of

RESULT = -1
"""Stands for an operation's result among its operands."""


@dataclass(frozen=True, slots=True)
class ByGroups(Op):
    """What reads or makes statistics of groups; its first operand is images."""

    hidden: ClassVar[tuple[str, ...]] = ("apart",)
    rows: ClassVar[int] = RESULT
    """An operand that has a row a group, or `RESULT`."""
    group: int
    """Images of a group."""
    apart: bool = field(default=False, kw_only=True)
    """Whether images split by `n` are whole groups, of whose statistics each device has its own."""

    @property
    def each(self) -> str:
        """The labels of statistics."""
        return f"{'n' if self.apart else '.'}k"

    def local(self, site: Site) -> dict[str, Any]:
        """How many images of the groups whose statistics are here lie before the device's own."""
        return {"before": self.before(site.operands[0], (*site.operands, site.result)[self.rows])}

    def before(self, images: TensorPart, statistics: TensorPart) -> Any:
        """The same for a part of the images and one of the statistics."""
        return difference(images.where[0], scaled(statistics.where[0], self.group))


@dataclass(frozen=True, slots=True)
class GroupedStatistic(ByGroups):
    """A sum over the images of each group, height and width."""

    def infer(self, *operands: TensorType) -> TensorType:
        """A row a group, of K."""
        x = operands[0]
        shape = (-(-x.shape[0] // self.group), x.shape[1])
        return TensorType(summed(x.dtype), shape, units_of(1, x.unit(1)))


@dataclass(frozen=True, slots=True)
class GroupedMean(GroupedStatistic):
    """Sum over a group, height and width, divided by `count`, the elements of a group's channel."""

    kernel: ClassVar[str] = "grouped_mean"
    count: int

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under what is summed up."""
        return f"{letters(operands[0].rank)}->{self.each}"


@dataclass(frozen=True, slots=True)
class GroupedVar(GroupedStatistic):
    """From (x, mean): the biased variance."""

    kernel: ClassVar[str] = "grouped_var"
    count: int

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the mean."""
        return f"{letters(operands[0].rank)},{self.each}->{self.each}"


@dataclass(frozen=True, slots=True)
class GroupedNorm(ByGroups):
    """From (x, mean, var, gamma, beta): gamma (x - mean) / sqrt(var + eps) + beta."""

    kernel: ClassVar[str] = "grouped_norm"
    inplace: ClassVar[tuple[int, ...]] = (0,)
    rows: ClassVar[int] = 1
    eps: float

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of x."""
        return operands[0]

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Elementwise, with statistics along the channels."""
        x = letters(operands[0].rank)
        return f"{x},{self.each},{self.each},k,k->{x}"


@dataclass(frozen=True, slots=True)
class GroupedDgamma(GroupedStatistic):
    """From (x, mean, var, dy): each group's term of the gradient of gamma."""

    kernel: ClassVar[str] = "grouped_dgamma"
    eps: float

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the statistics."""
        x = letters(operands[0].rank)
        return f"{x},{self.each},{self.each},{x}->{self.each}"


@dataclass(frozen=True, slots=True)
class GroupedDbeta(GroupedStatistic):
    """From (dy): each group's term of the gradient of beta."""

    kernel: ClassVar[str] = "grouped_dbeta"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the statistics."""
        return f"{letters(operands[0].rank)}->{self.each}"


@dataclass(frozen=True, slots=True)
class GroupedDx(ByGroups):
    """From (x, mean, var, gamma, dgamma, dbeta, dy), with gradients by groups, through the
    statistics of the groups.
    """

    kernel: ClassVar[str] = "grouped_dx"
    inplace: ClassVar[tuple[int, ...]] = (6,)
    rows: ClassVar[int] = 1
    eps: float
    count: int

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of x."""
        return operands[0]

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Elementwise, with sums along the channels."""
        x, own = letters(operands[0].rank), self.each
        return f"{x},{own},{own},k,{own},{own},{x}->{x}"


@dataclass(frozen=True, slots=True)
class GroupsSum(BiasDb):
    """The sum over groups: a weight's gradient of the terms of each."""

    printed: ClassVar[str] = "groups_sum"
    hidden: ClassVar[tuple[str, ...]] = ("apart",)
    apart: bool = field(default=False, kw_only=True)
    """As in `ByGroups`."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial where each device has its own groups."""
        return f"{'n' if self.apart else '.'}k->k"


@dataclass(frozen=True, slots=True)
class GroupsMean(BnMean):
    """The mean over groups, `count` of them."""

    printed: ClassVar[str] = "groups_mean"
    hidden: ClassVar[tuple[str, ...]] = ("apart",)
    apart: bool = field(default=False, kw_only=True)
    """As in `ByGroups`."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the sum."""
        return f"{'n' if self.apart else '.'}k->k"


OF_GROUPS = ByGroups | GroupsSum | GroupsMean
"""Operations that have the flag `apart`."""
