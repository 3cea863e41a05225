"""Images and labels as callers have them, made what a program takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.api.arrays import array_of
from netc.api.data import image_shape
from netc.api.judging import one_input, read_pictures
from netc.api.values import shown, usage
from netc.ir.program import Bundle
from netc_runtime.io.problems import data_error
from netc_runtime.launch.ranks import Ranks
from netc_runtime.session import image_dtype, image_inputs
from netc_runtime.train.arrays import OTHER_CLASSES, Origin, as_floats, image_array, label_array
from netc_runtime.train.datasets import byte_scale, preparation
from netc_runtime.train.images import check_labels, normalize

Array = NDArray[Any]
Images = Any
"""An array (n, C, H, W), (n, H, W, C), or (n, H, W) of one channel, of bytes or floats; a list of
paths of pictures; of several inputs, such arrays by their names. Floats are taken as they are;
bytes and pictures are scaled as those that the weights were trained on, or else those of the
recipe's data set."""
IMAGES, LABELS = "images", "labels"


def image_floats(
    bundle: Bundle, data: str | None, images: Images, ranks: Ranks | None = None
) -> Array:
    """What a session takes: floats as they are, bytes and pictures as the data set `data` has them;
    of several inputs those of each image flat, one after the other. Of several processes each has
    some of the cores to read pictures by.

    Raises DataError: E062, E066, E067 where they are of another kind, cannot be read or are of
    another shape; UsageError (E051) for what is no images.
    """
    inputs, dtype = image_inputs(bundle), image_dtype(bundle)
    if _are_paths(images):
        one_input(bundle)
        paths = [Path(each) for each in images]
        return _pictures(data, paths, inputs[0].shape[1:], dtype, ranks)
    if len(inputs) > 1:
        return _several(bundle, data, images, dtype)
    return _floats(data, IMAGES, images, inputs[0].shape[1:], dtype)


def class_numbers(bundle: Bundle, labels: Any, count: int) -> NDArray[np.int64]:
    """The labels (count,) of so many images.

    Raises DataError: E062 where they are no whole numbers, E063 where there are others than images,
    E064 where one is out of range.
    """
    found = label_array(Origin(), LABELS, array_of(LABELS, labels))
    if len(found) != count:
        message = f"there are {count:,} images, but {len(found):,} labels."
        raise data_error("E063", message, "give one label an image")
    check_labels(found, bundle.facts.classes, LABELS, OTHER_CLASSES)
    return found


def _several(bundle: Bundle, data: str | None, images: Images, dtype: np.dtype[Any]) -> Array:
    inputs = {port.name: port.shape[1:] for port in image_inputs(bundle)}
    if not isinstance(images, Mapping) or set(images) != set(inputs):
        hint = "give arrays by the names of the inputs."
        raise usage(f"the network has inputs {', '.join(inputs)}; given is {_kind(images)}.", hint)
    parts = [_floats(data, name, images[name], shape, dtype) for name, shape in inputs.items()]
    if len({len(part) for part in parts}) > 1:
        many = ", ".join(f"{len(p):,} of '{n}'" for p, n in zip(parts, inputs, strict=True))
        raise data_error("E063", f"inputs have other numbers of images: {many}.", "give as many")
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def _floats(
    data: str | None, name: str, images: Images, shape: Sequence[int], dtype: np.dtype[Any]
) -> Array:
    wanted, given = image_shape(shape), array_of(name, images)
    if given.ndim and not len(given):
        raise data_error("E065", f"'{name}' holds no images.", "give one, at least")
    found = image_array(Origin(), name, given, wanted)
    return as_floats(Origin().of(name), found, byte_scale(data, wanted[0]), dtype)


def _pictures(
    data: str | None, paths: Sequence[Path], shape: Sequence[int], dtype: np.dtype[Any],
    ranks: Ranks | None,
) -> Array:  # fmt: skip
    wanted = image_shape(shape)
    prepared = preparation(data, wanted)
    pixels = read_pictures(prepared, paths, wanted, ranks)
    return normalize(pixels, prepared.mean, prepared.std, dtype)


def _are_paths(images: Images) -> bool:
    if isinstance(images, str | os.PathLike):
        raise usage("'images' is one path.", "give a list of paths.")
    if not isinstance(images, list | tuple) or not images:
        return False
    return all(isinstance(each, str | os.PathLike) for each in images)


def _kind(images: Images) -> str:
    return ", ".join(map(str, images)) if isinstance(images, Mapping) else shown(type(images))
