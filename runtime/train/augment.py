"""Random order and random changes of training images, as pure functions of where they stand.

Every random number is a word of Philox at a known place (`philox`), so results depend neither on
how images are batched nor on how many devices there are. docs/training.md says what each word does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netc.ir.augmentations import AUGMENTATIONS, misfit

from ..io.problems import data_error
from .calls import call, number
from .datasets import Dataset
from .mixing import Mix, mix
from .philox import HALF_BITS, LOW_HALF, Draws, stream, units
from .windows import Window, random_rectangle, random_window

Spec = tuple[str, Sequence[object], Mapping[str, object]]
"""One augmentation as a recipe calls it: its name, arguments and named arguments."""
Indices = Sequence[int] | NDArray[np.int64]
"""Images' places in the data set."""
Scale = tuple[Sequence[float], Sequence[float]]
"""What became 0, and how far from it became 1: one number, or one a channel."""

_ATTEMPTS = 10
"""To find a rectangle that fits, as in torchvision."""
_GREY = (0.299, 0.587, 0.114)
"""The parts of red, green and blue (ITU-R BT.601)."""
_PIECE = 1 << 17
"""Numbers that are changed at a time, so that they stay in the cache."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Images (n, C, H, W) to be changed; they themselves stay as they are."""

    images: NDArray[Any]
    draws: Draws
    scale: Scale


_Change = Callable[[_Batch], NDArray[Any]]


