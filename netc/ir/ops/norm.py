"""Local response normalization and batch normalization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netc.ir.ops.base import Op, Site, letters
from netc.ir.types import TensorPart, TensorType, WindowReach, difference, summed, units_of


@dataclass(frozen=True, slots=True)
class _Lrn(Op):
    size: int
    alpha: float
    beta: float
    k: float

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of x."""
        return operands[0]

    @property
    def sides(self) -> tuple[int, int]:
        """Channels before and behind its own that each sum has."""
        return self.size // 2, (self.size - 1) // 2

    def local(self, site: Site) -> dict[str, Any]:
        """Where the device's own channels begin in its part of each operand; how many there are in
        the whole.
        """
        inside = tuple(_distance(part, site.result) for part in site.operands)
        return {"inside": inside, "whole": site.type.shape[1]}


def _distance(part: TensorPart, result: TensorPart) -> int:
    inside = difference(result.where[1], part.where[1])
    assert isinstance(inside, int), "devices of a class have channels in different places"
    return inside


@dataclass(frozen=True, slots=True)
class Lrn(_Lrn):
    """x / (k + alpha * sum of squares over `size` channels)^beta; Krizhevsky et al. 2012, 3.3."""

    kernel: ClassVar[str] = "lrn"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """The sum runs across channels."""
        return "nKhw->nkhw"

    def reach(self, letter: str, operand: int, operands: tuple[TensorType, ...]) -> WindowReach:
        """The channels of a sum."""
        before, after = self.sides
        return WindowReach(1, 1, -before, after)


@dataclass(frozen=True, slots=True)
class LrnDx(_Lrn):
    """From (x, dy)."""

    kernel: ClassVar[str] = "lrn_dx"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As forward."""
        return "nKhw,nKhw->nkhw"

    def reach(self, letter: str, operand: int, operands: tuple[TensorType, ...]) -> WindowReach:
        """Of dy the channels whose sums have one of the device's own; of x what those sum up."""
        before, after = self.sides
        both = before + after
        return WindowReach(1, 1, -after, before) if operand else WindowReach(1, 1, -both, both)


@dataclass(frozen=True, slots=True)
class _Statistic(Op):
    def infer(self, *operands: TensorType) -> TensorType:
        """K."""
        x = operands[0]
        return TensorType(summed(x.dtype), (x.shape[1],), units_of(x.unit(1)))


@dataclass(frozen=True, slots=True)
class BnMean(_Statistic):
    """Sum over batch, height and width, divided by the global `count`."""

    kernel: ClassVar[str] = "bn_mean"
    count: int

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under every label but `k`, so a batch split exchanges exact statistics."""
        return f"{letters(operands[0].rank)}->k"


@dataclass(frozen=True, slots=True)
class BnVar(_Statistic):
    """From (x, mean): the biased variance."""

    kernel: ClassVar[str] = "bn_var"
    count: int

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the mean."""
        return f"{letters(operands[0].rank)},k->k"


@dataclass(frozen=True, slots=True)
class BnNorm(Op):
    """From (x, mean, var, gamma, beta): gamma (x - mean) / sqrt(var + eps) + beta."""

    kernel: ClassVar[str] = "bn_norm"
    inplace: ClassVar[tuple[int, ...]] = (0,)
    eps: float

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of x."""
        return operands[0]

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Elementwise, with statistics along the channels."""
        each = letters(operands[0].rank)
        return f"{each},k,k,k,k->{each}"


@dataclass(frozen=True, slots=True)
class BnDgamma(_Statistic):
    """From (x, mean, var, dy)."""

    kernel: ClassVar[str] = "bn_dgamma"
    eps: float

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the statistics."""
        each = letters(operands[0].rank)
        return f"{each},k,k,{each}->k"


@dataclass(frozen=True, slots=True)
class BnDx(Op):
    """From (x, mean, var, gamma, dgamma, dbeta, dy), through the batch statistics."""

    kernel: ClassVar[str] = "bn_dx"
    inplace: ClassVar[tuple[int, ...]] = (6,)
    eps: float
    count: int

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of x."""
        return operands[0]

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Elementwise, with sums along the channels."""
        each = letters(operands[0].rank)
        return f"{each},k,k,k,k,k,{each}->{each}"


@dataclass(frozen=True, slots=True)
class BnRunning(Op):
    """From (running, value): (1 - momentum) running + momentum correction value, in place."""

    kernel: ClassVar[str] = "bn_running"
    alias: ClassVar[int | None] = 0
    momentum: float
    correction: float
    """N / (N - 1) for the variance, so that the running one is unbiased; else 1."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of the running statistic."""
        return operands[0]

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Along the channels."""
        return "k,k->k"
