"""NumPy's archives: `.npz` files with the arrays x_train, y_train, x_test and y_test."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netc.errors import DataError, escaped, listed

from ..io.problems import data_error, reason, unreadable
from .calls import text
from .images import LabelledSplits, Shape, Split, Wanted, check_labels, normalize, row_numbers
from .pictures import Preparation, decode
from .several import SeveralInputs
from .windows import Window, seen

_HALF = 127.5
"""Of bytes: the value that becomes 0, and the distance from it that becomes 1."""
PICTURES = Preparation(
    "the whole picture, from -1 (black) to 1 (white)", decode, (_HALF,), (_HALF,)
)
"""Any picture as one of a data set of bytes."""
_INPUT = "x"
"""What arrays of images are called, where the network has one input."""
_LABELS = "y"
_CLASSES = "classes"
_HELP = (
    "save x_train, y_train, x_test and y_test with numpy.savez: images (n, C, H, W), (n, H, W, C) "
    "or (n, H, W), and labels (n,); for several inputs their names in place of x"
)


@dataclass(frozen=True, slots=True, eq=False)
class ArraySplit:
    """The images of one split, and their labels."""

    images: NDArray[Any] = field(repr=False)
    """(n, C, H, W), bytes or floats."""
    labels: NDArray[np.int64] = field(repr=False)
    """One class index an image."""


@dataclass(frozen=True, slots=True, eq=False)
class Arrays(LabelledSplits):
    """A data set of arrays in memory. See `datasets.Dataset`."""

    description: str
    """Where it is, and what is held out, in one sentence."""
    image_shape: tuple[int, int, int]
    """(C, H, W) of every image."""
    classes: tuple[str, ...]
    """The classes' names; a label is an index into them."""
    train: ArraySplit
    """The training images."""
    test: ArraySplit
    """The held-out images."""
    name: str = "npz"
    """The word that names it in a recipe."""

    @property
    def kind(self) -> str:
        """What pixels are, in a word."""
        return "bytes" if self.train.images.dtype == np.uint8 else "floats"

    @property
    def mean(self) -> tuple[float, ...]:
        """The value of training images that becomes 0: of bytes, or of floats as they are."""
        return (_HALF,) if self.train.images.dtype == np.uint8 else (0.0,)

    @property
    def std(self) -> tuple[float, ...]:
        """The distance from it that becomes 1, in the same units."""
        return (_HALF,) if self.train.images.dtype == np.uint8 else (1.0,)

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Images (len(indices), C, H, W), bytes from -1 to 1 and floats as they are, and labels.

        With `windows`, one an image, what these show of them, scaled to H and W.
        """
        part = self.train if split == "train" else self.test
        rows = row_numbers(indices, len(part.labels))
        images = np.ascontiguousarray(part.images[rows])
        if windows is not None:
            images = seen(images, windows)
        if part.images.dtype == np.uint8:
            return normalize(images, (_HALF,), (_HALF,), dtype), part.labels[rows]
        return images.astype(dtype), part.labels[rows]


def npz(wanted: Wanted, path: str) -> Arrays | SeveralInputs:
    """The arrays x_train, y_train, x_test and y_test of a file, which is read into memory; for a
    network with inputs a and b its arrays a_train, b_train, a_test and b_test in place of x_....

    Images are of the wanted shape, channels first or last, or (n, H, W) for one channel: bytes or
    floats. Labels are whole numbers (n,) or (n, 1); an array `classes` may name the classes. Where
    no training is wanted, the arrays of the test are enough. Nothing that is pickled is read.

    Raises DataError: E061 where the file cannot be read, E062 where it or an array is none of
    these, E063 where images and labels disagree, E064 where a label is out of range or a class's
    name is no text, E065 without images, E067 where images are of another shape.
    """
    place = Path(text("the file of 'npz'", path))
    inputs = wanted.inputs or ((_INPUT, wanted.image_shape),)
    if _LABELS in dict(inputs):
        message = f"an input is called '{_LABELS}', as the labels in the arrays of 'npz' are."
        raise data_error("E067", message, "give it another name in the network")
    splits = ("train", "test") if wanted.training else ("test",)
    arrays = _read(place, [f"{n}_{split}" for split in splits for n in (*dict(inputs), _LABELS)])
    parts = tuple(_arrays(place, arrays, wanted, *each) for each in inputs)
    first, names = parts[0], listed(f"{name}_test" for name, _ in inputs)
    if not wanted.inputs:
        return first
    kinds = ", ".join(
        f"{name} of {part.kind}" for (name, _), part in zip(inputs, parts, strict=True)
    )
    return SeveralInputs(
        first.name, escaped(_description(f"arrays {kinds}", place, first, names)), parts
    )


def _description(what: str, place: Path, part: Arrays, names: str) -> str:
    return (
        f"{what} in '{place}', {part.train_size:,} training images; "
        f"{part.test_size:,} held-out images: {names}"
    )


def _arrays(
    place: Path, arrays: Mapping[str, NDArray[Any]], wanted: Wanted, name: str, shape: Shape
) -> Arrays:
    """What fills one input."""
    classes = _class_names(place, arrays, wanted.classes)
    test = _part(place, arrays, name, "test", shape, len(classes))
    train = ArraySplit(test.images[:0], test.labels[:0])
    if wanted.training:
        train = _part(place, arrays, name, "train", shape, len(classes))
    found = Arrays("", shape, classes, train, test)
    told = _description(f"arrays of {found.kind}", place, found, f"{name}_test")
    return replace(found, description=escaped(told))


def _read(place: Path, needed: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    """The arrays that are needed, and the classes' names where they are there."""
    if os.path.exists(place) and not os.path.isfile(place):
        raise data_error("E061", f"'{place}' is no file.", _HELP)
    try:
        opened = np.load(place, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise data_error("E062", f"'{place}' holds one array, not several.", _HELP)
        with opened as archive:
            return {name: archive[name] for name in _found(place, archive.files, needed)}
    except OSError as problem:
        raise unreadable(place, problem, _HELP) from problem
    except MemoryError as problem:
        message = f"'{place}' does not fit in memory."
        help = "save fewer images, or bytes in place of floats"
        raise data_error("E062", message, help) from problem
    except DataError:
        raise
    except Exception as problem:  # a damaged file makes zipfile and NumPy raise nearly every kind
        message = f"'{place}' is no archive of arrays that can be read: {_why(problem)}."
        raise data_error("E062", message, _HELP) from problem


def _why(problem: Exception) -> str:
    pickled = "pickled" in str(problem) or "allow_pickle" in str(problem)
    told = "it holds objects or is of another kind, and those are not read"
    return told if pickled else reason(problem).rstrip(".")


def _found(place: Path, names: Sequence[str], needed: Sequence[str]) -> list[str]:
    """The names of arrays that are read; DataError (E062) where one is missing."""
    missing = [name for name in needed if name not in names]
    if missing:
        here = f"it has {listed(names)}" if names else "it is empty"
        message = f"'{place}' has no array {listed(missing)}: {here}."
        raise data_error("E062", message, _HELP)
    return [name for name in names if name in (*needed, _CLASSES)]


def _class_names(
    place: Path, arrays: Mapping[str, NDArray[Any]], count: int
) -> tuple[str, ...]:  # fmt: skip
    """As the file has them, or numbers."""
    if _CLASSES not in arrays:
        return tuple(map(str, range(count)))
    given = arrays[_CLASSES]
    if given.dtype.kind != "U" or given.ndim != 1:
        message = f"'{_CLASSES}' of '{place}' is {_kind(given)}, not one text a class."
        raise data_error("E064", message, "save it as numpy.array(['cat', 'dog'])")
    names = tuple(map(str, given))
    for name in names:
        if not name or name != escaped(name):
            message = f"'{_CLASSES}' of '{place}' has '{name}', which is no text on one line."
            raise data_error("E064", message, "give every class a name")
    return names


def _part(
    place: Path,
    arrays: Mapping[str, NDArray[Any]],
    input_name: str,
    split: Split,
    shape: Shape,
    classes: int,
) -> ArraySplit:
    """The checked images of an input in a split, and their labels."""
    name = f"{input_name}_{split}"
    images = _images(place, name, arrays[name], shape)
    labels = _labels(place, f"{_LABELS}_{split}", arrays[f"{_LABELS}_{split}"])
    if len(images) != len(labels):
        message = (
            f"'{name}' of '{place}' has {len(images):,} images, but 'y_{split}' has "
            f"{len(labels):,} labels."
        )
        raise data_error("E063", message, "save one label an image")
    if not len(images):
        raise data_error("E065", f"'{name}' of '{place}' holds no images.", _HELP)
    check_labels(labels, classes, f"{place}: y_{split}")
    return ArraySplit(images, labels)


def _images(
    place: Path, name: str, array: NDArray[Any], shape: tuple[int, int, int]
) -> NDArray[Any]:
    """(n, C, H, W), a view of an array of any layout that is known."""
    channels, height, width = shape
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        message = f"'{name}' of '{place}' is {_kind(array)}, neither bytes (uint8) nor floats."
        raise data_error("E062", message, "save bytes from 0 to 255, or floats that are scaled")
    found = array.shape[1:]
    if array.ndim == 4 and found == shape:
        images = array
    elif array.ndim == 4 and found == (height, width, channels):
        images = array.transpose(0, 3, 1, 2)
    elif array.ndim == 3 and (1, *found) == shape:
        images = array[:, None]
    else:
        raise _wrong_shape(place, name, array, shape)
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        message = f"'{name}' of '{place}' has numbers that are not finite."
        raise data_error("E062", message, "take such images out")
    return images


def _wrong_shape(place: Path, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> DataError:
    channels, height, width = shape
    layouts = [f"n x {channels} x {height} x {width}", f"n x {height} x {width} x {channels}"]
    layouts += [f"n x {height} x {width}"] if channels == 1 else []
    sides = " x ".join(map(str, array.shape)) or "one number"
    message = f"'{name}' of '{place}' is {sides}; the network takes {' or '.join(layouts)}."
    return data_error("E067", message, "write its images' shape in the network, or reshape it")


def _labels(place: Path, name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.ndim != 1 or flat.dtype.kind not in "iu":
        message = f"'{name}' of '{place}' is {_kind(array)}, not one whole number an image."
        help = "save the classes' numbers, from 0; of one-hot labels numpy.argmax(..., axis=1)"
        raise data_error("E062", message, help)
    return flat.astype(np.int64)


def _kind(array: NDArray[Any]) -> str:
    """What it is made of: 'float64 of 60000 x 10'."""
    sides = " x ".join(map(str, array.shape))
    return f"{array.dtype} of {sides}" if sides else f"one {array.dtype}"
