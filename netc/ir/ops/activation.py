"""Elementwise operations: bias, nonlinearities, dropout.

A nonlinearity is declared once, in `ACTIVATIONS`: its layer, its gradient, its ONNX operator, how
it is drawn and its tests follow. Each package of kernels has a table by the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from netc.ir.onnx import OnnxForm
from netc.ir.ops.base import Op, ShapeError, Site, elementwise, letters, same_shape
from netc.ir.types import TensorType, summed, units_of


@dataclass(frozen=True, slots=True)
class Bias(Op):
    """y = x + b along dimension 1."""

    kernel: ClassVar[str] = "bias"
    inplace: ClassVar[tuple[int, ...]] = (0,)

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of x."""
        x, b = operands
        if b.shape != (x.shape[1],):
            raise ShapeError(f"a bias {b} on {x}")
        return x

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Batch, channels and, on images, height and width."""
        each = letters(operands[0].rank)
        return f"{each},k->{each}"


@dataclass(frozen=True, slots=True)
class BiasDb(Op):
    """db = sum of dy over all dimensions but 1."""

    kernel: ClassVar[str] = "bias_db"

    def infer(self, *operands: TensorType) -> TensorType:
        """K."""
        x = operands[0]
        return TensorType(summed(x.dtype), (x.shape[1],), units_of(x.unit(1)))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Contracts all but the channels."""
        return f"{letters(operands[0].rank)}->k"


@dataclass(frozen=True, slots=True)
class _Unary(Op):
    inplace: ClassVar[tuple[int, ...]] = (0,)

    def infer(self, *operands: TensorType) -> TensorType:
        """The operand's own type."""
        return operands[0]

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Any dimension."""
        return elementwise(operands, 1)


@dataclass(frozen=True, slots=True)
class _UnaryDx(Op):
    """From (v, dy): v, the result or the operand, tells the slope."""

    inplace: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, *operands: TensorType) -> TensorType:
        """The operands' common type."""
        return same_shape(*operands)

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Any dimension."""
        return elementwise(operands, 2)


@dataclass(frozen=True, slots=True)
class Relu(_Unary):
    """max(x, 0)."""

    kernel: ClassVar[str] = "relu"


@dataclass(frozen=True, slots=True)
class ReluDx(_UnaryDx):
    """dy where y > 0."""

    kernel: ClassVar[str] = "relu_dx"


@dataclass(frozen=True, slots=True)
class Sigmoid(_Unary):
    """1 / (1 + exp(-x))."""

    kernel: ClassVar[str] = "sigmoid"


@dataclass(frozen=True, slots=True)
class SigmoidDx(_UnaryDx):
    """dy y (1 - y)."""

    kernel: ClassVar[str] = "sigmoid_dx"


@dataclass(frozen=True, slots=True)
class Tanh(_Unary):
    """tanh(x)."""

    kernel: ClassVar[str] = "tanh"


@dataclass(frozen=True, slots=True)
class TanhDx(_UnaryDx):
    """dy (1 - y^2)."""

    kernel: ClassVar[str] = "tanh_dx"


@dataclass(frozen=True, slots=True)
class Gelu(_Unary):
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2; Hendrycks and Gimpel 2016, section 2."""

    kernel: ClassVar[str] = "gelu"


@dataclass(frozen=True, slots=True)
class GeluDx(_UnaryDx):
    """From (x, dy): the result does not tell the slope, since two operands share it."""

    kernel: ClassVar[str] = "gelu_dx"


@dataclass(frozen=True, slots=True)
class Activation:
    """A nonlinearity: a layer without options or weights."""

    forward: Op
    """Its kernel's name is the word of the language."""
    gradient: Op
    """From (v, dy)."""
    slope: Literal["result", "operand"]
    """What v is. Where it is the result, the operand need not be kept."""
    onnx: OnnxForm


ACTIVATIONS: Mapping[str, Activation] = {
    each.forward.kernel: each
    for each in (
        Activation(Relu(), ReluDx(), "result", OnnxForm("Relu")),
        Activation(Sigmoid(), SigmoidDx(), "result", OnnxForm("Sigmoid")),
        Activation(Tanh(), TanhDx(), "result", OnnxForm("Tanh")),
        Activation(
            Gelu(), GeluDx(), "operand", OnnxForm("Gelu", (("approximate", "tanh"),), since=20)
        ),
    )
}
"""All nonlinearities by the word of the language."""


@dataclass(frozen=True, slots=True)
class Dropout(Op):
    """Inverted dropout of (x, seed, step); its own adjoint, since the mask is recomputed."""

    kernel: ClassVar[str] = "dropout"
    inplace: ClassVar[tuple[int, ...]] = (0,)
    rate: float
    """Probability that an element becomes zero; the others are scaled by 1 / (1 - rate)."""
    key: int
    """The layer's own stream of random numbers."""
    batch: int
    """Rows of the whole batch, of which a round sees some."""
    hidden: ClassVar[tuple[str, ...]] = ("batch",)

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of x."""
        return operands[0]

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Any dimension: the mask depends on the global index only."""
        return elementwise(operands, 1, scalars=2)

    def local(self, site: Site) -> dict[str, Any]:
        """Which global elements these are."""
        shape = (self.batch, *site.type.shape[1:])
        return {"shape": shape, "offset": site.result.where, "rows": site.rows}