@lru_cache(maxsize=1)
def order(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """The order in which an epoch visits its `n` images: a permutation of range(n).

    It ranks the first `n` words of the Philox stream of (seed, epoch); the same on every machine.
    It is kept for the epoch's next step, and so cannot be written to.
    """
    ranked = np.argsort(stream(seed, epoch, 0, n), kind="stable").astype(np.int64, copy=False)
    ranked.flags.writeable = False
    return ranked


def examples(
    dataset: Dataset,
    indices: Indices,
    dtype: DTypeLike,
    seed: int,
    epoch: int,
    specs: Sequence[Spec],
) -> tuple[NDArray[Any], ...]:
    """Training images (len(indices), C, H, W) of `dtype`, changed by `specs`, and their labels;
    where `specs` mix images, also the labels of the images mixed in, and the first labels' shares,
    of `dtype`.

    Raises DataError, as `Dataset.load` and `augment`.
    """
    rows, key = np.asarray(indices, np.int64), (seed, epoch, specs)
    ways = [
        (change.mix, Draws(seed, epoch, purpose, rows))
        for purpose, change in enumerate(_made(specs), 1)
        if isinstance(change, _Mix)
    ]
    if not ways:
        return _changed(dataset, rows, dtype, *key)
    mixed = mix(ways, dataset.train_size, dataset.image_shape[1:])
    every, places = np.unique(np.concatenate((rows, mixed.partners)), return_inverse=True)
    images, labels = _changed(dataset, every, dtype, *key)
    own, others = places[: len(rows)], places[len(rows) :]
    shares = mixed.shares.astype(dtype)
    return mixed.apply(images, own, others), labels[own], labels[others], shares


def _changed(
    dataset: Dataset,
    rows: NDArray[np.int64],
    dtype: DTypeLike,
    seed: int,
    epoch: int,
    specs: Sequence[Spec],
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Images before they are mixed, and their labels."""
    images, labels = dataset.load("train", rows, dtype, _windows(rows, seed, epoch, specs))
    return augment(images, rows, seed, epoch, specs, (dataset.mean, dataset.std)), labels


def augment(
    images: NDArray[Any],
    indices: Indices,
    seed: int,
    epoch: int,
    specs: Sequence[Spec],
    scale: Scale = ((0.0,), (1.0,)),
) -> NDArray[Any]:
    """`images` (n, C, H, W) changed by each of `specs` in turn; `images` itself stays as it is.

    `indices` are the images' places in the data set: each change depends on (seed, epoch, index)
    and the spec's position only. Images were normalized by `scale`, and read by the windows of
    'resized_crop', which does nothing here; nor do those that mix images, which take others.

    Raises DataError (E060) for an unknown name or wrong arguments, even where there are no images.
    """
    rows = np.asarray(indices, np.int64)
    assert len(rows) == len(images), "one index an image"
    for purpose, change in enumerate(_made(specs), 1):
        images = change(_Batch(images, Draws(seed, epoch, purpose, rows), scale))
    return images


def _windows(
    rows: NDArray[np.int64], seed: int, epoch: int, specs: Sequence[Spec]
) -> list[Window] | None:
    """What is read of each picture, where that is not the usual part."""
    first = _made(specs[:1])
    crops = [each for each in first if isinstance(each, _Crop)]
    return crops[0].windows(Draws(seed, epoch, 1, rows)) if crops else None


def _made(specs: Sequence[Spec]) -> list[_Change]:
    """What specs do; DataError (E060) where one is not known, told wrongly, or out of place."""
    words = [name for name, _, _ in specs]
    return [_change(words[:position], spec) for position, spec in enumerate(specs)]


def _change(before: Sequence[str], spec: Spec) -> _Change:
    name, args, kwargs = spec
    change = call("augmentation", CHANGES, name, args, kwargs)
    arguments = AUGMENTATIONS[name].arguments
    told = dict(zip((each.name for each in arguments), args, strict=False)) | dict(kwargs)
    values = {
        each.name: number(f"'{each.name}' of '{name}'", told[each.name], each.kind)
        for each in arguments
    }
    if message := misfit(before, name, values):
        raise data_error("E060", message)
    return change


def _shift(pixels: int) -> _Change:
    """Moved by up to `pixels`: the word's halves choose the rows and the columns."""

    def change(batch: _Batch) -> NDArray[Any]:
        out = np.zeros_like(batch.images)
        words, choices = batch.draws.words(), np.uint64(2 * pixels + 1)
        down = ((words >> HALF_BITS) % choices).tolist()
        right = ((words & LOW_HALF) % choices).tolist()
        for image, moved, dy, dx in zip(batch.images, out, down, right, strict=True):
            _move(moved, image, dy - pixels, dx - pixels)
        return out

    return change


def _flip() -> _Change:
    """Mirrored where the word is odd."""

    def change(batch: _Batch) -> NDArray[Any]:
        odd = (batch.draws.words() & np.uint64(1)).astype(bool)
        out = batch.images.copy()
        out[odd] = out[odd, ..., ::-1]
        return out

    return change


@dataclass(frozen=True, slots=True)
class _Crop:
    """Chooses what is read of a picture; what was read stays as it is."""

    min: float
    max: float
    ratio: float

    def windows(self, draws: Draws) -> list[Window]:
        """The window of each image: its blocks from 1 on are the attempts."""
        attempts, limits = draws.blocks(1, _ATTEMPTS), (self.min, self.max, self.ratio)
        return [partial(random_window, words=words, limits=limits) for words in attempts]

    def __call__(self, batch: _Batch) -> NDArray[Any]:
        return batch.images


def _jitter(brightness: float, contrast: float, saturation: float) -> _Change:
    """Brightness, contrast and saturation times factors of the block's first three words."""

    def change(batch: _Batch) -> NDArray[Any]:
        reach = np.array([brightness, contrast, saturation])
        factors = 1 + reach * (2 * units(batch.draws.blocks(0, 1)[:, 0, :3]) - 1)
        out = np.empty_like(batch.images)
        for piece in _pieces(batch.images):
            out[piece] = _recoloured(batch.images[piece], factors[piece], batch.scale)
        return out

    return change


def _erase(p: float, min: float, max: float, ratio: float) -> _Change:
    """A rectangle is 0 where block 0's first word is below p; the blocks behind are attempts."""

    def change(batch: _Batch) -> NDArray[Any]:
        out = batch.images.copy()
        height, width = out.shape[2:]
        blocks = batch.draws.blocks(0, 1 + _ATTEMPTS)
        for row in np.flatnonzero(units(blocks[:, 0, 0]) < p):
            found = random_rectangle(height, width, blocks[row, 1:], (min, max, ratio))
            if found is not None:
                top, left, tall, wide = found
                out[row, :, top : top + tall, left : left + wide] = 0
        return out

    return change


@dataclass(frozen=True, slots=True)
class _Mix:
    """Takes another image, of which a single one knows nothing: it stays as it is."""

    mix: Mix

    def __call__(self, batch: _Batch) -> NDArray[Any]:
        return batch.images


def _mixup(alpha: float, p: float) -> _Change:
    return _Mix(Mix(alpha, p, cuts=False))


def _cutmix(alpha: float, p: float) -> _Change:
    return _Mix(Mix(alpha, p, cuts=True))


def _recoloured(images: NDArray[Any], factors: NDArray[np.float64], scale: Scale) -> NDArray[Any]:
    """Images (n, C, H, W) with their brightness, contrast and saturation times `factors` (n, 3).

    Of a pixel x with grey g, in an image whose mean grey is m, factors b, c and s make
    b (c (s x + (1 - s) g) + (1 - c) m). Nothing is cut off at black and white, and so the order of
    the three is of no consequence, as in Torch's ResNets (S. Gross, M. Wilber, 2016).
    """
    n, channels, height, width = images.shape
    parts = np.array(_GREY if channels == 3 else (1 / channels,) * channels)
    mean, std = (np.broadcast_to(np.asarray(each, float), channels) for each in scale)
    pixels = images.reshape(n, channels, height * width)
    # The grey of normalized pixels, which lacks that of the mean.
    grey = np.zeros((n, height * width), images.dtype)
    for channel, part in enumerate((parts * std).tolist()):
        grey += pixels[:, channel] * part
    b, c, s = factors.T[:, :, None]
    lacking = parts @ mean
    means = grey.mean(axis=1)[:, None] + lacking
    own, of_grey = b * c * s, b * c * (1 - s) / std
    rest = b * (c * (1 - s) * lacking + (1 - c) * means) + (own - 1) * mean
    kind = images.dtype
    out: NDArray[Any] = pixels * own.astype(kind)[:, :, None]
    out += of_grey.astype(kind)[:, :, None] * grey[:, None]
    out += (rest / std).astype(kind)[:, :, None]
    return out.reshape(images.shape)


def _pieces(images: NDArray[Any]) -> Iterator[slice]:
    """Images by the few."""
    step = max(1, _PIECE * len(images) // max(1, images.size))
    return (slice(first, first + step) for first in range(0, len(images), step))


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


CHANGES: dict[str, Callable[..., _Change]] = {
    "shift": _shift,
    "flip": _flip,
    "resized_crop": _Crop,
    "jitter": _jitter,
    "erase": _erase,
    "mixup": _mixup,
    "cutmix": _cutmix,
}
"""What makes the change of each word of `AUGMENTATIONS`."""
