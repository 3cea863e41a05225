"""Arrays, and the facts about a convolution that choose a kernel."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
NOTHING: Array = np.zeros(0, np.float32)
"""Stands for an array that is not there."""


def up(number: int, unit: int) -> int:
    """Round up to a multiple."""
    return -(-number // unit) * unit


@dataclass(frozen=True, slots=True)
class ConvShape:
    """The shapes and attributes of one convolution; all groups are whole."""

    images: int
    channels: int
    filters: int
    image: tuple[int, int]
    """(height, width) of the input."""
    size: tuple[int, int]
    """(height, width) of a filter."""
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    """(top, bottom, left, right)."""
    groups: int = 1

    @property
    def outputs(self) -> tuple[int, int]:
        """(height, width) of the output."""
        top, bottom, left, right = self.pad
        rows = (self.image[0] + top + bottom - self.size[0]) // self.stride[0] + 1
        columns = (self.image[1] + left + right - self.size[1]) // self.stride[1] + 1
        return rows, columns

    @property
    def flops(self) -> int:
        """Additions and multiplications of one pass, counted directly."""
        taps = self.size[0] * self.size[1] * self.channels // self.groups
        return 2 * self.images * self.filters * self.outputs[0] * self.outputs[1] * taps
