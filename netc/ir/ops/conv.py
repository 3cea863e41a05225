"""Convolution and matrix product, forward and adjoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from netc.ir.ops.base import Op, ShapeError, Site
from netc.ir.ops.windows import RESULT, Windowed, window_extent
from netc.ir.types import TensorType, units_of


@dataclass(frozen=True, slots=True)
class Convolution(Windowed):
    """A convolution, or one of its gradients."""

    hidden: ClassVar[tuple[str, ...]] = ("by_groups",)
    filters: ClassVar[int] = 1
    """The operand that has the filters, or `RESULT`."""
    groups: int
    by_groups: bool = field(default=False, kw_only=True)
    """Whether filters split by `k` are whole groups, of whose channels each device has its own."""

    @property
    def channels(self) -> str:
        """The label of the image's channels. Those of a grouped convolution differ from filter to
        filter: there is no `c`; `g` is divided where filters are, if these are whole groups.
        """
        return "g" if self.by_groups else self.own

    @property
    def own(self) -> str:
        """The label of the filters' channels."""
        return "c" if self.groups == 1 and not self.by_groups else "."

    def local(self, site: Site) -> dict[str, Any]:
        """The device's padding, and which filters of how many it has; by groups, those are all that
        there are.
        """
        own = (*site.operands, site.result)[self.filters]
        whole = (*site.operand_types, site.type)[self.filters].shape[0]
        told = Windowed.local(self, site)
        if self.by_groups:
            groups = max(own.shape[0] * self.groups // whole, 1)
            return told | {"first_filter": 0, "filters": own.shape[0], "groups": groups}
        return told | {"first_filter": own.where[0], "filters": whole}

    def window(self, operands: Sequence[TensorType]) -> tuple[int, int]:
        """Height and width of the filters."""
        height, width = operands[1].shape[2:]
        return height, width

    def _flops(self, images: tuple[int, ...], filters: tuple[int, ...], held: int) -> int:
        """2 N K C/g R S P Q of the part held; `held` input channels of a filter are here."""
        return 2 * math.prod(images) * held * math.prod(filters[2:])

    def _check_adjoint(self, x: TensorType, w: TensorType, dy: TensorType) -> None:
        """Raise ShapeError where the convolution of x and w has not the shape of dy."""
        if 0 in dy.shape[2:]:
            # No windows, of no rows: there is nothing to slide over.
            w = TensorType(w.dtype, (*w.shape[:2], 1, 1))
            x, dy = (TensorType(t.dtype, (*t.shape[:2], 1, 1)) for t in (x, dy))
            y = Conv((1, 1), (0, 0, 0, 0), self.groups).infer(x, w)
        else:
            y = Conv(self.stride, self.pad, self.groups).infer(x, w)
        if y.shape != dy.shape:
            raise ShapeError(f"the gradient of {y} is no {dy}")


@dataclass(frozen=True, slots=True)
class Conv(Convolution):
    """y[n,k,p,q] = sum over c,r,s of x[n,c,p*sh+r,q*sw+s] w[k,c,r,s]."""

    kernel: ClassVar[str] = "conv"

    def infer(self, *operands: TensorType) -> TensorType:
        """Images N C H W and filters K C/groups R S give N K P Q."""
        x, w = operands
        if x.shape[1] != w.shape[1] * self.groups:
            raise ShapeError(
                f"{x.shape[1]} input channels do not fit filters over {w.shape[1]} "
                f"in {self.groups} groups"
            )
        extents = [
            window_extent(
                x.shape[2 + i], w.shape[2 + i], self.stride[i], *self.pad[2 * i : 2 * i + 2]
            )
            for i in (0, 1)
        ]
        return TensorType(x.dtype, (x.shape[0], w.shape[0], *extents))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Input channels are summed up."""
        return self.divided(f"n{self.channels}HW,k{self.own}..->nkhw", operands)

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """2 N K C/g R S P Q."""
        return self._flops(result, operands[1], operands[1][1])


@dataclass(frozen=True, slots=True)
class ConvDx(Convolution):
    """The gradient of a convolution's input from (dy, w)."""

    kernel: ClassVar[str] = "conv_dx"
    image: ClassVar[int] = RESULT
    windows: ClassVar[int] = 0
    hidden: ClassVar[tuple[str, ...]] = ("extent", "by_groups")
    extent: tuple[int, int]
    """Height and width of the input."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of the convolution's input."""
        dy, w = operands
        dx = TensorType(dy.dtype, (dy.shape[0], w.shape[1] * self.groups, *self.extent))
        self._check_adjoint(dx, w, dy)
        return dx

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """The convolution's labels, permuted."""
        return self.divided(f"nkHW,k{self.own}..->n{self.channels}hw", operands)

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """As the forward pass."""
        return self._flops(operands[0], operands[1], operands[1][1])


@dataclass(frozen=True, slots=True)
class ConvDw(Convolution):
    """The gradient of a convolution's filters from (x, dy)."""

    kernel: ClassVar[str] = "conv_dw"
    windows: ClassVar[int] = 1
    filters: ClassVar[int] = RESULT
    hidden: ClassVar[tuple[str, ...]] = ("extent", "by_groups")
    extent: tuple[int, int]
    """Height and width of a filter."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of the filters."""
        x, dy = operands
        shape = (dy.shape[1], x.shape[1] // self.groups, *self.extent)
        dw = TensorType(x.dtype, shape)
        self._check_adjoint(x, dw, dy)
        return dw

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """The convolution's labels, permuted."""
        return self.divided(f"n{self.channels}HW,nkhw->k{self.own}..", operands)

    def window(self, operands: Sequence[TensorType]) -> tuple[int, int]:
        """Height and width of the filters."""
        return self.extent

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """As the forward pass."""
        return self._flops(operands[1], result, result[1])


def _product_flops(operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
    """2 N K C: every size appears twice among the two operands and the result."""
    return 2 * math.isqrt(math.prod(operands[0]) * math.prod(operands[1]) * math.prod(result))


@dataclass(frozen=True, slots=True)
class Fc(Op):
    """y = x wT, with w of shape K C."""

    kernel: ClassVar[str] = "fc"

    def infer(self, *operands: TensorType) -> TensorType:
        """N C and K C give N K."""
        x, w = operands
        if x.rank != 2 or x.shape[1] != w.shape[1]:
            raise ShapeError(f"a product of {x} and weights {w}")
        return TensorType(x.dtype, (x.shape[0], w.shape[0]))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """All three sizes can be split."""
        return "nc,kc->nk"

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """2 N K C."""
        return _product_flops(operands, result)


@dataclass(frozen=True, slots=True)
class FcDx(Op):
    """dx = dy w."""

    kernel: ClassVar[str] = "fc_dx"

    def infer(self, *operands: TensorType) -> TensorType:
        """N K and K C give N C."""
        dy, w = operands
        return TensorType(dy.dtype, (dy.shape[0], w.shape[1]), units_of(1, w.unit(1)))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """The product's labels, permuted."""
        return "nk,kc->nc"

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """2 N K C."""
        return _product_flops(operands, result)


@dataclass(frozen=True, slots=True)
class FcDw(Op):
    """dw = dyT x."""

    kernel: ClassVar[str] = "fc_dw"

    def infer(self, *operands: TensorType) -> TensorType:
        """N C and N K give K C."""
        x, dy = operands
        return TensorType(x.dtype, (dy.shape[1], x.shape[1]), units_of(1, x.unit(1)))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """The product's labels, permuted."""
        return "nc,nk->kc"

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """2 N K C."""
        return _product_flops(operands, result)
