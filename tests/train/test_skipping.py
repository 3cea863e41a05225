"""Images that cannot be read: what stands in their places depends on nothing but which they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from netc.errors import DataError, Diagnostic
from netc_runtime.io.problems import data_error
from netc_runtime.train.images import Split
from netc_runtime.train.loading import Loader
from netc_runtime.train.skipping import Skipping
from netc_runtime.train.windows import Window

BAD = st.sets(st.integers(0, 19), max_size=19)


class Damaged:
    """Twenty images of a split, each its number; some cannot be read."""

    name, description, inputs, image_shape, classes = (
        "damaged",
        "numbers",
        1,
        (1, 1, 1),
        ("0",) * 20,
    )
    train_size, test_size = 20, 20
    mean, std = (0.0,), (1.0,)

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        wrong = [int(row) for row in indices if int(row) in self.bad]
        if wrong:
            raise DataError(*(Diagnostic("E066", f"bad {row}.") for row in wrong))
        rows = np.array(indices, np.int64)
        return rows.reshape(-1, 1, 1, 1).astype(dtype), rows


@given(BAD, st.lists(st.lists(st.integers(0, 19), max_size=9), max_size=9), st.integers(1, 3))
def test_the_next_that_can_be_read_stands_there(
    bad: set[int], batches: list[list[int]], workers: int
) -> None:
    """Whatever was loaded before, by however many threads."""
    dataset = Damaged(bad)
    skipping = Skipping(dataset, len(bad))
    read = partial(skipping.load, "train", dtype=np.float32)
    with Loader(skipping, np.float32, workers) as loader:
        begun = [loader.begin(read, np.array(rows, np.int64)) for rows in batches]
        for rows, loading in zip(batches, begun, strict=True):
            wanted = [next(k % 20 for k in range(r, r + 20) if k % 20 not in bad) for r in rows]
            images, labels = loading.result()
            assert images.ravel().tolist() == labels.tolist() == wanted
    met = {row for _, row in skipping.bad}
    assert met <= bad and met >= bad & {row for rows in batches for row in rows}


@given(BAD.filter(bool), st.integers(0, 18))
def test_more_are_an_error_that_has_all(bad: set[int], most: int) -> None:
    skipping = Skipping(Damaged(bad), most)
    if len(bad) <= most:
        skipping.load("test", range(20), float)
        assert {row for _, row in skipping.bad} == bad
        return
    with pytest.raises(DataError) as caught:
        skipping.load("test", range(20), float)
    assert len(caught.value.diagnostics) == most + 1
    assert skipping.load("train", [], float)[0].shape == (0, 1, 1, 1)


def test_splits_are_apart_and_nothing_readable_is_an_error() -> None:
    skipping = Skipping(Damaged({3}), 2)
    skipping.load("train", [3], float)
    skipping.load("test", [3], float)
    assert set(skipping.bad) == {("train", 3), ("test", 3)}
    with pytest.raises(DataError):
        Skipping(Damaged(set(range(20))), 99).load("train", [5], float)


def test_other_errors_pass(monkeypatch: pytest.MonkeyPatch, complains: Any) -> None:
    def fails(*_: object) -> None:
        raise data_error("E062", "the file changed.")

    dataset = Damaged(set())
    monkeypatch.setattr(dataset, "load", fails)
    with complains("E062", "the file changed."):
        Skipping(dataset, 9).load("train", [1], float)
