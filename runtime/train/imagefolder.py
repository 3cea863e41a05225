"""Folders of pictures, one folder a class: root/train/<class>/** and root/val/<class>/**."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netc.errors import DataError, Diagnostic, did_you_mean, escaped

from ..io.problems import data_error, folder
from .calls import text
from .images import Split, Wanted, normalize, row_numbers
from .listing import entries, is_folder, left_out, pictures_below
from .pictures import Preparation, Shape, check_channels, decode, fitting
from .windows import Window, centre

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
"""Of ImageNet's training images, red, green and blue, in units of a byte."""
_GREY = ((117.0,), (57.5,))
"""The same of grey, 0.299 red + 0.587 green + 0.114 blue."""
_KEPT = 224 / 256
"""The part of each side that the centre crop keeps (K. Simonyan, A. Zisserman, 2014)."""
_HELP = "lay the pictures out as train/<class>/*.jpg and val/<class>/*.jpg (or test/), or .png"
_NAMED = 20
"""Pictures that cannot be read, of those that a message names."""
_LOOK_SECONDS = 60.0
"""How long the other pictures are looked at where one cannot be read."""
_LOOK_AT_ONCE = 256
"""Pictures handed to the threads at a time, so that a large data set takes little memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The files of one split, and their labels."""

    paths: tuple[Path, ...] = field(repr=False)
    """One file an image."""
    labels: NDArray[np.int64] = field(repr=False)
    """One class index an image."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFolder:
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

    @property
    def inputs(self) -> int:
        """How many inputs of a network it fills."""
        return 1

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return len(self.train.labels)

    @property
    def test_size(self) -> int:
        """Number of held-out images."""
        return len(self.test.labels)

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Images (len(indices), C, H, W), normalized, and labels of these indices.

        With `windows`, one an image, what these show of the pictures, in place of the centre.
        Raises DataError (E066) where a file cannot be read. It names the other such files of the
        data set too, as far as a minute is enough to look.
        """
        part = self.train if split == "train" else self.test
        rows = row_numbers(indices, len(part.labels))
        try:
            pixels = self.pictures.load(
                [part.paths[row] for row in rows], self.image_shape, windows
            )
        except DataError as problem:
            raise self._all_unread(problem) from problem
        scale = self.pictures.mean, self.pictures.std
        return normalize(pixels, *scale, dtype), part.labels[rows]

    def _all_unread(self, problem: DataError) -> DataError:
        """`problem`, and what is wrong with other pictures of the data set."""
        problems = dict.fromkeys(problem.diagnostics)
        paths = self.train.paths + self.test.paths
        looked, until = 0, time.monotonic() + _LOOK_SECONDS
        while looked < len(paths) and (not looked or time.monotonic() < until):
            some = paths[looked : looked + _LOOK_AT_ONCE]
            problems |= dict.fromkeys(self.pictures.problems(some, self.image_shape))
            looked += len(some)
        more = (
            f", of which {len(problems) - _NAMED:,} are not named here"
            if len(problems) > _NAMED
            else ""
        )
        text = (
            f"{looked:,} of the {len(paths):,} pictures were looked at; "
            f"{len(problems):,} cannot be read{more}."
        )
        return DataError(*list(problems)[:_NAMED], Diagnostic("", text, severity="note"))


def imagefolder(wanted: Wanted, path: str) -> ImageFolder:
    """The pictures in `path`/train/<class>/ and below, held out those in val/ or test/.

    Only names are read now. Of each picture the largest centred rectangle of the proportions that
    are wanted, 224/256 of it each way, is resized to the wanted height and width, grey for one
    channel. Raises DataError: E061 where a folder is missing, E064 where a held-out class is no
    training class or a class's name is no text, E065 without classes or images, E067 where neither
    one channel nor three are wanted.
    """
    place = folder(Path(text("the folder of 'imagefolder'", path)), _HELP)
    check_channels(wanted.image_shape[0])
    pictures = fitting(PICTURES, wanted.image_shape[0])
    assert pictures is not None, "there is one for grey and one for colours"
    training = folder(place / "train", _HELP)
    held_out = folder(place / ("val" if os.path.exists(place / "val") else "test"), _HELP)
    others: Counter[str] = Counter()
    classes = _folders(training, Counter())
    train, test = (_pictures(each, classes, others) for each in (training, held_out))
    description = escaped(
        f"pictures in '{place}', {len(train.paths):,} training images in {len(classes):,} "
        f"class{'es' * (len(classes) > 1)}; {len(test.paths):,} held-out images: {held_out.name}"
    )
    description += left_out(others)
    return ImageFolder(description, classes, wanted.image_shape, pictures, train, test)


def picture(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """The centre of a picture as bytes (C, H, W); DataError (E066) where it cannot be read."""
    return decode(path, shape, partial(centre, proportion=shape[1] / shape[2], kept=_KEPT))


PICTURES = (
    Preparation("the centre of the picture, scaled as ImageNet's", picture, _MEAN, _STD),
    Preparation("the centre of the picture, grey, scaled as ImageNet's", picture, *_GREY),
)
"""Any picture as one of the data set, by channels."""


def _folders(place: Path, others: Counter[str]) -> tuple[str, ...]:
    """The names of the class folders in `place`, sorted; there is at least one.

    What else is there is added to `others`.
    """
    names = []
    for entry in entries(place, _HELP):
        if entry.name.startswith("."):
            others["hidden"] += 1
        elif is_folder(entry):
            names.append(_checked_name(place, entry.name))
        else:
            others["outside the classes' folders"] += 1
    if names:
        return tuple(names)
    raise data_error("E065", f"'{place}' holds no classes: it has no folders.", _HELP)


def _checked_name(place: Path, name: str) -> str:
    """The name of a class, which checkpoints and other programs get as text."""
    if name == escaped(name):
        return name
    message = f"the name of the class folder '{place / name}' is no text of UTF-8 on one line."
    raise data_error("E064", message, "rename the folder, and that of the held-out images")


def _pictures(place: Path, classes: tuple[str, ...], others: Counter[str]) -> Pictures:
    """The pictures of every class folder in `place`, which must be of `classes`.

    What is left out is added to `others`.
    """
    paths: list[Path] = []
    labels: list[int] = []
    for name in _folders(place, others):
        if name not in classes:
            message = f"'{place / name}' is no class: there is no training folder '{name}'."
            raise data_error("E064", message, did_you_mean(name, classes) + _HELP)
        found = pictures_below(place / name, _HELP)
        if not found.pictures:
            here = left_out(found.others).removeprefix("; ")
            message = f"'{place / name}' holds no pictures{here and f': {here}'}."
            help = "pictures end in .jpg, .png, .tif, or as other formats that Pillow reads"
            raise data_error("E065", message, help)
        others += found.others
        paths += found.pictures
        labels += [classes.index(name)] * len(found.pictures)
    return Pictures(tuple(paths), np.array(labels, np.int64))
