"""Weight updates, accumulation and initial values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from netc.ir.ops.base import Op, Site
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class _Update(Op):
    alias: ClassVar[int | None] = 0
    hidden: ClassVar[tuple[str, ...]] = ("dims",)
    dims: str
    """Labels of the tensor in its layer's letters."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The tensor that is overwritten."""
        return operands[0]

    def _labels(self, tensors: int, scalars: int = 0) -> str:
        return ",".join([self.dims] * tensors + [""] * scalars) + "->" + self.dims


@dataclass(frozen=True, slots=True)
class SgdVelocity(_Update):
    """From (v, w, g, lr): momentum v - lr (g + scale decay w).

    The learning rate is inside the velocity, as in Krizhevsky et al. 2012, section 5.
    """

    kernel: ClassVar[str] = "sgd_velocity"
    momentum: float
    decay: float
    scale: float = 1.0
    """The share of the batch behind g: below one where weights are updated every round."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return self._labels(3, scalars=1)


@dataclass(frozen=True, slots=True)
class SgdApply(_Update):
    """From (w, v): w + v."""

    kernel: ClassVar[str] = "sgd_apply"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return self._labels(2)


@dataclass(frozen=True, slots=True)
class Accumulate(_Update):
    """From (acc, x): acc + x, for results that several rounds add up."""

    kernel: ClassVar[str] = "accumulate"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the tensor."""
        return self._labels(2)


@dataclass(frozen=True, slots=True)
class Cast(Op):
    """A weight in the data type that products are computed in."""

    kernel: ClassVar[str] = "cast"
    hidden: ClassVar[tuple[str, ...]] = ("dims", "dtype")
    dims: str
    """Labels of the weight in its layer's letters."""
    dtype: str

    def infer(self, *operands: TensorType) -> TensorType:
        """The same shape."""
        return replace(operands[0], dtype=self.dtype)

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return f"{self.dims}->{self.dims}"


@dataclass(frozen=True, slots=True)
class _Init(Op):
    """From the tensor to fill, whose storage the result takes over."""

    alias: ClassVar[int | None] = 0
    unread: ClassVar[tuple[int, ...]] = (0,)
    hidden: ClassVar[tuple[str, ...]] = ("dims", "type")
    dims: str
    type: TensorType

    def infer(self, *operands: TensorType) -> TensorType:
        """As declared."""
        return self.type


@dataclass(frozen=True, slots=True)
class InitNormal(_Init):
    """From (w, seed): a normal distribution of zero mean, keyed by the global element."""

    kernel: ClassVar[str] = "init_normal"
    std: float
    key: int

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return f"{self.dims},->{self.dims}"

    def local(self, site: Site) -> dict[str, Any]:
        """Which global elements these are."""
        return {"shape": site.type.shape, "offset": site.result.where}


@dataclass(frozen=True, slots=True)
class InitConstant(_Init):
    """From the tensor to fill: a constant."""

    kernel: ClassVar[str] = "init_constant"
    value: float

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return f"{self.dims}->{self.dims}"
