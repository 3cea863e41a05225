"""Folders of pictures, one folder a class: train/<class>/** and val/<class>/**, or <class>/**."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netc.errors import escaped, listed
from netc.numbers import BELOW_ONE

from ..io.problems import data_error, folder
from .calls import number, text, truth
from .class_folders import LAYOUT, SPLITS, ClassFolders, Pictures, class_folders, skipped
from .images import LabelledSplits, Split, Wanted, normalize, row_numbers
from .listing import entries, is_folder, left_out
from .pictures import Preparation, Shape, check_channels, decode, fitting
from .windows import Window, centre

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
"""Of ImageNet's training images, red, green and blue, in units of a byte."""
_GREY = ((117.0,), (57.5,))
"""The same of grey, 0.299 red + 0.587 green + 0.114 blue."""
_KEPT = 224 / 256
"""The part of each side that the centre crop keeps (K. Simonyan, A. Zisserman, 2014)."""
_BOTH = (
    f"{LAYOUT}; of a folder that holds the classes' folders, validation=0.1 holds out a tenth: "
    'imagefolder("folder", validation=0.1)'
)


@dataclass(frozen=True, slots=True, eq=False)
class ImageFolder(LabelledSplits):
    """A data set of picture files, decoded when asked for. See `datasets.Dataset`."""

    description: str
    """Where it is, and what is held out, in one sentence."""
    classes: tuple[str, ...]
    """The names of the folders, sorted; a label is an index into them."""
    image_shape: Shape
    """(C, H, W) of every image: one channel, grey, or three."""
    pictures: Preparation
    """How files become images."""
    train: Pictures
    """The training images."""
    test: Pictures
    """The held-out images."""
    name: str = "imagefolder"
    """The word that names it in a recipe."""

    @property
    def mean(self) -> tuple[float, ...]:
        """The value that becomes 0, one a channel; in units of a byte."""
        return self.pictures.mean

    @property
    def std(self) -> tuple[float, ...]:
        """The distance from it that becomes 1; in units of a byte."""
        return self.pictures.std

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Images (len(indices), C, H, W), normalized, and labels of these indices.

        With `windows`, one an image, what these show of the pictures, in place of the centre.
        Raises DataError (E066) with all of these files that cannot be read.
        """
        part = self.train if split == "train" else self.test
        rows = row_numbers(indices, len(part.labels))
        paths = [part.paths[row] for row in rows]
        pixels = self.pictures.load(paths, self.image_shape, windows)
        scale = self.pictures.mean, self.pictures.std
        return normalize(pixels, *scale, dtype), part.labels[rows]


def imagefolder(
    wanted: Wanted, path: str, validation: float = 0.0, skip_empty: bool = False
) -> ImageFolder:
    """The pictures in `path`/train/<class>/ and below, held out those in val/ or test/.

    With `validation`, those in `path`/<class>/ and below, that share of each class held out, as
    `held_out` chooses. With `skip_empty`, folders without pictures count as not there. Only names
    are read now; where no training is wanted, train/ may be missing.

    Of each picture the largest centred rectangle of the proportions that are wanted, 224/256 of it
    each way, is resized to the wanted height and width, grey for one channel. Raises DataError:
    E060 where `validation` is no number from 0 to below 1, E061 where a folder is missing, E064
    where a held-out class is no training class or a class's name is no text, E065 without classes
    or images, E067 where neither one channel nor three are wanted.
    """
    place = folder(Path(text("the folder of 'imagefolder'", path)), LAYOUT)
    share = number("'validation' of 'imagefolder'", validation, BELOW_ONE)
    skip = truth("'skip_empty' of 'imagefolder'", skip_empty)
    check_channels(wanted.image_shape[0])
    pictures = fitting(PICTURES, wanted.image_shape[0])
    assert pictures is not None, "there is one for grey and one for colours"
    if share:
        train, test = _one_folder(place, skip).split(share)
        of_each = f"{100 * share:.4g} % of each class"
    else:
        train, test = _two_folders(place, skip, wanted.training)
        of_each = test.place.name
    classes = tuple(train.pictures or test.pictures)
    training, held = train.labelled(classes), test.labelled(classes)
    description = escaped(
        f"pictures in '{place}', {len(training.paths):,} training images in {len(classes):,} "
        f"class{'es' * (len(classes) > 1)}; {len(held.paths):,} held-out images: {of_each}"
    )
    description += left_out(train.others + test.others) + skipped(train, test)
    return ImageFolder(description, classes, wanted.image_shape, pictures, training, held)


def _one_folder(place: Path, skip: bool) -> ClassFolders:
    """Training and held-out images together."""
    names = {entry.name for entry in entries(place, LAYOUT) if is_folder(entry)}
    if names and names <= set(SPLITS):
        message = f"'{place}' holds {listed(f'{name}/' for name in names)}, not folders of classes."
        help = (
            "leave 'validation' out, or hold out of the training images alone: name 'train' itself"
        )
        raise data_error("E065", message, help)
    return class_folders(place, skip)


def _two_folders(place: Path, skip: bool, training: bool) -> tuple[ClassFolders, ClassFolders]:
    """Training and held-out images apart; of the first, none are needed unless `training`."""
    where, train = place / "train", ClassFolders(place, {}, Counter(), ())
    reads = training or os.path.exists(where)
    if reads:
        folder(where, _BOTH)
    held = folder(place / ("val" if os.path.exists(place / "val") else "test"), _BOTH)
    if reads:
        train = class_folders(where, skip)
    return train, class_folders(held, skip, train.pictures or None)


def picture(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """The centre of a picture as bytes (C, H, W); DataError (E066) where it cannot be read."""
    return decode(path, shape, partial(centre, proportion=shape[1] / shape[2], kept=_KEPT))


PICTURES = (
    Preparation("the centre of the picture, scaled as ImageNet's", picture, _MEAN, _STD),
    Preparation("the centre of the picture, grey, scaled as ImageNet's", picture, *_GREY),
)
"""Any picture as one of the data set, by channels."""
