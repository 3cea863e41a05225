"""Loss and accuracy over the held-out images of a data set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc_runtime.session import Session
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.outcomes import Outcomes, joined, outcomes_of

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network makes of images that it was not trained on."""

    loss: float
    """Mean over all images."""
    accuracy: float
    """The fraction of images whose class has the highest score."""
    outcomes: Outcomes | None
    """What it says of each, in their order; None where it was not asked."""
    seconds: float
    """With loading."""


def evaluate(session: Session, dataset: Dataset, each: bool = False) -> Evaluation:
    """Go through all held-out images once; the last batch is padded and masked.

    Scores are fetched only to say what the network makes of `each` image. Raises DataError (E066)
    as the data set does.
    """
    began = time.perf_counter()
    loss, correct, size = 0.0, 0.0, dataset.test_size
    parts: list[Outcomes] = []
    for images, labels, count in _batches(session, dataset):
        part, right = session.evaluate(images, labels, count)
        loss, correct = loss + part, correct + right
        if each:
            parts.append(outcomes_of(session.scores()[:count], labels[:count]))
    seconds = time.perf_counter() - began
    return Evaluation(loss / size, correct / size, joined(parts) if each else None, seconds)


def _batches(session: Session, dataset: Dataset) -> Iterator[tuple[Array, Array, int]]:
    """Images, labels, and how many of them count; the next batch loads while one is used."""
    size, batch = dataset.test_size, session.batch

    def load(start: int) -> tuple[Array, Array, int]:
        wanted = np.arange(start, start + batch) % size
        images, labels = dataset.load("test", wanted, session.dtype)
        return images, labels, min(batch, size - start)

    with ThreadPoolExecutor(1, "netc-loader") as pool:
        pending = pool.submit(load, 0)
        for start in range(batch, size, batch):
            ready, pending = pending.result(), pool.submit(load, start)
            yield ready
        yield pending.result()
