"""Images that are mixed with others of their data set, by mixup and cutmix.

With whom an image is mixed, and how much of it stays, depends on its key alone, as every other
augmentation does (`philox`). docs/training.md says what each word does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .philox import Draws, Words, units

Array = NDArray[Any]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mixed:
    """What becomes of some images (n, C, H, W)."""

    partners: Rows
    """The places in the data set of those that they are mixed with; their own where they are not
    mixed."""
    shares: NDArray[np.float64]
    """How much of each label is left; 1 where it is not mixed."""
    boxes: Rows
    """Rows and columns (n, 4), from, to, from, to, that show the other image; -1 where that shines
    through everywhere."""

    def apply(self, images: Array, places: Rows, others: Rows) -> Array:
        """The images at `places` among `images`, mixed with those at `others`.

        One by one: what is changed at a time stays in the cache.
        """
        out, kind = images[places], images.dtype.type
        for row in np.flatnonzero(self.shares < 1):
            image, other = out[row], images[others[row]]
            top, bottom, left, right = self.boxes[row]
            if top < 0:
                image *= kind(self.shares[row])
                image += kind(1 - self.shares[row]) * other
            else:
                image[:, top:bottom, left:right] = other[:, top:bottom, left:right]
        return out


@dataclass(frozen=True, slots=True)
class Mix:
    """One way to mix, as a recipe calls it."""

    alpha: float
    p: float
    cuts: bool
    """Whether a rectangle is laid over; else all of the other image shines through."""

    def mixed(self, draws: Draws, size: int, sides: tuple[int, int]) -> Mixed:
        """What becomes of images of `sides`, height and width, in a data set of `size` images."""
        first, second = np.moveaxis(draws.blocks(0, 2), 1, 0)
        shares = symmetric_beta(self.alpha, units(first[:, 2]), units(first[:, 3]))
        boxes = np.full((len(shares), 4), -1, np.int64)
        if self.cuts:
            boxes, shares = _cut(shares, second, sides)
        others = (first[:, 1] % np.uint64(size)).astype(np.int64)
        stays = (units(first[:, 0]) >= self.p) | (shares == 1)
        boxes[stays] = -1
        return Mixed(np.where(stays, draws.rows, others), np.where(stays, 1.0, shares), boxes)


def mix(ways: Sequence[tuple[Mix, Draws]], size: int, sides: tuple[int, int]) -> Mixed:
    """What becomes of images, of `sides` and in a data set of `size` images, by one way, or by one
    of two, half of the images each; every way has random numbers of its own.
    """
    found = [way.mixed(draws, size, sides) for way, draws in ways]
    if len(found) == 1:
        return found[0]
    one, other = found
    _, draws = ways[0]
    first = units(draws.blocks(2, 1)[:, 0, 0]) < 0.5
    return Mixed(
        np.where(first, one.partners, other.partners),
        np.where(first, one.shares, other.shares),
        np.where(first[:, None], one.boxes, other.boxes),
    )


def symmetric_beta(
    alpha: float, u: NDArray[np.float64], v: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Numbers of the distribution Beta(alpha, alpha) from pairs of uniform ones.

    For t of Student's distribution with 2 alpha degrees of freedom, (1 + t / sqrt(2 alpha + t^2))
    / 2 is such a number; t comes from Bailey's polar method (Bailey 1994, Devroye 1996).
    """
    near, cosine = u ** (1 / alpha), np.cos(2 * np.pi * v)
    far = 1 - near
    # Where `near` is 0, t is infinite; rounding may lead a bit beyond 0 and 1.
    found = (1 + cosine * np.sqrt(far / (near + far * cosine**2))) / 2
    return np.asarray(np.clip(found, 0, 1))


def _cut(
    shares: NDArray[np.float64], words: Words, sides: tuple[int, int]
) -> tuple[Rows, NDArray[np.float64]]:
    """Rectangles of 1 - share of the area around some pixel, less what the border cuts off; the
    share that is left.
    """
    height, width = sides
    reach = np.sqrt(1 - shares)
    ends = []
    for side, word in ((height, words[:, 0]), (width, words[:, 1])):
        middle = (word % np.uint64(side)).astype(np.int64)
        half = (0.5 * reach * side).astype(np.int64)
        ends += [np.maximum(0, middle - half), np.minimum(side, middle + half)]
    boxes = np.stack(ends, axis=1)
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    return boxes, 1 - area / (height * width)
