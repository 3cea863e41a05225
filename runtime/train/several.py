"""Data sets for networks with several inputs: one data set an input, which share their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..io.problems import data_error
from .images import Shape, Split
from .windows import Window


class InputImages(Protocol):
    """Labelled images for one input: what `datasets.Dataset` has besides its name. A data set's
    examples are such, of one input or of several.
    """

    @property
    def image_shape(self) -> Shape:
        """(C, H, W) of every image; for several inputs that of `SeveralInputs`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, text on one line each; a label is an index into them."""

    @property
    def mean(self) -> tuple[float, ...]:
        """The value that becomes 0, one for all channels or one a channel; in units of a byte."""

    @property
    def std(self) -> tuple[float, ...]:
        """The distance from it that becomes 1; in units of a byte."""

    @property
    def train_size(self) -> int:
        """Number of training images."""

    @property
    def test_size(self) -> int:
        """Number of held-out images."""

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Images and labels of `indices`, each in range(train_size) or range(test_size)."""


@dataclass(frozen=True, slots=True)
class SeveralInputs:
    """A data set whose examples are an image an input. See `datasets.Dataset`.

    An example is one array, as those of other data sets are: the pixels of its images, flat, one
    after the other in the order of the inputs. `Session` takes it apart again.
    """

    name: str
    """The word that names it in a recipe."""
    description: str
    """What it is, and what is held out, in one sentence."""
    parts: tuple[InputImages, ...]
    """What fills each input; labels and numbers of images are those of the first."""

    @property
    def inputs(self) -> int:
        """How many inputs of a network it fills."""
        return len(self.parts)

    @property
    def image_shape(self) -> Shape:
        """(pixels, 1, 1) of every example."""
        return flat_shape([part.image_shape for part in self.parts])

    @property
    def mean(self) -> tuple[float, ...]:
        """As the first part."""
        return self.parts[0].mean

    @property
    def std(self) -> tuple[float, ...]:
        """As the first part."""
        return self.parts[0].std

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names; a label is an index into them."""
        return self.parts[0].classes

    @property
    def train_size(self) -> int:
        """Number of training examples."""
        return self.parts[0].train_size

    @property
    def test_size(self) -> int:
        """Number of held-out examples."""
        return self.parts[0].test_size

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Examples (len(indices), pixels, 1, 1) and labels; there are no `windows` on several."""
        assert windows is None, "what is augmented has one input"
        loaded = [part.load(split, indices, dtype) for part in self.parts]
        flat = [images.reshape(len(images), math.prod(images.shape[1:])) for images, _ in loaded]
        return np.concatenate(flat, axis=1)[:, :, None, None], loaded[0][1]


def flat_shape(shapes: Sequence[Shape]) -> Shape:
    """The shape of an example with images of these shapes."""
    return shapes[0] if len(shapes) == 1 else (sum(map(math.prod, shapes)), 1, 1)


def check_augmented(inputs: int, augmented: bool) -> None:
    """DataError (E067) where images of several inputs are to be augmented."""
    if inputs > 1 and augmented:
        message = f"the recipe augments images, and the network has {inputs} inputs of them."
        raise data_error("E067", message, "leave it out, with '--set train.augment='")
