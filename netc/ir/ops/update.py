"""Weight updates, accumulation and initial values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from netc.ir.ops.base import Op, Site
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Update(Op):
    """From (x, ...): the tensor x, overwritten."""

    alias: ClassVar[int | None] = 0
    hidden: ClassVar[tuple[str, ...]] = ("dims",)
    dims: str
    """Labels of the tensor in its layer's letters."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The tensor that is overwritten."""
        return operands[0]

    def in_round(self, share: float, turn: int, turns: int) -> Self:
        """The operation where weights are updated after each of `turns` rounds, in round `turn`,
        whose gradient comes of a share of the batch.
        """
        return self

    def _labels(self, tensors: int, scalars: int = 0) -> str:
        return ",".join([self.dims] * tensors + [""] * scalars) + "->" + self.dims


@dataclass(frozen=True, slots=True)
class SgdVelocity(Update):
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

    def in_round(self, share: float, turn: int, turns: int) -> Self:
        """The decay of a share."""
        return replace(self, scale=share)


@dataclass(frozen=True, slots=True)
class SgdApply(Update):
    """From (w, v): w + v."""

    kernel: ClassVar[str] = "sgd_apply"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return self._labels(2)


@dataclass(frozen=True, slots=True)
class _AdamMoment(Update):
    decay: float
    scale: float = field(default=1.0, kw_only=True)
    """The share of the batch behind g, whose mean over the share's examples is g / scale."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return self._labels(3)

    def in_round(self, share: float, turn: int, turns: int) -> Self:
        """Of the mean gradient of a share."""
        return replace(self, scale=share)


@dataclass(frozen=True, slots=True)
class AdamMoment1(_AdamMoment):
    """From (m, w, g): beta1 m + (1 - beta1) s, the running mean of s = g / scale + decay w.

    Kingma and Ba 2015, algorithm 1.
    """

    kernel: ClassVar[str] = "adam_moment1"
    beta1: float


@dataclass(frozen=True, slots=True)
class AdamMoment2(_AdamMoment):
    """From (v, w, g): beta2 v + (1 - beta2) s^2, the running mean of the squares."""

    kernel: ClassVar[str] = "adam_moment2"
    beta2: float


@dataclass(frozen=True, slots=True)
class AdamApply(Update):
    """From (w, m, v, lr, step): w - scale lr (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)
    + decoupled w), where t counts this weight's updates from 1.

    `decoupled` is the decay of Loshchilov and Hutter 2019, which no moment knows.
    """

    kernel: ClassVar[str] = "adam_apply"
    beta1: float
    beta2: float
    eps: float
    decoupled: float
    scale: float = 1.0
    """The share of the batch behind the gradient, and so of the rate."""
    turn: int = 0
    """How many updates of the same step come before: t = turns step + turn + 1."""
    turns: int = 1
    """Updates in a step."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return self._labels(3, scalars=2)

    def in_round(self, share: float, turn: int, turns: int) -> Self:
        """With a share of the rate, and every round's update counted."""
        return replace(self, scale=share, turn=turn, turns=turns)


@dataclass(frozen=True, slots=True)
class RmspropVelocity(Update):
    """From (v, r, w, g): momentum v + s / (sqrt(r) + eps), s = g / scale + decay w, where r is the
    running mean of squares, that of Adam with alpha for beta2.

    Hinton 2012, lecture 6e of Neural Networks for Machine Learning; the momentum is PyTorch's.
    """

    kernel: ClassVar[str] = "rmsprop_velocity"
    decay: float
    momentum: float
    eps: float
    scale: float = 1.0
    """The share of the batch behind g, whose mean over the share's examples is g / scale."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return self._labels(4)

    def in_round(self, share: float, turn: int, turns: int) -> Self:
        """By the mean gradient of a share."""
        return replace(self, scale=share)


@dataclass(frozen=True, slots=True)
class MomentumVelocity(Update):
    """From (v, w, g): momentum v + s, s = g / scale + decay w.

    The learning rate is outside the velocity, as in PyTorch's SGD.
    """

    kernel: ClassVar[str] = "momentum_velocity"
    decay: float
    momentum: float
    scale: float = 1.0
    """The share of the batch behind g, whose mean over the share's examples is g / scale."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return self._labels(3)

    def in_round(self, share: float, turn: int, turns: int) -> Self:
        """By the mean gradient of a share."""
        return replace(self, scale=share)


@dataclass(frozen=True, slots=True)
class NesterovApply(Update):
    """From (w, v, g, lr): w - scale lr (s + momentum v), s = g / scale + decay w.

    Nesterov's momentum as Sutskever et al. 2013 have it, in the form of PyTorch's SGD.
    """

    kernel: ClassVar[str] = "nesterov_apply"
    decay: float
    momentum: float
    scale: float = 1.0
    """The share of the batch behind g, and so of the rate."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return self._labels(3, scalars=1)

    def in_round(self, share: float, turn: int, turns: int) -> Self:
        """By the mean gradient of a share, with a share of the rate."""
        return replace(self, scale=share)


@dataclass(frozen=True, slots=True)
class VelocityApply(Update):
    """From (w, v, lr): w - scale lr v."""

    kernel: ClassVar[str] = "velocity_apply"
    scale: float = 1.0
    """The share of the batch behind the gradient, and so of the rate."""

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return self._labels(2, scalars=1)

    def in_round(self, share: float, turn: int, turns: int) -> Self:
        """With a share of the rate."""
        return replace(self, scale=share)


@dataclass(frozen=True, slots=True)
class Average(Update):
    """From (e, w, step): decay e + (1 - decay) w; w where step is 0.

    Polyak and Juditsky 1992; with the decay of `torch.optim.swa_utils.get_ema_multi_avg_fn`.
    """

    kernel: ClassVar[str] = "average"
    decay: float

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As the weight."""
        return self._labels(2, scalars=1)


@dataclass(frozen=True, slots=True)
class Accumulate(Update):
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
