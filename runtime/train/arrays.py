"""Images and labels as arrays, of a file or in memory, checked against a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netc.errors import DataError, escaped, listed

from ..io.problems import data_error
from .images import (
    DAMAGED,
    LabelledSplits,
    Shape,
    Split,
    Wanted,
    check_labels,
    normalize,
    row_numbers,
)
from .pictures import Preparation, decode
from .several import SeveralInputs
from .windows import Window, seen

_HALF = 127.5
"""Of bytes: the value that becomes 0, and the distance from it that becomes 1."""
PICTURES = Preparation(
    "the whole picture, from -1 (black) to 1 (white)", decode, (_HALF,), (_HALF,)
)
"""Any picture as one of a data set of bytes."""
ByteScale = Callable[[int], Preparation]
"""How bytes become numbers, of images of so many channels."""
_INPUT = "x"
"""What arrays of images are called, where the network has one input."""
_LABELS = "y"
CLASSES = "classes"
"""The array of the classes' names, which may be missing."""
FORMS = (
    "images (n, C, H, W), (n, H, W, C) or (n, H, W), and labels (n,); for several inputs their "
    "names in place of x"
)
HELP = f"save x_train, y_train, x_test and y_test with numpy.savez: {FORMS}"


ARRAYS = "arrays"
"""What arrays in memory are called."""
OTHER_CLASSES = "number classes from 0, and give the network's last layer as many outputs"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where arrays come from, for messages: a file, or the caller's memory."""

    file: Path | None = None

    def __str__(self) -> str:
        """In a sentence."""
        return "memory" if self.file is None else f"'{self.file}'"

    @property
    def remedy(self) -> str:
        """What helps where a label is none."""
        return DAMAGED if self.file is not None else OTHER_CLASSES

    @property
    def forms(self) -> str:
        """What arrays there are to be, and of what shapes."""
        return f"give x_train, y_train, x_test and y_test: {FORMS}" if self.file is None else HELP

    @property
    def put(self) -> str:
        """What the caller does with arrays that are right."""
        return "give" if self.file is None else "save"

    def of(self, name: str) -> str:
        """An array, by its name."""
        return f"'{name}'" if self.file is None else f"'{name}' of '{self.file}'"

    def part(self, name: str) -> str:
        """An array as if it were a file."""
        return name if self.file is None else f"{self.file}: {name}"


