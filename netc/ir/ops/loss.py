"""Softmax with cross-entropy, in pieces that can be split by batch or by class.

With m the row maximum, s the row sum of exp(x - m) and p the logit of the right class, the loss of
a row is m + log s - p; where targets are more than one class (smoothed labels, those of mixed
images) p is the mean of the logits that they weigh. Under a class split m, s and p are partial:
three small all-reduces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from netc.ir.ops.base import Op, Site
from netc.ir.types import TensorType, summed


@dataclass(frozen=True, slots=True)
class _Row(Op):
    def infer(self, *operands: TensorType) -> TensorType:
        """One value a row."""
        return TensorType(summed(operands[0].dtype), operands[0].shape[:1])


@dataclass(frozen=True, slots=True)
class RowMax(_Row):
    """The maximum of every row; -inf of none."""

    kernel: ClassVar[str] = "row_max"
    reduction: ClassVar[str] = "max"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under a class split."""
        return "nk->n"


@dataclass(frozen=True, slots=True)
class RowSumExp(_Row):
    """From (x, m): the sum of exp(x - m) of every row."""

    kernel: ClassVar[str] = "row_sum_exp"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under a class split."""
        return "nk,n->n"


def _first_class(site: Site) -> dict[str, Any]:
    return {"first_class": site.operands[0].where[1]}


@dataclass(frozen=True, slots=True)
class RowPick(_Row):
    """From (x, labels): the logit of the right class, zero where another device holds it."""

    kernel: ClassVar[str] = "row_pick"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under a class split."""
        return "nk,n->n"

    def local(self, site: Site) -> dict[str, Any]:
        """The first class held."""
        return _first_class(site)


@dataclass(frozen=True, slots=True)
class RowPickSmoothed(RowPick):
    """From (x, labels): what a row's targets pick, (1 - smoothing) x of the right class and
    smoothing / classes of every class (Szegedy et al. 2016, section 7).
    """

    kernel: ClassVar[str] = "row_pick_smoothed"
    smoothing: float
    classes: int


@dataclass(frozen=True, slots=True)
class RowPickMixed(RowPickSmoothed):
    """From (x, labels, labels2, share): what a row's targets pick, of images that are mixed: share
    of the first label's smoothed targets and 1 - share of the second's (Zhang et al. 2018).
    """

    kernel: ClassVar[str] = "row_pick_mixed"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under a class split."""
        return "nk,n,n,n->n"


@dataclass(frozen=True, slots=True)
class RowArgmax(Op):
    """From (x, m): the lowest class that reaches the maximum, `classes` where none does."""

    kernel: ClassVar[str] = "row_argmax"
    reduction: ClassVar[str] = "min"
    classes: int

    def infer(self, *operands: TensorType) -> TensorType:
        """One class a row."""
        return TensorType("i64", operands[0].shape[:1])

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under a class split."""
        return "nk,n->n"

    def local(self, site: Site) -> dict[str, Any]:
        """The first class held."""
        return _first_class(site)


@dataclass(frozen=True, slots=True)
class CeLoss(Op):
    """From (m, s, p): sum of m + log s - p, divided by the global batch."""

    kernel: ClassVar[str] = "ce_loss"
    batch: int

    def infer(self, *operands: TensorType) -> TensorType:
        """A scalar."""
        return TensorType(operands[0].dtype, ())

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under a batch split."""
        return "n,n,n->"


@dataclass(frozen=True, slots=True)
class SoftmaxDx(Op):
    """From (x, labels, m, s): (exp(x - m) / s - onehot(labels)) / batch."""

    kernel: ClassVar[str] = "softmax_dx"
    batch: int

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of x."""
        return operands[0]

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Batch and classes."""
        return "nk,n,n,n->nk"

    def local(self, site: Site) -> dict[str, Any]:
        """The first class held."""
        return _first_class(site)


@dataclass(frozen=True, slots=True)
class SoftmaxDxSmoothed(SoftmaxDx):
    """From (x, labels, m, s): (exp(x - m) / s - targets) / batch, targets as RowPickSmoothed has
    them.
    """

    kernel: ClassVar[str] = "softmax_dx_smoothed"
    smoothing: float
    classes: int


@dataclass(frozen=True, slots=True)
class SoftmaxDxMixed(SoftmaxDxSmoothed):
    """From (x, labels, labels2, share, m, s): (exp(x - m) / s - targets) / batch, targets as
    RowPickMixed has them.
    """

    kernel: ClassVar[str] = "softmax_dx_mixed"

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Batch and classes."""
        return "nk,n,n,n,n,n->nk"


def _rows(site: Site) -> dict[str, Any]:
    return {"offset": site.operands[0].where, "rows": site.rows}


@dataclass(frozen=True, slots=True)
class CeLossMasked(CeLoss):
    """From (m, s, p, count): the undivided sum over global rows below count."""

    kernel: ClassVar[str] = "ce_loss_masked"
    hidden: ClassVar[tuple[str, ...]] = ("batch",)

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under a batch split."""
        return "n,n,n,->"

    def local(self, site: Site) -> dict[str, Any]:
        """Which global rows these are."""
        return _rows(site)


@dataclass(frozen=True, slots=True)
class Correct(Op):
    """From (argmax, labels, count): right answers among the global rows below count."""

    kernel: ClassVar[str] = "correct"
    hidden: ClassVar[tuple[str, ...]] = ("dtype",)
    dtype: str

    def infer(self, *operands: TensorType) -> TensorType:
        """A scalar, floating so that it can be summed like any other."""
        return TensorType(self.dtype, ())

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Partial under a batch split."""
        return "n,n,->"

    def local(self, site: Site) -> dict[str, Any]:
        """Which global rows these are."""
        return _rows(site)
