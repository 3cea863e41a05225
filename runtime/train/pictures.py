"""Picture files as a network takes them: decoded, turned, cropped, resized and scaled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError, Diagnostic

from ..io.problems import data_error, reason
from .modes import UndefinedError, to_bytes, upright
from .windows import Window

Shape = tuple[int, int, int]
"""(C, H, W); pictures have one channel, grey, or three: red, green and blue."""

_NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
"""Formats that Pillow knows by name, and leaves to other programs."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a picture of any kind becomes an image like those of a data set.

    `images.normalize`, with `mean` and `std`, makes of the bytes what the network takes.
    """

    description: str
    """What is done, for people: 'the centre of the picture, RGB'."""
    read: Callable[[Path, Shape], NDArray[np.uint8]]
    """The bytes (C, H, W) of a file; DataError (E066) where it cannot be read."""
    mean: tuple[float, ...]
    """The value that becomes 0, one for all channels or one a channel; in units of a byte."""
    std: tuple[float, ...]
    """The distance from it that becomes 1; in units of a byte."""
    white: int = 255
    """The value of white, or of full colour; black is 0."""

    def shown(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """Images (n, C, H, W) that `images.normalize` made, as bytes to look at: 255 is white."""
        mean, std = (np.asarray(each).reshape(-1, 1, 1) for each in (self.mean, self.std))
        pixels = (images.astype(np.float64) * std + mean) * (255 / self.white)
        found: NDArray[np.uint8] = np.rint(pixels).clip(0, 255).astype(np.uint8)
        return found

    def load(
        self,
        paths: Sequence[Path],
        shape: Shape,
        windows: Sequence[Window] | None = None,
        pool: Executor | None = None,
    ) -> NDArray[np.uint8]:
        """The bytes (len(paths), C, H, W) of these files, read one by one or in threads; with
        `windows`, of what these show.

        Raises DataError (E066) with all files that cannot be read.
        """
        out = np.empty((len(paths), *shape), np.uint8)

        def attempt(number: int) -> tuple[Diagnostic, ...]:
            path = paths[number]
            try:
                if windows is None:
                    out[number] = self.read(path, shape)
                else:
                    out[number] = decode(path, shape, windows[number])
            except DataError as problem:
                return problem.diagnostics
            return ()

        numbers = range(len(paths))
        each = map(attempt, numbers) if pool is None else pool.map(attempt, numbers)
        problems = [problem for found in each for problem in found]
        if problems:
            raise DataError(*problems)
        return out


def fitting(known: Sequence[Preparation], channels: int) -> Preparation | None:
    """The first of these that makes images of so many channels."""
    return next((each for each in known if len(each.mean) in (1, channels)), None)


def check_channels(channels: int) -> None:
    """Raise DataError (E067) where pictures cannot become images of so many channels."""
    if channels not in (1, 3):
        message = f"the network takes images of {channels} channels; pictures have 1 or 3."
        raise data_error("E067", message)


@cache
def readable() -> tuple[tuple[str, ...], frozenset[str]]:
    """The formats that are read, as Pillow calls them, and the endings of their files' names."""
    # Imported here: compiling and planning need no pictures.
    from PIL import Image

    # What Pillow warns of is no fault, or raises too: alpha in palettes, large pictures, bad EXIF.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    endings = Image.registered_extensions()
    formats = (Image.OPEN.keys() | {"MPO"}) - _NOT_DECODED
    return (
        tuple(sorted(formats & Image.OPEN.keys())),
        frozenset(ending.lower() for ending, kind in endings.items() if kind in formats),
    )


def decode(path: Path, shape: Shape, window: Window | None = None) -> NDArray[np.uint8]:
    """A picture as bytes of `shape` (C, H, W); DataError (E066) where it cannot be read.

    The whole picture, upright, is stretched to height and width; or what `window` shows of it is.
    Crop and resize are one step, so that a long, thin picture takes no more memory than others. Of
    several frames the first is taken.
    """
    try:
        with open(path, "rb") as file:
            return _decoded(file, path, shape, window)
    except OSError as problem:
        message = f"cannot read the image '{path}': {reason(problem)}."
        help = "check that there is a file of this name, and that you may read it"
        raise data_error("E066", message, help) from problem


def _decoded(
    file: BinaryIO, path: Path, shape: Shape, window: Window | None
) -> NDArray[np.uint8]:  # fmt: skip
    """From an open file: Pillow maps one that it opens, and then a cut ends the process."""
    from PIL import Image

    channels, height, width = shape
    try:
        with Image.open(file, formats=readable()[0]) as picture:
            picture.load()
            colours = upright(picture, to_bytes(picture, "L" if channels == 1 else "RGB"))
        box = None if window is None else window(colours.height, colours.width)
        resized = colours.resize((width, height), Image.Resampling.BILINEAR, box)
        return np.asarray(resized).reshape(height, width, channels).transpose(2, 0, 1)
    except Exception as problem:  # Pillow's decoders raise nearly every kind on damaged files
        why, help = _explained(problem)
        raise data_error("E066", f"cannot decode the image '{path}': {why}.", help) from problem


def _explained(problem: Exception) -> tuple[str, str]:
    """What is wrong with a picture, and the remedy for that."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(problem, Image.DecompressionBombError | MemoryError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return "it is too large", f"save it smaller: at most {most:,} pixels are read"
    if isinstance(problem, UnidentifiedImageError):
        help = "it is damaged or of another kind: copy it again, save it as PNG, or leave it out"
        return "it is of no format that is read", help
    why = reason(problem).rstrip(".")
    if isinstance(problem, UndefinedError):
        return why, "save it with 8 or 16 bits of grey, or 8 bits a colour, as PNG or TIFF"
    return why, "it is damaged: copy it again, or leave it out"
