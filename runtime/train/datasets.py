"""Data sets by name, and the protocol they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..io.problems import data_error
from .calls import call
from .cifar import cifar10
from .digits import digits
from .idx import idx
from .imagefolder import imagefolder
from .images import Split


class Dataset(Protocol):
    """Labelled images in two splits. A value: it names files, and reads them when asked.

    `load(split, indices, dtype)` returns images (len(indices), C, H, W) of `dtype` and labels
    (len(indices),), int64, of exactly these indices of the split, in this order; it reads no other
    image, so each rank loads only its slice. Pixels have about zero mean and unit variance.
    It raises DataError (E066) where an image cannot be decoded.
    """

    @property
    def name(self) -> str:
        """The word that names it in a recipe: 'digits'."""

    @property
    def description(self) -> str:
        """What it is, and what is held out for testing, in one sentence."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names; a label is an index into them."""

    @property
    def train_size(self) -> int:
        """Number of training images."""

    @property
    def test_size(self) -> int:
        """Number of held-out images."""

    def load(
        self, split: Split, indices: Sequence[int] | NDArray[np.int64], dtype: DTypeLike
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Images and labels of `indices`, each in range(train_size) or range(test_size)."""


DATASETS: dict[str, Callable[..., Dataset]] = {
    "digits": digits,
    "idx": idx,
    "cifar10": cifar10,
    "imagefolder": imagefolder,
}


def open_dataset(
    name: str,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    image_shape: tuple[int, ...],
    classes: int,
) -> Dataset:
    """The data set that a recipe's `data name(*args, **kwargs)` means, checked against a network.

    `image_shape` is the network's input (C, H, W), `classes` the number of its outputs. An
    imagefolder without a size takes the network's height. Relative folders start at the working
    directory. Raises DataError, E060 to E067.
    """
    defaults = {"size": image_shape[1]} if name == "imagefolder" else {}
    dataset = call("data set", DATASETS, name, args, {**defaults, **kwargs})
    _check_image_shape(dataset, tuple(image_shape))
    _check_classes(dataset, classes)
    return dataset


def _check_image_shape(dataset: Dataset, wanted: tuple[int, ...]) -> None:
    if dataset.image_shape == wanted:
        return
    have, need = _by(dataset.image_shape), _by(wanted)
    raise data_error(
        "E067",
        f"the network takes {need} images, but data set '{dataset.name}' has {have}.",
        f"write 'input image {have}' in the network, or choose other data",
    )


def _check_classes(dataset: Dataset, wanted: int) -> None:
    have = len(dataset.classes)
    if have == wanted:
        return
    raise data_error(
        "E067",
        f"the network tells {wanted:,} classes apart, but data set '{dataset.name}' has {have:,}.",
        f"give the network's last layer {have} outputs, or choose other data",
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
