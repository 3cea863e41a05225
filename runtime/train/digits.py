"""The data set that comes with netc: 1,797 handwritten digits of 8x8 pixels.

E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998, CC BY 4.0; see data/ATTRIBUTION.txt.
"""

from __future__ import annotations

import gzip
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .images import ByteImages, SplitImages
from .pictures import Preparation, Shape, decode

_HELD_OUT_EVERY = 5
_MEAN, _STD = 4.8834, 6.0211
"""Of the training images' pixels, which are 0 to 16."""
_WHITE = 16


@cache
def digits() -> ByteImages:
    """Handwritten digits, 1x8x8, ten classes: 1,437 to train on, 360 held out.

    Held out is every fifth image: of 1,797, the indices 0, 5, 10, ..., 1795.
    """
    file = resources.files("netc_runtime.train").joinpath("data/digits.csv.gz")
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    table = np.array([line.split(",") for line in lines], np.uint8)
    held_out = np.arange(len(table)) % _HELD_OUT_EVERY == 0
    train, test = (_part(table[rows]) for rows in (~held_out, held_out))
    description = (
        f"handwritten digits, 8x8 (UCI, 1998); {len(test.labels)} held-out images: every fifth of "
        f"the {len(table):,}, indices 0, 5, 10, ..."
    )
    names = tuple("0123456789")
    return ByteImages("digits", description, names, (_MEAN,), (_STD,), train, test)


def picture(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """A whole picture as bytes (C, H, W) from 0, black, to 16, white, which is ink.

    Raises DataError (E066) where it cannot be read.
    """
    ink: NDArray[np.uint8] = np.rint(decode(path, shape) * (_WHITE / 255)).astype(np.uint8)
    return ink


PICTURES = Preparation("the whole picture, white ink on black", picture, (_MEAN,), (_STD,), _WHITE)
"""Any picture as one of the data set."""


def _part(table: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> SplitImages:
    """One image a row: 64 pixels, then the label."""
    return SplitImages((table[:, :64].reshape(-1, 1, 8, 8),), table[:, 64].astype(np.int64))
