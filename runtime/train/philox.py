"""Words of Philox4x64-10, by which order and augmentation are random.

A function of a key and a counter (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3,
2011): nothing depends on what was drawn before. Only raw words are used: NumPy keeps these the same
for ever, but not what its `permutation` makes of them (NEP 19).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
_ROUNDS = 10
_FACTORS = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_STEPS = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
LOW_HALF, HALF_BITS = np.uint64(0xFFFF_FFFF), np.uint64(32)


@dataclass(frozen=True, slots=True)
class Draws:
    """The random numbers of some images, for one purpose."""

    seed: int
    epoch: int
    purpose: int
    """What they are for: 1 and up, the places of a recipe's augmentations."""
    rows: NDArray[np.int64]
    """The images' places in the data set."""

    def words(self) -> Words:
        """One word an image: that at its place in the stream (seed, epoch, purpose)."""
        four = self._blocks(self.rows // 4, np.uint64(0))
        return np.take_along_axis(four, self.rows[:, None] % 4, axis=1)[:, 0]

    def blocks(self, first: int, count: int) -> Words:
        """Blocks `first` and up of each image, four words each: (images, count, 4)."""
        numbers = np.arange(first, first + count, dtype=np.uint64)
        return self._blocks(self.rows[:, None], numbers)

    def _blocks(self, places: NDArray[np.int64], numbers: NDArray[np.uint64] | np.uint64) -> Words:
        first = places.astype(np.uint64) + np.uint64(1)
        counter = first, np.uint64(0), numbers, np.uint64(self.purpose)
        return philox(counter, (self.seed % 2**64, self.epoch))


def stream(seed: int, epoch: int, purpose: int, count: int) -> Words:
    """The first `count` words of the stream (seed, epoch, purpose), by NumPy's own generator."""
    key = np.array([seed % 2**64, epoch], np.uint64)
    counter = np.array([0, 0, 0, purpose], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)


def units(words: Words) -> NDArray[np.float64]:
    """Words as numbers from 0 to below 1: their upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def philox(counter: tuple[Words | np.uint64, ...], key: tuple[int, int]) -> Words:
    """The blocks (..., 4) at these counters, whose four words are of one shape when broadcast."""
    a, b, c, d = np.broadcast_arrays(*counter)
    left, right = key
    for _ in range(_ROUNDS):
        (high_a, low_a), (high_c, low_c) = _product(_FACTORS[0], a), _product(_FACTORS[1], c)
        a, b = high_c ^ b ^ np.uint64(left), low_c
        c, d = high_a ^ d ^ np.uint64(right), low_a
        left, right = ((k + step) % 2**64 for k, step in zip((left, right), _STEPS, strict=True))
    return np.stack((a, b, c, d), axis=-1)


def _product(factor: np.uint64, words: Words) -> tuple[Words, Words]:
    """The high and the low word of each product, from products of halves."""
    top, low = factor >> HALF_BITS, factor & LOW_HALF
    word_top, word_low = words >> HALF_BITS, words & LOW_HALF
    middle = low * word_top + (low * word_low >> HALF_BITS)
    other = top * word_low + (middle & LOW_HALF)
    return top * word_top + (middle >> HALF_BITS) + (other >> HALF_BITS), factor * words
