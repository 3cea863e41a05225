"""Images that cannot be read, left out of a training: others take their places."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netc.errors import DataError, Diagnostic

from ..launch.ranks import Ranks
from .datasets import Dataset
from .images import Split
from .survey import UNREAD
from .windows import Window


class Skipping:
    """A data set in which up to `most` images cannot be read. See `datasets.Dataset`.

    In the place of such an image stands the next one of its split that can be read, by number, and
    after the last the first, with its label. So what is in a place does not depend on the order in
    which images are loaded. Several threads may load at once.
    """

    def __init__(self, dataset: Dataset, most: int) -> None:
        self.dataset, self.most = dataset, most
        self.bad: dict[tuple[Split, int], tuple[Diagnostic, ...]] = {}
        """What is wrong with the images that were left out, by split and number."""
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """As the data set."""
        return self.dataset.name

    @property
    def description(self) -> str:
        """As the data set."""
        return self.dataset.description

    @property
    def inputs(self) -> int:
        """As the data set."""
        return self.dataset.inputs

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """As the data set."""
        return self.dataset.image_shape

    @property
    def mean(self) -> tuple[float, ...]:
        """As the data set."""
        return self.dataset.mean

    @property
    def std(self) -> tuple[float, ...]:
        """As the data set."""
        return self.dataset.std

    @property
    def classes(self) -> tuple[str, ...]:
        """As the data set."""
        return self.dataset.classes

    @property
    def train_size(self) -> int:
        """As the data set, with those that cannot be read."""
        return self.dataset.train_size

    @property
    def test_size(self) -> int:
        """As the data set, with those that cannot be read."""
        return self.dataset.test_size

    def load(
        self,
        split: Split,
        indices: Sequence[int] | NDArray[np.int64],
        dtype: DTypeLike,
        windows: Sequence[Window] | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """As the data set does. Raises DataError (E066), with all of them, where they are more."""
        known = self.bad
        try:
            if not any((split, int(row)) in known for row in indices):
                return self.dataset.load(split, indices, dtype, windows)
        except DataError as problem:
            _check_unread(problem)
        others = [self._readable(split, int(row), dtype) for row in indices]
        return self.dataset.load(split, others, dtype, windows)

    def _readable(self, split: Split, row: int, dtype: DTypeLike) -> int:
        """The first image from `row` on that can be read."""
        size = self.dataset.train_size if split == "train" else self.dataset.test_size
        for each in chain(range(row, size), range(row)):
            if (split, each) in self.bad:
                continue
            try:
                self.dataset.load(split, [each], dtype)
                return each
            except DataError as problem:
                _check_unread(problem)
                self._leave_out(split, each, problem)
        raise self._too_many()

    def _leave_out(self, split: Split, row: int, problem: DataError) -> None:
        with self._lock:
            self.bad = {**self.bad, (split, row): problem.diagnostics}
        if len(self.bad) > self.most:
            raise self._too_many()

    def _too_many(self) -> DataError:
        return DataError(*(each for problems in self.bad.values() for each in problems))


def problems_in(dataset: Dataset, ranks: Ranks) -> list[Diagnostic]:
    """What is wrong with the images that were left out, in any process; all must ask."""
    every = ranks.allgather(dataset.bad if isinstance(dataset, Skipping) else {})
    found = {place: problems for bad in every for place, problems in bad.items()}
    places = sorted(found, key=lambda place: (place[0] != "train", place[1]))
    return [problem for place in places for problem in found[place]]


def _check_unread(problem: DataError) -> None:
    """Raise what is no image that cannot be read."""
    if any(each.code != UNREAD for each in problem.diagnostics):
        raise problem
