"""Folders of pictures, one folder a class: root/train/<class>/* and root/val/<class>/*."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netc.errors import did_you_mean

from ..io.problems import data_error, folder, unreadable
from .calls import text, whole
from .images import Split, normalize, row_numbers
from .pictures import Preparation, Shape, decode

_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)
"""Of ImageNet's training images, red, green and blue, in units of a byte."""
_KEPT = 224 / 256
"""The part of the short side that the centre crop keeps (K. Simonyan, A. Zisserman, 2014)."""
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".tif", ".tiff", ".webp"})
_HELP = "lay the pictures out as train/<class>/*.jpg and val/<class>/*.jpg (or test/), or .png"


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
    size: int
    """Height and width of the images given, in pixels."""
    train: Pictures
    """The training images."""
    test: Pictures
    """The held-out images."""
    name: str = "imagefolder"
    """The word that names it in a recipe."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        return 3, self.size, self.size

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return len(self.train.labels)

    @property
    def test_size(self) -> int:
        """Number of held-out images."""
        return len(self.test.labels)

    def load(
        self, split: Split, indices: Sequence[int] | NDArray[np.int64], dtype: DTypeLike
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Images (len(indices), 3, size, size), normalized, and labels of these indices.

        Raises DataError (E066) where a file cannot be decoded.
        """
        part = self.train if split == "train" else self.test
        rows = row_numbers(indices, len(part.labels))
        pixels = np.empty((len(rows), *self.image_shape), np.uint8)
        with ThreadPoolExecutor() as pool:
            decoded = pool.map(lambda row: picture(part.paths[row], self.image_shape), rows)
            for image, found in zip(pixels, decoded, strict=True):
                image[:] = found
        return normalize(pixels, _MEAN, _STD, dtype), part.labels[rows]


def imagefolder(directory: str, *, size: int = 224) -> ImageFolder:
    """The pictures in `directory`/train/<class>/, held out those in val/ or test/.

    Only names are read now. Of each picture the centre square, 224/256 of its short side, is
    resized to `size` x `size` pixels, three channels. Raises DataError: E061 where a folder is
    missing, E064 where a held-out class is no training class, E065 without classes or images.
    """
    place = folder(Path(text("the folder of 'imagefolder'", directory)), _HELP)
    whole("'size'", size, 1)
    training = folder(place / "train", _HELP)
    held_out = folder(place / ("val" if (place / "val").exists() else "test"), _HELP)
    classes = _folders(training)
    train, test = _pictures(training, classes), _pictures(held_out, classes)
    description = (
        f"pictures in '{place}', {len(train.paths):,} training images; "
        f"{len(test.paths):,} held-out images: {held_out.name}"
    )
    return ImageFolder(description, classes, size, train, test)


def picture(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """The centre of a picture as bytes (C, H, W); DataError (E066) where it cannot be read."""
    return decode(path, shape, _KEPT)


PICTURES = Preparation("the centre of the picture, scaled as ImageNet's", picture, _MEAN, _STD)
"""Any picture as one of the data set."""


def _folders(place: Path) -> tuple[str, ...]:
    """The names of the class folders in `place`, sorted; there is at least one."""
    try:
        names = [path.name for path in place.iterdir() if path.is_dir()]
    except OSError as problem:
        raise unreadable(place, problem, _HELP) from problem
    if visible := tuple(sorted(name for name in names if not name.startswith("."))):
        return visible
    raise data_error("E065", f"'{place}' holds no classes: it has no folders.", _HELP)


def _pictures(place: Path, classes: tuple[str, ...]) -> Pictures:
    """The pictures of every class folder in `place`, which must be of `classes`."""
    paths: list[Path] = []
    labels: list[int] = []
    for name in _folders(place):
        if name not in classes:
            message = f"'{place / name}' is no class: there is no training folder '{name}'."
            raise data_error("E064", message, did_you_mean(name, classes) + _HELP)
        found = _files(place / name)
        paths += found
        labels += [classes.index(name)] * len(found)
    return Pictures(tuple(paths), np.array(labels, np.int64))


def _files(place: Path) -> list[Path]:
    """The pictures in one class folder, sorted; there is at least one."""
    try:
        found = sorted(path for path in place.iterdir() if path.suffix.lower() in _SUFFIXES)
    except OSError as problem:
        raise unreadable(place, problem, _HELP) from problem
    if found := [path for path in found if not path.name.startswith(".")]:
        return found
    endings = ", ".join(sorted(_SUFFIXES))
    raise data_error("E065", f"'{place}' holds no pictures.", f"pictures end in {endings}")
