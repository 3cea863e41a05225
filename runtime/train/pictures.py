"""Picture files as a network takes them: decoded, cropped, resized and scaled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError

from ..io.problems import data_error, reason

Shape = tuple[int, int, int]
"""(C, H, W); pictures have one channel, grey, or three: red, green and blue."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a picture of any kind becomes an image like those of a data set.

    `images.normalize`, with `mean` and `std`, makes of the bytes what the network takes.
    """

    description: str
    """What is done, for people: 'the centre of the picture, RGB'."""
    read: Callable[[Path, Shape], NDArray[np.uint8]]
    """The bytes (C, H, W) of a file; DataError (E066) where it cannot be decoded."""
    mean: tuple[float, ...]
    """The value that becomes 0, one for all channels or one a channel; in units of a byte."""
    std: tuple[float, ...]
    """The distance from it that becomes 1; in units of a byte."""

    def load(self, paths: Sequence[Path], shape: Shape) -> NDArray[np.uint8]:
        """The bytes (len(paths), C, H, W) of these files.

        Raises DataError (E066) with all files that cannot be decoded.
        """

        def attempt(path: Path) -> NDArray[np.uint8] | DataError:
            try:
                return self.read(path, shape)
            except DataError as problem:
                return problem

        with ThreadPoolExecutor() as pool:
            found = list(pool.map(attempt, paths))
        problems = [each for each in found if isinstance(each, DataError)]
        if problems:
            raise DataError(*(told for each in problems for told in each.diagnostics))
        return np.stack([each for each in found if not isinstance(each, DataError)])


def decode(path: Path, shape: Shape, kept: float | None = None) -> NDArray[np.uint8]:
    """A picture as bytes of `shape` (C, H, W); DataError (E066) where it cannot be read.

    The whole picture is stretched to height and width; or, with `kept`, that part of its largest
    centred rectangle of their proportion is. Crop and resize are one step, so that a long, thin
    picture takes no more memory than others.
    """
    # Imported here: compiling and planning need no pictures.
    from PIL import Image

    channels, height, width = shape
    try:
        with Image.open(path) as picture:
            colours = picture.convert("L" if channels == 1 else "RGB")
        box = None if kept is None else _centre(colours.size, (width, height), kept)
        resized = colours.resize((width, height), Image.Resampling.BILINEAR, box)
        return np.asarray(resized).reshape(height, width, channels).transpose(2, 0, 1)
    except Exception as problem:  # Pillow's decoders raise nearly every kind on damaged files
        message = f"cannot decode the image '{path}': {reason(problem).rstrip('.')}."
        raise data_error("E066", message, "remove the file, or copy it again") from problem


def _centre(
    size: tuple[int, int], wanted: tuple[int, int], kept: float
) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the rectangle that is kept, in pixels."""
    proportion = wanted[1] / wanted[0]
    width = min(size[0], size[1] / proportion) * kept
    height = width * proportion
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height