@dataclass(frozen=True, slots=True, eq=False)
class ArraySplit:
    """The images of one split, and their labels."""

    images: NDArray[Any] = field(repr=False)
    """(n, C, H, W), bytes or floats."""
    labels: NDArray[np.int64] = field(repr=False)
    """One class index an image."""
    called: str
    """The images, in messages."""


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
    scale: Preparation = PICTURES
    """How its bytes become what the network takes."""

    @property
    def kind(self) -> str:
        """What pixels are, in a word."""
        return "bytes" if self.train.images.dtype == np.uint8 else "floats"

    @property
    def mean(self) -> tuple[float, ...]:
        """The value of training images that becomes 0: of bytes, or of floats as they are."""
        return self.scale.mean if self.train.images.dtype == np.uint8 else (0.0,)

    @property
    def std(self) -> tuple[float, ...]:
        """The distance from it that becomes 1, in the same units."""
        return self.scale.std if self.train.images.dtype == np.uint8 else (1.0,)

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Images (len(indices), C, H, W), bytes by their scale and floats as they are, and labels.

        With `windows`, one an image, what these show of them, scaled to H and W. Raises DataError
        (E062) for numbers that are too large for `dtype`.
        """
        part = self.train if split == "train" else self.test
        rows = row_numbers(indices, len(part.labels))
        images = np.ascontiguousarray(part.images[rows])
        if windows is not None:
            images = seen(images, windows)
        return as_floats(part.called, images, self.scale, dtype), part.labels[rows]


def as_floats(
    called: str, images: NDArray[Any], scale: Preparation, dtype: DTypeLike
) -> NDArray[Any]:
    """Images (n, C, H, W) for a network: bytes by their scale, floats as they are.

    Raises DataError (E062) for numbers that are too large for `dtype`; `called` are the images.
    """
    if images.dtype == np.uint8:
        return normalize(images, scale.mean, scale.std, dtype)
    try:
        with np.errstate(over="raise"):
            return images.astype(dtype)
    except FloatingPointError:
        message = f"{called} holds numbers that are too large for {np.dtype(dtype)}."
        hint = "scale them to about mean 0 and deviation 1"
        raise data_error("E062", message, hint) from None


def needed(wanted: Wanted) -> list[str]:
    """The names of the arrays that a network wants.

    Raises DataError (E067) where an input is called as the labels are.
    """
    inputs = wanted.inputs or ((_INPUT, wanted.image_shape),)
    if _LABELS in dict(inputs):
        message = f"an input is called '{_LABELS}', as the labels in the arrays of 'npz' are."
        raise data_error("E067", message, "give it another name in the network")
    splits = ("train", "test") if wanted.training else ("test",)
    return [f"{n}_{split}" for split in splits for n in (*dict(inputs), _LABELS)]


def array_set(
    origin: Origin,
    arrays: Mapping[str, NDArray[Any]],
    wanted: Wanted,
    scale: ByteScale = lambda channels: PICTURES,
) -> Arrays | SeveralInputs:
    """The data set of the arrays that are `needed`, for one input or several; its bytes are scaled
    as `scale` says.

    Raises DataError: E062 where an array is of another kind, E063 where images and labels disagree,
    E064 where a label is out of range or a class's name is no text, E065 without images, E067 where
    images are of another shape.
    """
    inputs = wanted.inputs or ((_INPUT, wanted.image_shape),)
    parts = tuple(_arrays(origin, arrays, wanted, *each, scale) for each in inputs)
    first, names = parts[0], listed(f"{name}_test" for name, _ in inputs)
    if not wanted.inputs:
        return first
    kinds = ", ".join(
        f"{name} of {part.kind}" for (name, _), part in zip(inputs, parts, strict=True)
    )
    return SeveralInputs(
        first.name, escaped(_description(f"arrays {kinds}", origin, first, names)), parts
    )


def _description(what: str, origin: Origin, part: Arrays, names: str) -> str:
    return (
        f"{what} in {origin}, {part.train_size:,} training images; "
        f"{part.test_size:,} held-out images: {names}"
    )


def _arrays(
    origin: Origin,
    arrays: Mapping[str, NDArray[Any]],
    wanted: Wanted,
    name: str,
    shape: Shape,
    scale: ByteScale,
) -> Arrays:
    """What fills one input."""
    classes = _class_names(origin, arrays, wanted.classes)
    test = _part(origin, arrays, name, "test", shape, len(classes))
    train = replace(test, images=test.images[:0], labels=test.labels[:0])
    if wanted.training:
        train = _part(origin, arrays, name, "train", shape, len(classes))
    called = ARRAYS if origin.file is None else "npz"
    found = Arrays("", shape, classes, train, test, called, scale(shape[0]))
    told = _description(f"arrays of {found.kind}", origin, found, f"{name}_test")
    return replace(found, description=escaped(told))


def _class_names(
    origin: Origin, arrays: Mapping[str, NDArray[Any]], count: int
) -> tuple[str, ...]:  # fmt: skip
    """As the file has them, or numbers."""
    if CLASSES not in arrays:
        return tuple(map(str, range(count)))
    given = arrays[CLASSES]
    if given.dtype.kind != "U" or given.ndim != 1:
        message = f"{origin.of(CLASSES)} is {kind_of(given)}, not one text a class."
        raise data_error("E064", message, f"{origin.put} it as numpy.array(['cat', 'dog'])")
    names = tuple(map(str, given))
    for name in names:
        if not name or name != escaped(name):
            message = f"{origin.of(CLASSES)} has '{name}', which is no text on one line."
            raise data_error("E064", message, "give every class a name")
    return names


def _part(
    origin: Origin,
    arrays: Mapping[str, NDArray[Any]],
    input_name: str,
    split: Split,
    shape: Shape,
    classes: int,
) -> ArraySplit:
    """The checked images of an input in a split, and their labels."""
    name = f"{input_name}_{split}"
    images = image_array(origin, name, arrays[name], shape)
    labels = label_array(origin, f"{_LABELS}_{split}", arrays[f"{_LABELS}_{split}"])
    if len(images) != len(labels):
        message = (
            f"{origin.of(name)} has {len(images):,} images, but 'y_{split}' has "
            f"{len(labels):,} labels."
        )
        raise data_error("E063", message, f"{origin.put} one label an image")
    if not len(images):
        raise data_error("E065", f"{origin.of(name)} holds no images.", origin.forms)
    check_labels(labels, classes, origin.part(f"{_LABELS}_{split}"), origin.remedy)
    return ArraySplit(images, labels, origin.of(name))


def image_array(
    origin: Origin, name: str, array: NDArray[Any], shape: tuple[int, int, int]
) -> NDArray[Any]:
    """(n, C, H, W), a view of an array of any layout that is known."""
    channels, height, width = shape
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        message = f"{origin.of(name)} is {kind_of(array)}, neither bytes (uint8) nor floats."
        raise data_error(
            "E062", message, f"{origin.put} bytes from 0 to 255, or floats that are scaled"
        )
    found = array.shape[1:]
    if array.ndim == 4 and found == shape:
        images = array
    elif array.ndim == 4 and found == (height, width, channels):
        images = array.transpose(0, 3, 1, 2)
    elif array.ndim == 3 and (1, *found) == shape:
        images = array[:, None]
    else:
        raise _wrong_shape(origin, name, array, shape)
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        message = f"{origin.of(name)} has numbers that are not finite."
        raise data_error("E062", message, "take such images out")
    return images


def _wrong_shape(
    origin: Origin, name: str, array: NDArray[Any], shape: tuple[int, ...]
) -> DataError:
    channels, height, width = shape
    layouts = [f"n x {channels} x {height} x {width}", f"n x {height} x {width} x {channels}"]
    layouts += [f"n x {height} x {width}"] if channels == 1 else []
    sides = " x ".join(map(str, array.shape)) or "one number"
    message = f"{origin.of(name)} is {sides}; the network takes {' or '.join(layouts)}."
    one = array.shape in (shape, (height, width, channels))
    help = (
        "of one image 'image[None]' makes one of n"
        if one
        else "write its images' shape in the network, or reshape it"
    )
    return data_error("E067", message, help)


def label_array(origin: Origin, name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    """The classes' numbers (n,)."""
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.ndim != 1 or flat.dtype.kind not in "iu":
        message = f"{origin.of(name)} is {kind_of(array)}, not one whole number an image."
        numbers = "the classes' numbers, from 0; of one-hot labels numpy.argmax(..., axis=1)"
        raise data_error("E062", message, f"{origin.put} {numbers}")
    return flat.astype(np.int64)


def kind_of(array: NDArray[Any]) -> str:
    """What it is made of: 'float64 of 60000 x 10'."""
    sides = " x ".join(map(str, array.shape))
    return f"{array.dtype} of {sides}" if sides else f"one {array.dtype}"
