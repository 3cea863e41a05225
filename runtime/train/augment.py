"""Random order and random changes of training images, as pure functions of where they stand.

Every random number is the word at a known place of the Philox stream (Salmon et al., Parallel
Random Numbers: As Easy as 1, 2, 3, 2011) with key (seed, epoch), so results depend neither on how
images are batched nor on how many devices there are. Only raw words are used: NumPy keeps these
the same for ever, but not what its `permutation` makes of them (NEP 19).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .calls import call, whole

Spec = tuple[str, Sequence[object], Mapping[str, object]]
"""One augmentation as a recipe calls it: its name, arguments and named arguments."""

_Words = NDArray[np.uint64]
_Change = Callable[[NDArray[Any], _Words], NDArray[Any]]
"""From images and one random word an image to changed images."""

_FARTHEST = 1 << 16
"""Pixels; no picture is wider, and half a word divided by so few choices favours none of them."""
_LOW_HALF, _HALF_BITS = np.uint64(0xFFFF_FFFF), np.uint64(32)


def order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """The order in which an epoch visits its `n` images: a permutation of range(n).

    It ranks the first `n` words of the Philox stream of (seed, epoch); the same on every machine.
    """
    return np.argsort(_words(seed, epoch, 0, n), kind="stable").astype(np.int64, copy=False)


def augment(
    images: NDArray[Any],
    indices: Sequence[int] | NDArray[np.int64],
    seed: int,
    epoch: int,
    specs: Sequence[Spec],
) -> NDArray[Any]:
    """`images` (n, C, H, W) changed by each of `specs` in turn; `images` itself stays as it is.

    `indices` are the images' places in the data set: each change depends on (seed, epoch, index)
    and the spec's position only. Known are

        shift(pixels)  moved by up to `pixels` each way, rows and columns apart; what enters is 0
        crop(pad)      padded with `pad` zeros on each side, then cropped back: `shift(pad)`, under
                       the name that papers give it
        flip()         mirrored left to right, half of the time

    Raises DataError (E060) for an unknown name or wrong arguments.
    """
    rows = np.asarray(indices, np.int64)
    assert len(rows) == len(images), "one index an image"
    for position, (name, args, kwargs) in enumerate(specs):
        change = call("augmentation", _AUGMENTATIONS, name, args, kwargs)
        words = _words(seed, epoch, 1 + position, int(rows.max(initial=-1)) + 1)[rows]
        images = change(images, words)
    return images


def _words(seed: int, epoch: int, purpose: int, count: int) -> _Words:
    """The first `count` words of the stream of (seed, epoch) that is set apart for `purpose`."""
    key = np.array([seed % 2**64, epoch], np.uint64)
    counter = np.array([0, 0, 0, purpose], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def _shift(pixels: int) -> _Change:
    """Moved by up to `pixels`: the word's halves choose the rows and the columns."""
    most = whole("the distance of 'shift' or 'crop'", pixels, 0, _FARTHEST)

    def change(images: NDArray[Any], words: _Words) -> NDArray[Any]:
        out = np.zeros_like(images)
        choices = np.uint64(2 * most + 1)
        down = (words >> _HALF_BITS) % choices
        right = (words & _LOW_HALF) % choices
        for image, moved, dy, dx in zip(images, out, down.tolist(), right.tolist(), strict=True):
            _move(moved, image, dy - most, dx - most)
        return out

    return change


def _crop(pad: int) -> _Change:
    return _shift(pad)


def _flip() -> _Change:
    """Mirrored where the word is odd."""

    def change(images: NDArray[Any], words: _Words) -> NDArray[Any]:
        odd = (words & np.uint64(1)).astype(bool)
        return np.where(odd[:, None, None, None], images[..., ::-1], images)

    return change


def _move(out: NDArray[Any], image: NDArray[Any], down: int, right: int) -> None:
    """Writes `image` (C, H, W), moved, into `out`; what leaves it is lost."""
    to_rows, from_rows = _overlap(image.shape[1], down)
    to_columns, from_columns = _overlap(image.shape[2], right)
    out[:, to_rows, to_columns] = image[:, from_rows, from_columns]


def _overlap(length: int, distance: int) -> tuple[slice, slice]:
    """Where a line moved by `distance` lands within itself, and what of it lands there."""
    kept = max(0, length - abs(distance))
    to, start = max(0, distance), max(0, -distance)
    return slice(to, to + kept), slice(start, start + kept)


_AUGMENTATIONS: dict[str, Callable[..., _Change]] = {
    "shift": _shift,
    "crop": _crop,
    "flip": _flip,
}
