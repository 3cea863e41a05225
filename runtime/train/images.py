"""Images that lie as bytes in arrays or files: what digits, idx and cifar10 share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..io.problems import data_error
from .stored import Stored
from .windows import Window, seen

Split = Literal["train", "test"]
Shape = tuple[int, int, int]
"""(C, H, W)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a network takes, for data sets that are made to fit it."""

    image_shape: Shape
    """(C, H, W) of every image."""
    classes: int
    """How many classes it tells apart."""
    training: bool = True
    """Whether training images are wanted; else held-out ones are enough."""
    inputs: tuple[tuple[str, Shape], ...] = ()
    """Name and (C, H, W) of each input, where there are several; the first is of `image_shape`."""


@dataclass(frozen=True, slots=True, eq=False)
class SplitImages:
    """The images of one split, in one or more chunks (files), and their labels."""

    chunks: tuple[NDArray[np.uint8] | Stored, ...] = field(repr=False)
    """(n, C, H, W), in memory or in files; image i of the split is counted through them."""
    labels: NDArray[np.int64] = field(repr=False)
    """One class index an image."""

    def pixels(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images `rows`, copied; no other image is read. Raises DataError as `Stored`."""
        out = np.empty((len(rows), *self.chunks[0].shape[1:]), np.uint8)
        start = 0
        for chunk in self.chunks:
            here = (rows >= start) & (rows < start + len(chunk))
            if here.any():
                out[here] = chunk[rows[here] - start]
            start += len(chunk)
        return out


class _Labelled(Protocol):
    """Images of one split."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """One class index an image."""


class _Splits(Protocol):
    @property
    def train(self) -> _Labelled: ...
    @property
    def test(self) -> _Labelled: ...


class LabelledSplits:
    """What data sets say alike that keep the labels of both splits. See `datasets.Dataset`."""

    __slots__ = ()

    @property
    def inputs(self) -> int:
        """How many inputs of a network it fills."""
        return 1

    @property
    def train_size(self: _Splits) -> int:
        """Number of training images."""
        return len(self.train.labels)

    @property
    def test_size(self: _Splits) -> int:
        """Number of held-out images."""
        return len(self.test.labels)


@dataclass(frozen=True, slots=True, eq=False)
class ByteImages(LabelledSplits):
    """A data set of equally sized images of unsigned bytes. See `datasets.Dataset`."""

    name: str
    """The word that names it in a recipe."""
    description: str
    """What it is, and what is held out, in one sentence."""
    classes: tuple[str, ...]
    """The classes' names; a label is an index into them."""
    mean: tuple[float, ...]
    """The value that becomes 0, one for all channels or one a channel; in units of a byte."""
    std: tuple[float, ...]
    """The distance from it that becomes 1; in units of a byte."""
    train: SplitImages
    """The training images."""
    test: SplitImages
    """The held-out images."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train.chunks[0].shape[1:]
        return channels, height, width

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Images (len(indices), C, H, W), normalized, and labels of these indices of the split.

        With `windows`, one an image, what these show of them, scaled to H and W. Raises DataError
        (E061, E062) where a file is not as it was any more.
        """
        part = self.train if split == "train" else self.test
        rows = row_numbers(indices, len(part.labels))
        pixels = part.pixels(rows)
        if windows is not None:
            pixels = seen(pixels, windows)
        return normalize(pixels, self.mean, self.std, dtype), part.labels[rows]


def row_numbers(indices: Sequence[int] | NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """`indices` as an array; each must be one of `size` images."""
    rows = np.asarray(indices, np.int64)
    assert rows.ndim == 1 and np.all((rows >= 0) & (rows < size)), "an index is out of range"
    return rows


def normalize(
    pixels: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float], dtype: DTypeLike
) -> NDArray[Any]:
    """(pixels - mean) / std for images (n, C, H, W), with one mean and std or one a channel."""
    images = pixels.astype(dtype)
    images -= np.asarray(mean, dtype).reshape(-1, 1, 1)
    images /= np.asarray(std, dtype).reshape(-1, 1, 1)
    return images


DAMAGED = "the file is damaged, or has more classes than were announced"


def check_labels(
    labels: NDArray[np.int64], classes: int, source: object, hint: str = DAMAGED
) -> None:
    """DataError (E064) where a label is no index of a class; `source` is the file to name."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong) == 0:
        return
    raise data_error(
        "E064",
        f"image {wrong[0]:,} of '{source}' has label {labels[wrong[0]]}, "
        f"but the {classes:,} classes are 0 to {classes - 1}.",
        hint,
    )
