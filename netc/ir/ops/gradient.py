"""What is done with the gradients of all weights together, before any weight moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netc.ir.ops.base import Op
from netc.ir.types import TensorType, summed


@dataclass(frozen=True, slots=True)
class SquareSum(Op):
    """From (g): the sum of the squares of all elements, in the type of sums."""

    kernel: ClassVar[str] = "square_sum"
    hidden: ClassVar[tuple[str, ...]] = ("dims",)
    dims: str
    """Labels of the gradient in its layer's letters."""

    def infer(self, *operands: TensorType) -> TensorType:
        """A scalar."""
        return TensorType(summed(operands[0].dtype), ())

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial where the gradient is divided; squares of terms of a sum would be wrong."""
        return f"{self.dims}->"


@dataclass(frozen=True, slots=True)
class Clipped(Op):
    """From (g, s): g min(1, limit / (sqrt(s) + 1e-6)), s being the sum of squares of all gradients.

    Pascanu et al. 2013, algorithm 1; the 1e-6 is PyTorch's.
    """

    kernel: ClassVar[str] = "clipped"
    inplace: ClassVar[tuple[int, ...]] = (0,)
    hidden: ClassVar[tuple[str, ...]] = ("dims",)
    dims: str
    """Labels of the gradient in its layer's letters."""
    limit: float

    def infer(self, *operands: TensorType) -> TensorType:
        """The gradient's."""
        return operands[0]

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return f"{self.dims},->{self.dims}"
