"""All images of a data set, looked at once: which cannot be read, and what the others are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError, Diagnostic

from ..ports import apart
from .datasets import Dataset, parts_of
from .images import Split

UNREAD = "E066"
"""The code of what is said of an image that cannot be read."""
NAMED = 20
"""Images that cannot be read, of those that a message names."""
LOOK_SECONDS = 60.0
"""How long the other images are looked at where one cannot be read."""
AT_ONCE = 16
"""Images that a thread looks at, one after the other."""
SPLITS: tuple[Split, Split] = ("train", "test")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found in images of one split."""

    looked: int
    """How many images were looked at."""
    counts: NDArray[np.int64]
    """Of those that can be read, how many are of each class."""
    sums: NDArray[np.float64]
    """Of their values, and of the squares of these: (2, C), the channels of all inputs."""
    values: NDArray[np.int64]
    """How many values each channel has in all images that can be read."""
    problems: tuple[Diagnostic, ...] = ()
    """What is wrong with the others."""

    def __add__(self, other: Seen) -> Seen:
        """Both together."""
        return Seen(
            self.looked + other.looked,
            self.counts + other.counts,
            self.sums + other.sums,
            self.values + other.values,
            self.problems + other.problems,
        )

    @property
    def mean(self) -> NDArray[np.float64]:
        """Of each channel; NaN without images."""
        return self._mean_of(0)

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Of each channel from its mean; NaN without images."""
        found: NDArray[np.float64] = np.sqrt(np.maximum(self._mean_of(1) - self.mean**2, 0.0))
        return found

    def _mean_of(self, power: int) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = self.sums[power] / np.where(self.values, self.values, math.nan)
        return mean


def survey(
    dataset: Dataset,
    workers: int,
    seconds: float = math.inf,
    tell: Callable[[int], None] = lambda _: None,
) -> dict[Split, Seen]:
    """Every image of both splits looked at, in so many threads; some, after so many seconds.

    Of how many were looked at is told meanwhile. Raises DataError where a file is not as it was
    when it was opened, but not where an image cannot be read.
    """
    sizes = {"train": dataset.train_size, "test": dataset.test_size}
    until = time.monotonic() + seconds

    def look(split: Split, start: int) -> Seen:
        """Nothing where it is late, but for the first images of all."""
        if time.monotonic() >= until and (split != SPLITS[0] or start):
            return _none(dataset)
        return _look(dataset, split, range(start, min(start + AT_ONCE, sizes[split])))

    with ThreadPoolExecutor(workers, "netc-survey") as pool:
        found: dict[Split, list[Future[Seen]]] = {
            split: [pool.submit(look, split, start) for start in range(0, sizes[split], AT_ONCE)]
            for split in SPLITS
        }
        seen = dict.fromkeys(SPLITS, _none(dataset))
        for split, parts in found.items():
            for part in parts:
                seen[split] += part.result()
                tell(sum(each.looked for each in seen.values()))
        return seen


def unread(dataset: Dataset, problems: Iterable[Diagnostic], workers: int) -> DataError:
    """What ends a run: these images that cannot be read, and others of the data set.

    Others are looked for for a minute; twenty are named.
    """
    seen = survey(dataset, workers, LOOK_SECONDS)
    known = dict.fromkeys((*problems, *(p for each in seen.values() for p in each.problems)))
    looked, size = (
        sum(each.looked for each in seen.values()),
        dataset.train_size + dataset.test_size,
    )
    more = f", of which {len(known) - NAMED:,} are not named here" if len(known) > NAMED else ""
    text = (
        f"{looked:,} of the {size:,} images were looked at; {len(known):,} cannot be read{more}; "
        "'netc data' names all."
    )
    return DataError(*list(known)[:NAMED], Diagnostic("", text, severity="note"))


def _none(dataset: Dataset) -> Seen:
    channels = sum(part.image_shape[0] for part in parts_of(dataset))
    counts, values = np.zeros(len(dataset.classes), np.int64), np.zeros(channels, np.int64)
    return Seen(0, counts, np.zeros((2, channels)), values)


def _look(dataset: Dataset, split: Split, rows: range) -> Seen:
    """These images; where some cannot be read, one by one."""
    try:
        images, labels = dataset.load(split, rows, np.float32)
    except DataError as problem:
        if any(each.code != UNREAD for each in problem.diagnostics):
            raise
        if len(rows) == 1:
            none = _none(dataset)
            return replace(none, looked=1, problems=problem.diagnostics)
        return sum((_look(dataset, split, range(k, k + 1)) for k in rows), _none(dataset))
    parts = apart(images, [part.image_shape for part in parts_of(dataset)])
    sums = np.concatenate([_sums(part) for part in parts], axis=1)
    counts = np.bincount(labels, minlength=len(dataset.classes))
    values = np.concatenate([np.full(part.shape[1], part[:, 0].size) for part in parts])
    return Seen(len(rows), counts, sums, values)


def _sums(images: NDArray[np.float32]) -> NDArray[np.float64]:
    axes = (0, 2, 3)
    return np.stack([images.sum(axes, np.float64), np.square(images, dtype=np.float64).sum(axes)])
