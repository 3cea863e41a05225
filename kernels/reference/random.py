"""Dropout and initial weights from counter-based random numbers.

An element's number depends on its row-major index in the *global* tensor only, so any block of the
tensor can be made anywhere: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as
1, 2, 3") with key = (seed low, seed high) and counter = (index // 4 low, index // 4 high, step,
key of the layer), 32 bits each, yields four words, of which the element takes word index % 4.

A block has the shape of the array given, and lies at `offset` in the global tensor `shape`. Where
`rows` is not empty, dim 0 of the block stands for those segments (start, count) of global rows.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from netc_kernels.reference.layout import Array, Rows, global_rows

Words: TypeAlias = tuple[Any, Any, Any, Any]
"""Four words of 32 bits, each a Python int or an array of uint64; one of each per counter."""

MASK = 0xFFFFFFFF
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10

CACHED_ELEMENTS = 1 << 16
"""Elements made at once, so that the words in between stay in the cache."""


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Return the four random words of every counter; parts of a counter broadcast."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + KEY_STEPS[0]) & MASK, (k1 + KEY_STEPS[1]) & MASK
    return c0, c1, c2, c3


class Runs(NamedTuple):
    """Equally long runs of consecutive global indices that make up some rows of a block."""

    rows: slice
    """The rows of the block."""
    starts: Array
    """The first global index of every run, int64, in order."""
    length: int
    """The number of elements of a run."""


def dropout(
    out: Array,
    x: Array,
    seed: Array,
    step: Array,
    *,
    rate: float,
    key: int,
    shape: tuple[int, ...],
    offset: tuple[int, ...],
    rows: Rows,
) -> None:
    """Drop elements of x with probability `rate`, scale the others by 1 / (1 - rate).

    An element stays where its word >= round(rate * 2**32). The same call on the gradient of the
    output gives that of the input. seed () and step () are int64. `out` may be x.
    """
    threshold = round(rate * 2**32)
    scale = 1 / (1 - rate) if rate < 1 else 0.0

    def factors(words: Words) -> Words:
        return _each(lambda word: (word >= threshold) * x.dtype.type(scale), words)

    for runs in _runs(out.shape, shape, offset, rows):
        factor = _drawn(factors, runs, int(seed), int(step), key)
        part = x[runs.rows]
        np.multiply(part, factor.reshape(part.shape), out=out[runs.rows])


def init_normal(
    out: Array,
    seed: Array,
    *,
    std: float,
    key: int,
    shape: tuple[int, ...],
    offset: tuple[int, ...],
) -> None:
    """Fill a block of initial weights with normal numbers of mean 0 and deviation `std`.

    Computed in float64 and rounded once; seed () is int64, the step is 0.
    """
    for runs in _runs(out.shape, shape, offset, ()):
        normal = _drawn(box_muller, runs, int(seed), 0, key)
        part = out[runs.rows]
        part[...] = std * normal.reshape(part.shape)


def init_constant(out: Array, *, value: float) -> None:
    """Fill with one value."""
    out[...] = value


def box_muller(words: Words) -> Words:
    """Turn words 0, 1 and words 2, 3 into pairs of independent standard normal numbers.

    With u = (word + 0.5) / 2**32, a pair is sqrt(-2 log u0) * (cos 2 pi u1, sin 2 pi u1) (Box and
    Muller 1958).
    """
    u0, u1, u2, u3 = _each(lambda word: (word + 0.5) / 2**32, words)
    return *_normal_pair(u0, u1), *_normal_pair(u2, u3)


def _normal_pair(u0: Array, u1: Array) -> tuple[Array, Array]:
    radius, angle = np.sqrt(-2 * np.log(u0)), 2 * np.pi * u1
    return radius * np.cos(angle), radius * np.sin(angle)


def _each(function: Callable[[Any], Any], words: Words) -> Words:
    w0, w1, w2, w3 = words
    return function(w0), function(w1), function(w2), function(w3)


def _drawn(
    transform: Callable[[Words], Words], runs: Runs, seed: int, step: int, key: int
) -> Array:
    """Draw the words of all runs, transform them, and return the elements: (runs, length)."""
    first, shift = runs.starts // 4, runs.starts % 4
    # a run touches at most this many counters, wherever in a counter it starts
    counters = first[:, None] + np.arange((runs.length + 2) // 4 + 1)
    low, high = (counters & MASK).astype(np.uint64), (counters >> 32).astype(np.uint64)
    words = philox((low, high, step & MASK, key), (seed & MASK, seed >> 32 & MASK))
    numbers = np.stack(transform(words), axis=-1).reshape(len(first), -1)
    if len(first) == 1:
        return numbers[:, shift[0] : shift[0] + runs.length]
    return np.take_along_axis(numbers, shift[:, None] + np.arange(runs.length), axis=1)


def _runs(
    block: tuple[int, ...], shape: tuple[int, ...], offset: tuple[int, ...], rows: Rows
) -> Iterator[Runs]:
    """Cut a block into runs, some rows at a time."""
    if 0 in block:
        return
    global_row = global_rows(block[0], offset[0], rows)
    row_elements, block_row_elements = math.prod(shape[1:]), math.prod(block[1:])
    merged = len(rows) < 2 and row_elements == block_row_elements
    step = max(1, CACHED_ELEMENTS // block_row_elements)
    for start in range(0, block[0], step):
        part = slice(start, start + step)
        starts = global_row[part] * row_elements
        if merged:
            yield Runs(part, starts[:1], len(starts) * row_elements)
        else:
            yield Runs(part, *_starts(starts, block[1:], shape[1:], offset[1:]))


def _starts(
    starts: Array, block: tuple[int, ...], shape: tuple[int, ...], offset: tuple[int, ...]
) -> tuple[Array, int]:
    """Go from the first indices of whole rows to those of the runs inside a block's rows."""
    if block == shape:
        return starts, math.prod(shape)
    inner = math.prod(shape[1:])
    if block[1:] == shape[1:]:
        return starts + offset[0] * inner, block[0] * inner
    columns = np.arange(offset[0], offset[0] + block[0]) * inner
    return _starts((starts[:, None] + columns).ravel(), block[1:], shape[1:], offset[1:])
