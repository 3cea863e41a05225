"""Order and augmentation: permutations, what each change does, and what it may depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from netc_runtime.train.augment import Spec, augment, order

SPECS: tuple[Spec, ...] = (("shift", (2,), {}), ("flip", (), {}), ("crop", (), {"pad": 1}))


def numbered(count: int, shape: tuple[int, int, int] = (2, 5, 6)) -> NDArray[np.float32]:
    """Images in which no two pixels, and none and the filling, are alike."""
    size = count * int(np.prod(shape))
    return np.arange(1, size + 1, dtype=np.float32).reshape(count, *shape)


@given(st.integers(-(2**64), 2**64), st.integers(0, 10**6), st.integers(0, 300))
def test_order_is_a_permutation(seed: int, epoch: int, n: int) -> None:
    first = order(seed, epoch, n)
    assert first.dtype == np.int64 and sorted(first.tolist()) == list(range(n))
    assert np.array_equal(first, order(seed, epoch, n))


def test_order_depends_on_seed_and_epoch_and_never_changes() -> None:
    assert order(7, 0, 10).tolist() == [8, 4, 1, 6, 3, 2, 7, 5, 9, 0]
    assert len({tuple(order(seed, epoch, 50)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6


def test_order_favours_no_place() -> None:
    first = np.array([order(0, epoch, 4)[0] for epoch in range(2000)])
    assert np.all(np.abs(np.bincount(first) - 500) < 100)


@given(st.permutations(range(12)), st.integers(0, 12), st.integers(0, 3), st.integers(0, 3))
def test_augmentation_does_not_depend_on_the_batch(
    rows: list[int], cut: int, seed: int, epoch: int
) -> None:
    images = numbered(12)
    whole = augment(images, range(12), seed, epoch, SPECS)
    for part in (rows[:cut], rows[cut:]):
        assert np.array_equal(augment(images[part], part, seed, epoch, SPECS), whole[part])


def test_augmentation_depends_on_seed_epoch_and_index() -> None:
    same = np.repeat(numbered(1), 40, axis=0)
    made = augment(same, range(40), 0, 0, SPECS)
    assert len({image.tobytes() for image in made}) > 20
    assert not np.array_equal(made, augment(same, range(40), 1, 0, SPECS))
    assert not np.array_equal(made, augment(same, range(40), 0, 1, SPECS))
    assert made.dtype == same.dtype and np.array_equal(same, np.repeat(numbered(1), 40, axis=0))


@pytest.mark.parametrize("spec", [("shift", (2,), {}), ("crop", (), {"pad": 2})])
def test_shift_and_crop_move_and_fill_with_zeros(spec: Spec) -> None:
    images = np.repeat(numbered(1), 400, axis=0)
    made = augment(images, range(400), 0, 0, [spec])
    padded = np.pad(images[0], ((0, 0), (2, 2), (2, 2)))
    windows = {
        padded[:, top : top + 5, left : left + 6].tobytes() for top in range(5) for left in range(5)
    }
    assert {image.tobytes() for image in made} == windows


@pytest.mark.parametrize("pixels", [5, 6, 40])
def test_a_shift_may_leave_the_picture(pixels: int) -> None:
    made = augment(numbered(60), range(60), 0, 0, [("shift", (pixels,), {})])
    assert made.shape == (60, 2, 5, 6)
    assert any(not image.any() for image in made)


def test_flip_mirrors_half() -> None:
    images = numbered(400)
    made = augment(images, range(400), 0, 0, [("flip", (), {})])
    flipped = np.array([np.array_equal(a, b[..., ::-1]) for a, b in zip(made, images, strict=True)])
    assert np.array_equal(made[~flipped], images[~flipped])
    assert 150 < flipped.sum() < 250


def test_nothing_to_do() -> None:
    assert np.array_equal(augment(numbered(3), range(3), 0, 0, []), numbered(3))
    assert augment(numbered(0), [], 0, 0, SPECS).shape == (0, 2, 5, 6)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (("flop", (), {}), "there is no augmentation 'flop'.\n     = help: did you mean 'flip'? "),
        (("shift", (), {}), "missing a required argument: 'pixels'."),
        (("crop", (-1,), {}), "is -1, not a whole number of at least 0."),
        (("shift", (10**30,), {}), "is 1000000000000000000000000000000, more than 65,536."),
        (("shift", (float("inf"),), {}), "is inf, not a whole number"),
    ],
)
def test_wrong_augmentations(spec: Spec, said: str, complains: Callable[..., Any]) -> None:
    with complains("E060", said):
        augment(numbered(1), [0], 0, 0, [spec])
