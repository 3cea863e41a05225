"""Operations without operands: inputs, weights, state and scalars."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from netc.ir.ops.base import Op
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class SourceOp(Op):
    """A value that exists before the step begins."""

    def infer(self, *operands: TensorType) -> TensorType:
        """Never asked: a source's type is given with its node."""
        raise AssertionError("a source has no operands to infer from")

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """Nothing is computed."""
        return 0


@dataclass(frozen=True, slots=True)
class Input(SourceOp):
    """A batch of images or labels, written by the runtime before every step."""

    kernel: ClassVar[str] = "input"
    dims: str
    """Its labels: "n.hw" of images, "n" of labels."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Split by the batch; images by height or width too."""
        return self.dims


@dataclass(frozen=True, slots=True)
class Scalar(SourceOp):
    """A number on every device: step, seed, learning rate, count of valid examples."""

    kernel: ClassVar[str] = "scalar"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Never split."""
        return ""


@dataclass(frozen=True, slots=True)
class Parameter(SourceOp):
    """A trained weight with its initial distribution."""

    kernel: ClassVar[str] = "parameter"
    dims: str
    """Its labels in the layer's letters, such as "kc.."."""
    std: float = 0.0
    """Standard deviation of the initial values, drawn from a normal distribution."""
    value: float = 0.0
    """Initial value where `std` is zero."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As its layer is split."""
        return self.dims


@dataclass(frozen=True, slots=True)
class State(SourceOp):
    """A tensor kept from step to step that is not trained: an optimizer's, running statistics."""

    kernel: ClassVar[str] = "state"
    dims: str
    """Its labels in the layer's letters."""
    value: float = 0.0
    """Initial value."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As its layer is split."""
        return self.dims


@dataclass(frozen=True, slots=True)
class Averaged(State):
    """A moving average of a weight, kept from step to step."""

    kernel: ClassVar[str] = "averaged"
    weight: str = field(kw_only=True)
    """The weight's name, whose initial values it has too."""
