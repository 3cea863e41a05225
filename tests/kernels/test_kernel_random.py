"""Random numbers: known answers, one element at a time, and blocks of a global tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_oracles import (
    Array,
    assert_close,
    assert_same,
    call,
    naive_normal,
    naive_philox,
    naive_word,
)

from netc_kernels.reference.random import philox

ONES = 0xFFFFFFFF
# kat_vectors of Random123, philox4x32 with 10 rounds: counter, key, words
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter: Any, key: Any, words: Any) -> None:
    assert naive_philox(counter, key) == words
    # the kernel passes the step and the layer's key as plain numbers
    low, high = (np.array([part, part], np.uint64) for part in counter[:2])
    mixed = philox((low, high, counter[2], counter[3]), key)
    assert [part.tolist() for part in mixed] == [[word] * 2 for word in words]


def mask(
    block: tuple[int, ...], /, *, seed: int = 1, step: int = 2, rate: float = 0.5, **at: Any
) -> Array:
    """Return the factors of dropout for a block of the global tensor; the whole one by default."""
    at = {"key": 3, "shape": block, "offset": (0,) * len(block), "rows": (), **at}
    x, scalars = np.ones(block), (np.array(seed), np.array(step))
    return call("dropout", block, x, *scalars, rate=rate, **at)


def weights(block: tuple[int, ...], /, *, seed: int = 1, **at: Any) -> Array:
    at = {"key": 3, "shape": block, "offset": (0,) * len(block), **at}
    return call("init_normal", block, np.array(seed), std=1.0, **at)


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 5, -3])
@pytest.mark.parametrize("step", [0, 9, 2**32 + 1])
def test_every_element_by_itself(seed: int, step: int) -> None:
    kept = [naive_word(i, seed, step, 3) >= round(0.3 * 2**32) for i in range(30)]
    actual = mask((5, 6), seed=seed, step=step, rate=0.3)
    assert_same(actual.ravel(), np.array(kept) * (1 / (1 - 0.3)))
    normal = [naive_normal(i, seed, 3) for i in range(30)]
    assert_close(weights((5, 6), seed=seed).ravel(), normal, 1e-13)


def test_beyond_32_bits() -> None:
    shape, offset = (2**30, 2**9), (2**30 - 3, 2**9 - 5)
    first = [(offset[0] + i) * shape[1] + offset[1] for i in range(3)]
    kept = [[naive_word(start + j, 1, 2, 3) >= 2**31 for j in range(5)] for start in first]
    assert_same(mask((3, 5), shape=shape, offset=offset) > 0, kept)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Draw a global shape, and the shape and offset of a block in it, maybe empty."""
    shape, block, offset = [], [], []
    for _ in range(draw(st.integers(1, 4))):
        shape.append(draw(st.integers(1, 7)))
        start, stop = sorted(draw(st.tuples(*[st.integers(0, shape[-1])] * 2)))
        whole = draw(st.booleans())
        offset.append(0 if whole else start)
        block.append(shape[-1] if whole else stop - start)
    return tuple(shape), tuple(block), tuple(offset)


@settings(max_examples=150, deadline=None)
@given(blocks())
def test_blocks_are_slices_of_the_global_tensor(
    case: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
) -> None:
    shape, block, offset = case
    where = tuple(slice(a, a + n) for a, n in zip(offset, block, strict=True))
    assert_same(mask(block, shape=shape, offset=offset), mask(shape)[where])
    assert_same(weights(block, shape=shape, offset=offset), weights(shape)[where])


@settings(max_examples=100, deadline=None)
@given(blocks(), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=4))
def test_row_segments_are_slices_of_the_global_tensor(
    case: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], rows: list[tuple[int, int]]
) -> None:
    shape, block, offset = case
    shape = (12, *shape[1:])
    numbers = [start + i for start, count in rows for i in range(count)]
    where = tuple(slice(a, a + n) for a, n in zip(offset[1:], block[1:], strict=True))
    at: dict[str, Any] = {"shape": shape, "offset": (0, *offset[1:]), "rows": tuple(rows)}
    assert_same(mask((len(numbers), *block[1:]), **at), mask(shape)[numbers][(slice(None), *where)])


def test_blocks_larger_than_the_cache() -> None:
    shape = (300, 301)
    whole_mask, whole_weights = mask(shape), weights(shape)
    for where in ((slice(120, 300), slice(0, 301)), (slice(0, 300), slice(7, 299))):
        offset = tuple(part.start for part in where)
        block = whole_mask[where].shape
        assert_same(mask(block, shape=shape, offset=offset), whole_mask[where])
        assert_same(weights(block, shape=shape, offset=offset), whole_weights[where])
    one_row = mask((1, 300 * 301), shape=(1, 300 * 301))
    assert_same(one_row.ravel(), whole_mask.ravel())


def test_rate() -> None:
    for rate in (0.1, 0.5, 0.9):
        factors = mask((200, 200), rate=rate)
        assert set(np.unique(factors)) == {0, 1 / (1 - rate)}
        assert abs(np.mean(factors == 0) - rate) < 0.01
    assert_same(mask((5, 5), rate=0.0), np.ones((5, 5)))
    assert_same(mask((5, 5), rate=1.0), np.zeros((5, 5)))


def test_the_word_at_the_threshold_stays() -> None:
    words = [naive_word(i, 1, 2, 3) for i in range(8)]
    for i, word in enumerate(words):
        assert mask((8,), rate=word / 2**32)[i] > 0
        assert mask((8,), rate=(word + 1) / 2**32)[i] == 0


def test_seed_step_and_key_all_count() -> None:
    changes: list[dict[str, Any]] = [{}, {"seed": 2}, {"seed": 1 + 2**32}, {"step": 3}, {"key": 4}]
    drawn = [mask((8, 8), **change).tobytes() for change in changes]
    assert len(set(drawn)) == len(changes)


def test_normal_numbers_are_normal() -> None:
    x = weights((40_000,))
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02
    assert abs(np.mean(np.abs(x) < 1) - 0.6827) < 0.01
    assert abs(np.mean(x[0::2] * x[1::2])) < 0.02
    scaled = call("init_normal", (9,), np.array(1), std=0.25, key=3, shape=(9,), offset=(0,))
    assert_same(scaled, 0.25 * x[:9])
    at = {"std": 0.25, "key": 3, "shape": (9,), "offset": (0,)}
    narrow = call("init_normal", (9,), np.array(1), dtype=np.float32, **at)
    assert_same(narrow, scaled.astype(np.float32))


def test_constant() -> None:
    assert_same(call("init_constant", (2, 3), value=0.5), np.full((2, 3), 0.5))
