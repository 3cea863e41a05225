"""Made-up images: the same everywhere, of any shape, with labels that can be learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc_runtime.train.datasets import Dataset, open_dataset

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))


def made(shape: tuple[int, int, int], classes: int, **given: object) -> Dataset:
    return open_dataset("synthetic", (), given, shape, classes)


@given(SHAPES, st.integers(1, 20), st.integers(0, 2**63 - 1), st.integers(1, 9), st.integers(1, 9))
def test_any_network_is_filled(
    loads_by_index: Callable[[Dataset], None],
    shape: tuple[int, int, int],
    classes: int,
    seed: int,
    train: int,
    test: int,
) -> None:
    dataset = made(shape, classes, seed=seed, train=train, test=test)
    assert (dataset.image_shape, len(dataset.classes)) == (shape, classes)
    assert (dataset.train_size, dataset.test_size, dataset.inputs) == (train, test, 1)
    loads_by_index(dataset)


def test_an_image_depends_on_seed_split_and_number() -> None:
    first, second = made((3, 8, 8), 2), made((3, 8, 8), 2, seed=1)
    images = [
        each.load(split, range(5), np.float64)[0]
        for each in (first, second)
        for split in ("train", "test")
    ]
    every = np.concatenate(images).reshape(20, -1)
    assert len(np.unique(every, axis=0)) == 20
    again, _ = made((3, 8, 8), 2, train=99).load("train", range(5), np.float64)
    assert np.array_equal(again, images[0])


def test_pixels_are_normalized() -> None:
    images, _ = made((3, 16, 16), 50).load("train", range(1024), np.float64)
    assert abs(images.mean()) < 0.02 and abs(images.std() - 1) < 0.02


def test_labels_can_be_learned() -> None:
    """The mean image of each class in training tells the classes of held-out ones."""
    dataset = made((3, 12, 12), 10)
    images, labels = dataset.load("train", range(1024), np.float64)
    means = np.stack([images[labels == k].mean(axis=0) for k in range(10)])
    held_out, wanted = dataset.load("test", range(256), np.float64)
    distances = ((held_out[:, None] - means) ** 2).sum(axis=(2, 3, 4))
    assert np.mean(distances.argmin(axis=1) == wanted) > 0.95


def test_it_says_that_it_is_synthetic() -> None:
    told = made((1, 2, 2), 3).description
    assert told.startswith("SYNTHETIC images, made up") and "labels can be learned" in told
    assert "1,024 training images, 256 held-out images" in told


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": 0}, "'train' of 'synthetic' is 0, not a whole number of at least 1."),
        ({"test": 2**31}, "'test' of 'synthetic' is 2147483648, more than 2,147,483,647."),
        ({"seed": -1}, "'seed' of 'synthetic' is -1"),
        ({"size": 3}, "help: write synthetic(train=1024, test=256, seed=0)"),
    ],
)
def test_wrong_numbers(given: dict[str, object], said: str, complains: Any) -> None:
    with complains("E060", said):
        made((1, 2, 2), 3, **given)
