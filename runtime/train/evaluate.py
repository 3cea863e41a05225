"""Loss and accuracy over the held-out images of a data set."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError, Diagnostic, UsageError
from netc.numbers import loss_text
from netc_runtime.session import Session
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.loading import AHEAD, Loader, Loading
from netc_runtime.train.outcomes import KEPT, Outcomes, joined, outcomes_of

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

    def top(self, count: int = 5) -> float:
        """The fraction of images whose class is among so many most likely ones, at most 5.

        Raises UsageError (E051) for another count: no more are kept of an image.
        """
        assert self.outcomes is not None, "it was asked what it says of each"
        if not (isinstance(count, Integral) and 1 <= count <= KEPT):
            message = f"of each image the {KEPT} most likely classes are kept, not {count!r:.40}."
            raise UsageError(Diagnostic("E051", message, help=f"ask for 1 to {KEPT}."))
        return self.outcomes.share_in(int(count))

    def __repr__(self) -> str:
        """One line."""
        accuracy, loss = f"accuracy {100 * self.accuracy:.2f} %", loss_text(self.loss)
        best = "" if self.outcomes is None else f", top 5 {100 * self.top():.2f} %"
        return f"<Evaluation: {accuracy}{best}, loss {loss}>"


class StoppedError(Exception):
    """An evaluation was told to end before its last batch."""


def evaluate(
    session: Session,
    dataset: Dataset,
    workers: int,
    each: bool = False,
    stopped: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Go through all held-out images once; the last batch is padded and masked.

    So many threads load images. Scores are fetched only to say what the network makes of `each`
    image. Whether it is `stopped` is asked before each batch, and in all processes alike. Raises
    DataError (E066) as the data set does, StoppedError where it is stopped.
    """
    began = time.perf_counter()
    loss, correct, size = 0.0, 0.0, dataset.test_size
    parts: list[Outcomes] = []
    for images, labels, count in _batches(session, dataset, workers):
        if stopped():
            raise StoppedError
        part, right = session.evaluate(images, labels, count)
        loss, correct = loss + part, correct + right
        if each:
            parts.append(outcomes_of(session.scores()[:count], labels[:count]))
    seconds = time.perf_counter() - began
    return Evaluation(loss / size, correct / size, joined(parts) if each else None, seconds)


def _batches(
    session: Session, dataset: Dataset, workers: int
) -> Iterator[tuple[Array, Array, int]]:  # fmt: skip
    """Images, labels, and how many of them count; others load while one is used.

    Where this process fails and others do not, they wait for it in every batch: it goes on with
    blank images, and raises what is wrong at the end.
    """
    size, batch = dataset.test_size, session.batch
    alone = len(session.backend.devices) == session.eval.program.mesh.size
    read = partial(dataset.load, "test", dtype=session.dtype)
    pending: deque[Loading] = deque()
    failure: DataError | None = None
    with Loader(dataset, session.dtype, workers) as loader:
        for start in range(-AHEAD * batch, size, batch):
            following = start + AHEAD * batch
            if following < size and failure is None:
                rows = np.arange(following, following + batch) % size
                pending.append(loader.begin(read, rows))
            if start < 0:
                continue
            if failure is None:
                try:
                    images, labels = pending.popleft().result()
                except DataError as problem:
                    if alone:
                        raise
                    failure = problem
                    images = np.zeros((batch, *dataset.image_shape), session.dtype)
                    labels = np.zeros(batch, np.int64)
            yield images, labels, min(batch, size - start)
    if failure is not None:
        raise failure
