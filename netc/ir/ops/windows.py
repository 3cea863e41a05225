"""Windows that slide over height and width: what a split of these reads, and what pads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from netc.ir.ops.base import Op, ShapeError, Site
from netc.ir.types import Index, TensorType, WindowReach, difference, scaled

Pad = tuple[int, int, int, int]
"""Zeros added at top, bottom, left and right."""
RESULT = -1
"""Stands for the result where operands are numbered."""


def window_extent(size: int, window: int, stride: int, before: int, after: int) -> int:
    """Number of window positions along one dimension, the last partial one left out."""
    if window > size + before + after:
        padded = f" with its padding {before}+{after}" if before + after else ""
        raise ShapeError(
            f"a window of {window} is larger than its input of {size}{padded}",
            "take a smaller window, more padding, or less pooling and stride before it.",
        )
    return (size + before + after - window) // stride + 1


@dataclass(frozen=True, slots=True)
class Line:
    """Windows along one dimension."""

    size: int
    stride: int
    before: int
    """Elements of padding before the first."""
    after: int

    @property
    def reach(self) -> WindowReach:
        """What the windows read."""
        return WindowReach(self.stride, 1, -self.before, self.size - 1 - self.before)

    @property
    def readers(self) -> WindowReach:
        """Which windows read an element. Windows count as long as their stride, so that what is
        padding to a part of the image is never less than nothing.
        """
        return replace(self, size=max(self.size, self.stride)).reach.mirrored

    def local_pad(
        self, image: tuple[Index, int, int], windows: tuple[Index, int, int]
    ) -> tuple[int, int]:
        """The padding of a part of the image under some of the windows; each is given by where it
        begins, how much it is, and of how much.

        What a window has beyond the part counts as padding, up to the end of the padded image.
        """
        (x0, rows, height), (y0, count, outputs) = image, windows
        if (rows, count) == (height, outputs) or not rows or not count:
            return self.before, self.after
        before = difference(x0, scaled(y0, self.stride))
        assert isinstance(before, int), "devices of a class have windows in different places"
        before += self.before
        after = (count - 1) * self.stride + self.size - before - rows
        if isinstance(x0, int):
            after = min(after, height + self.after - x0 - rows)
        return before, max(after, 0)


@dataclass(frozen=True, slots=True)
class Windowed(Op):
    """An operation with windows over an image: between the image and one value a window."""

    image: ClassVar[int] = 0
    """The operand that is the image, or `RESULT`."""
    windows: ClassVar[int] = RESULT
    """The operand that has a value for each window, or `RESULT`."""
    stride: tuple[int, int]
    pad: Pad

    def window(self, operands: Sequence[TensorType]) -> tuple[int, int]:
        """Height and width of a window, from the types of the operands."""
        raise NotImplementedError

    def lines(self, operands: Sequence[TensorType]) -> tuple[Line, Line]:
        """The windows along height and width."""
        sizes, pad = self.window(operands), self.pad
        first, second = (Line(sizes[i], self.stride[i], *pad[2 * i : 2 * i + 2]) for i in (0, 1))
        return first, second

    def reach(self, letter: str, operand: int, operands: tuple[TensorType, ...]) -> WindowReach:
        """The rows or columns that windows read, or that a part of the image is read by."""
        line = self.lines(operands)["hw".index(letter)]
        return line.reach if operand == self.image else line.readers

    def divided(self, labels: str, operands: tuple[TensorType, ...]) -> str:
        """Labels without the height or width where a window may lie in padding alone: a part of
        the image that has nothing of it would be missing.
        """
        for letter, line in zip("hw", self.lines(operands), strict=True):
            if max(line.before, line.after) >= line.size:
                labels = labels.translate({ord(letter): ".", ord(letter.upper()): "."})
        return labels

    def local(self, site: Site) -> dict[str, Any]:
        """The padding of the device's part, and of what it is a part: by dimension the extents of
        the image and of its windows, and the padding.
        """
        types, parts = (*site.operand_types, site.type), (*site.operands, site.result)
        pad: list[int] = []
        whole = []
        for i, line in enumerate(self.lines(site.operand_types)):
            image, windows = (
                (parts[n].where[2 + i], parts[n].shape[2 + i], types[n].shape[2 + i])
                for n in (self.image, self.windows)
            )
            pad += line.local_pad(image, windows)
            whole.append((image[2], windows[2], line.before, line.after))
        return {"pad": tuple(pad), "whole": tuple(whole)}
