"""Made-up images for a network of any shape: to try a training where there are no data.

A class is a pattern of fields that each have one value; an image is half its class's pattern and
half noise. So labels can be learned, and what was learned is worth nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netc.ir.datasets import SYNTHETIC
from netc.numbers import LARGEST, LARGEST_SIZE

from .calls import whole
from .images import Split, Wanted, normalize, row_numbers
from .several import SeveralInputs
from .windows import Window, seen

_FIELDS = 4
"""Of a pattern, along the height and along the width."""
_PATTERN, _NOISE = 0, {"train": 1, "test": 2}
"""What random numbers are for: the third of the four numbers of Philox's counter."""
_MEAN, _STD = 127.0, 52.25
"""Of two even numbers from 0 to 127 together."""


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A data set of images that are made when asked for. See `datasets.Dataset`."""

    image_shape: tuple[int, int, int]
    """(C, H, W) of every image."""
    classes: tuple[str, ...]
    """Their numbers; image i of a split is of class i modulo their count."""
    train_size: int
    """Number of training images."""
    test_size: int
    """Number of held-out images."""
    seed: int
    """Key of every random number."""
    input_number: int = 0
    """Of a network's inputs the one that it fills: each has random numbers of its own."""
    name: str = SYNTHETIC
    """The word that names it in a recipe."""

    @property
    def description(self) -> str:
        """What it is, and what is held out, in one sentence."""
        return (
            f"SYNTHETIC images, made up from seed {self.seed}, whose labels can be learned: "
            f"{self.train_size:,} training images, {self.test_size:,} held-out images"
        )

    @property
    def inputs(self) -> int:
        """How many inputs of a network it fills."""
        return 1

    @property
    def mean(self) -> tuple[float, ...]:
        """The value that becomes 0; in units of a byte."""
        return (_MEAN,)

    @property
    def std(self) -> tuple[float, ...]:
        """The distance from it that becomes 1; in units of a byte."""
        return (_STD,)

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Images (len(indices), C, H, W), normalized, and labels of these indices of the split.

        With `windows`, one an image, what these show of them, scaled to H and W.
        """
        rows = row_numbers(indices, self.train_size if split == "train" else self.test_size)
        labels = rows % len(self.classes)
        pixels = np.empty((len(rows), *self.image_shape), np.uint8)
        for image, row, label in zip(pixels, rows.tolist(), labels.tolist(), strict=True):
            noise = self._bytes(_NOISE[split], row, math.prod(self.image_shape))
            image[:] = (noise.reshape(self.image_shape) >> 1) + (self._pattern(label) >> 1)
        if windows is not None:
            pixels = seen(pixels, windows)
        return normalize(pixels, self.mean, self.std, dtype), labels

    def _pattern(self, label: int) -> NDArray[np.uint8]:
        """The fields of a class, over a whole image."""
        channels, height, width = self.image_shape
        fields = self._bytes(_PATTERN, label, channels * _FIELDS**2)
        rows, columns = (np.arange(n) * _FIELDS // n for n in (height, width))
        return fields.reshape(channels, _FIELDS, _FIELDS)[:, rows[:, None], columns]

    def _bytes(self, purpose: int, number: int, count: int) -> NDArray[np.uint8]:
        """Random bytes of their own for each purpose and number; the same on every machine."""
        key = np.array([self.seed, self.input_number], np.uint64)
        counter = np.array([0, 0, purpose, number], np.uint64)
        words = np.random.Philox(key=key, counter=counter).random_raw(-(-count // 8))
        return np.asarray(words).astype("<u8", copy=False).view(np.uint8)[:count]


def synthetic(
    wanted: Wanted, train: int = 1024, test: int = 256, seed: int = 0
) -> Synthetic | SeveralInputs:
    """So many training and held-out images, of the shapes and the classes that are wanted.

    Raises DataError (E060) where a number is none, or too large.
    """
    classes = tuple(map(str, range(wanted.classes)))
    sizes = (
        whole("'train' of 'synthetic'", train, 1, LARGEST_SIZE),
        whole("'test' of 'synthetic'", test, 1, LARGEST_SIZE),
        whole("'seed' of 'synthetic'", seed, 0, LARGEST),
    )
    first = Synthetic(wanted.image_shape, classes, *sizes)
    if not wanted.inputs:
        return first
    shapes = enumerate(shape for _, shape in wanted.inputs)
    parts = tuple(Synthetic(shape, classes, *sizes, number) for number, shape in shapes)
    return SeveralInputs(SYNTHETIC, first.description, parts)
