"""Maximum and average pooling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from netc.ir.ops.base import Op, ShapeError
from netc.ir.ops.conv import Pad, window_extent
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class _Pool(Op):
    size: tuple[int, int]
    stride: tuple[int, int]
    pad: Pad

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """One operation an element of every window."""
        return math.prod(operands[-1]) * math.prod(self.size)

    def _extent(self, x: TensorType, i: int, ceil: bool) -> int:
        """Number of windows along height (0) or width (1)."""
        size, (before, after) = x.shape[2 + i], self.pad[2 * i : 2 * i + 2]
        extent = window_extent(size, self.size[i], self.stride[i], before, after)
        if not ceil:
            return extent
        extent = math.ceil((size + before + after - self.size[i]) / self.stride[i]) + 1
        return extent - 1 if (extent - 1) * self.stride[i] >= size + before else extent

    def _check_pooled(self, x: TensorType, y: TensorType) -> None:
        """Raise ShapeError where y is not what comes of pooling x, partial windows or not."""
        for i in (0, 1):
            if y.shape[2 + i] not in (self._extent(x, i, False), self._extent(x, i, True)):
                raise ShapeError(f"windows over {x} do not make {y}")


@dataclass(frozen=True, slots=True)
class _Forward(_Pool):
    ceil: bool
    """True: a last partial window counts where it starts inside the padded input."""
    hidden: ClassVar[tuple[str, ...]] = ("ceil",)

    def infer(self, *operands: TensorType) -> TensorType:
        """N C P Q."""
        (x,) = operands
        extents = (self._extent(x, i, self.ceil) for i in (0, 1))
        return TensorType(x.dtype, (*x.shape[:2], *extents))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Windows overlap, so height and width would need a halo."""
        return "nk..->nk.."

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """One operation an element of every window."""
        return math.prod(result) * math.prod(self.size)


@dataclass(frozen=True, slots=True)
class MaxPool(_Forward):
    """The maximum of every window; padding never wins."""

    kernel: ClassVar[str] = "maxpool"


@dataclass(frozen=True, slots=True)
class AvgPool(_Forward):
    """The mean of every window, padding counted."""

    kernel: ClassVar[str] = "avgpool"


@dataclass(frozen=True, slots=True)
class MaxPoolDx(_Pool):
    """From (x, y, dy): the first maximum of a window gets its gradient."""

    kernel: ClassVar[str] = "maxpool_dx"

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of x."""
        x, y, dy = operands
        self._check_pooled(x, y)
        self._check_pooled(x, dy)
        return x

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As forward."""
        return "nk..,nk..,nk..->nk.."


@dataclass(frozen=True, slots=True)
class MaxPoolPlaces(Op):
    """From (x, y): which pixel of each window of 2x2 has its maximum, in a byte."""

    kernel: ClassVar[str] = "maxpool_places"
    relu: bool
    """Whether x comes of a relu: then a maximum of 0 has no place."""

    def infer(self, *operands: TensorType) -> TensorType:
        """A byte for each element of y."""
        x, y = operands
        if x.shape[2:] != tuple(2 * n for n in y.shape[2:]):
            raise ShapeError(f"windows of 2x2 over {x} do not make {y}")
        return TensorType("u8", y.shape)

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As forward."""
        return "nk..,nk..->nk.."

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """Taking the maximum finds its place."""
        return 0


@dataclass(frozen=True, slots=True)
class MaxPoolPlacesDx(_Pool):
    """From (places, dy): as `MaxPoolDx`, of windows whose maxima have places."""

    kernel: ClassVar[str] = "maxpool_places_dx"

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of the image."""
        places, dy = operands
        if (self.size, self.stride, self.pad) != ((2, 2), (2, 2), (0, 0, 0, 0)):
            raise ShapeError("maxima have places in windows of 2x2 only")
        if places != TensorType("u8", dy.shape):
            raise ShapeError(f"{places} are no places of {dy}")
        return TensorType(dy.dtype, (*dy.shape[:2], *(2 * n for n in dy.shape[2:])))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As forward."""
        return "nk..,nk..->nk.."


@dataclass(frozen=True, slots=True)
class AvgPoolDx(_Pool):
    """From dy."""

    kernel: ClassVar[str] = "avgpool_dx"
    hidden: ClassVar[tuple[str, ...]] = ("extent",)
    extent: tuple[int, int]
    """Height and width of the input."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of the pooled input."""
        dy = operands[0]
        x = TensorType(dy.dtype, (*dy.shape[:2], *self.extent))
        self._check_pooled(x, dy)
        return x

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As forward."""
        return "nk..->nk.."
