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

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network makes of images that it was not trained on."""

    loss: float
    """Mean over all images."""
    accuracy: float
    """The fraction of images whose class has the highest score."""
    top_accuracy: float | None
    """The fraction whose class is among the highest `top` scores; None where it was not asked."""
    seconds: float
    """With loading."""


def evaluate(session: Session, dataset: Dataset, top: int | None = None) -> Evaluation:
    """Go through all held-out images once; the last batch is padded and masked.

    Scores are fetched only to find the `top` ones. Raises DataError (E066) as the data set does.
    """
    began = time.perf_counter()
    loss, correct, among, size = 0.0, 0.0, 0, dataset.test_size
    for images, labels, count in _batches(session, dataset):
        part, right = session.evaluate(images, labels, count)
        loss, correct = loss + part, correct + right
        if top is not None:
            among += int(in_top(session.scores(), labels, top)[:count].sum())
    seconds = time.perf_counter() - began
    top_accuracy = None if top is None else among / size
    return Evaluation(loss / size, correct / size, top_accuracy, seconds)


def in_top(scores: Array, labels: Array, top: int) -> NDArray[np.bool_]:
    """Whether the class of each row is among its `top` highest scores (n, classes).

    Of equal scores the lower class comes first, as in the accuracy of a program.
    """
    own = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    ahead = (scores > own) | ((scores == own) & earlier)
    found: NDArray[np.bool_] = ahead.sum(axis=1) < top
    return found


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
