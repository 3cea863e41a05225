"""Maximum and average pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from netc.ir.ops.base import Op, ShapeError, Site, elementwise
from netc.ir.ops.windows import RESULT, Pad, Windowed, window_extent
from netc.ir.types import TensorType

MOST_PLACES = 255
"""Pixels of a window whose places fit into a byte, with one more value for none."""


def _counts(extent: int, size: int, stride: int, ends: tuple[int, ...]) -> tuple[int, int]:
    """Number of windows along one dimension: whole ones, and with the last partial one where it
    starts inside the padded input.
    """
    before, after = ends
    room = extent + before + after - size
    most = math.ceil(room / stride) + 1
    whole = room // stride + 1 if room >= 0 else 0
    return whole, most - 1 if (most - 1) * stride >= extent + before else most


@dataclass(frozen=True, slots=True)
class _Pool(Windowed):
    size: tuple[int, int]

    def window(self, operands: Sequence[TensorType]) -> tuple[int, int]:
        """Height and width."""
        return self.size

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """One operation an element of every window."""
        return math.prod(operands[-1]) * math.prod(self.size)

    def extents(self, x: TensorType, i: int) -> tuple[int, int]:
        """Number of windows along height (0) or width (1): see `_counts`."""
        return _counts(x.shape[2 + i], self.size[i], self.stride[i], self.pad[2 * i :][:2])

    def check_pooled(self, x: TensorType, y: TensorType) -> None:
        """Raise ShapeError where y is not what comes of pooling x, partial windows or not."""
        for i in (0, 1):
            if y.shape[2 + i] not in self.extents(x, i):
                raise ShapeError(f"windows over {x} do not make {y}")


@dataclass(frozen=True, slots=True)
class _Forward(_Pool):
    ceil: bool
    """True: a last partial window counts where it starts inside the padded input."""
    hidden: ClassVar[tuple[str, ...]] = ("ceil",)

    def infer(self, *operands: TensorType) -> TensorType:
        """N C P Q."""
        (x,) = operands
        for i in (0, 1):
            window_extent(x.shape[2 + i], self.size[i], self.stride[i], *self.pad[2 * i :][:2])
        extents = (self.extents(x, i)[self.ceil] for i in (0, 1))
        return TensorType(x.dtype, (*x.shape[:2], *extents))

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Each channel by itself."""
        return self.divided("nkHW->nkhw", operands)

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
class InsideMean(Op):
    """From means over windows with their padding: those over the pixels inside the image alone.

    Both divide the same sums, so it scales each mean; it is its own adjoint.
    """

    kernel: ClassVar[str] = "inside_mean"
    inplace: ClassVar[tuple[int, ...]] = (0,)
    stride: tuple[int, int]
    around: Pad
    """The padding that the means count."""
    size: tuple[int, int]
    image: tuple[int, int]
    """Height and width of what is pooled, in whole."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The operand's own type."""
        (x,) = operands
        if x.rank != 4:
            raise ShapeError(f"windows of {x}")
        return x

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """Any dimension: a mean's share depends on its place in the whole only."""
        return elementwise(operands, 1)

    def local(self, site: Site) -> dict[str, Any]:
        """Which means these are."""
        return {"shape": site.type.shape, "offset": site.result.where}

    def check_means(self, shape: tuple[int, ...]) -> None:
        """Raise ShapeError where windows are another number than those of the whole, or one of
        them has no pixel inside.
        """
        for i in (0, 1):
            ends, count = self.around[2 * i :][:2], shape[2 + i]
            if count not in _counts(self.image[i], self.size[i], self.stride[i], ends):
                raise ShapeError(f"there are other windows over {self.image} than {shape}")
            if max(ends) >= self.size[i]:
                raise ShapeError(f"windows of {self.image} hold padding only")


@dataclass(frozen=True, slots=True)
class MaxPoolDx(_Pool):
    """From (x, y, dy): the first maximum of a window gets its gradient.

    It reads whole images; where height or width is split, places are noted instead.
    """

    kernel: ClassVar[str] = "maxpool_dx"
    windows: ClassVar[int] = 1

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of x."""
        x, y, dy = operands
        self.check_pooled(x, y)
        self.check_pooled(x, dy)
        return x

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As forward."""
        return "nk..,nk..,nk..->nk.."


@dataclass(frozen=True, slots=True)
class MaxPoolPlaces(_Pool):
    """From (x, y): which pixel of each window is the first that has its maximum, row by row.

    A byte for each; the number of a window's pixels where none has it. Places in a part of the
    image are those in all of it.
    """

    kernel: ClassVar[str] = "maxpool_places"
    relu: bool
    """Whether x comes of a relu: then a maximum of 0 has no place."""

    def infer(self, *operands: TensorType) -> TensorType:
        """A byte for each element of y."""
        x, y = operands
        self.check_pooled(x, y)
        if math.prod(self.size) > MOST_PLACES:
            raise ShapeError(f"a window of {math.prod(self.size)} pixels has too many for a byte")
        return TensorType("u8", y.shape)

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As forward."""
        return self.divided("nkHW,nkhw->nkhw", operands)

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """Taking the maximum finds its place."""
        return 0


@dataclass(frozen=True, slots=True)
class MaxPoolPlacesDx(_Pool):
    """From (places, dy): as `MaxPoolDx`, of windows whose maxima have places."""

    kernel: ClassVar[str] = "maxpool_places_dx"
    image: ClassVar[int] = RESULT
    windows: ClassVar[int] = 0
    hidden: ClassVar[tuple[str, ...]] = ("extent",)
    extent: tuple[int, int]
    """Height and width of the input."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of the image."""
        places, dy = operands
        if places != TensorType("u8", dy.shape, places.units):
            raise ShapeError(f"{places} are no places of {dy}")
        x = TensorType(dy.dtype, (*dy.shape[:2], *self.extent))
        self.check_pooled(x, dy)
        return x

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As forward."""
        return self.divided("nkHW,nkHW->nkhw", operands)


@dataclass(frozen=True, slots=True)
class AvgPoolDx(_Pool):
    """From dy."""

    kernel: ClassVar[str] = "avgpool_dx"
    image: ClassVar[int] = RESULT
    windows: ClassVar[int] = 0
    hidden: ClassVar[tuple[str, ...]] = ("extent",)
    extent: tuple[int, int]
    """Height and width of the input."""

    def infer(self, *operands: TensorType) -> TensorType:
        """The shape of the pooled input."""
        dy = operands[0]
        x = TensorType(dy.dtype, (*dy.shape[:2], *self.extent))
        self.check_pooled(x, dy)
        return x

    def labels(self, operands: tuple[TensorType, ...]) -> str:
        """As forward."""
        return self.divided("nkHW->nkhw", operands)
