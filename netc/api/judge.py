"""A program with weights judges images: of a data set, or as they are given.

Python and the command line come here, in one process or in several that do the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netc.api.images import Images, image_floats
from netc.api.judging import check_finite, class_shares, evaluated
from netc.api.listener import Told
from netc.api.running import kernel_notes, restored_session
from netc.ir.program import Bundle
from netc_runtime.choose import BackendChoice
from netc_runtime.io.weights import Tensors
from netc_runtime.launch.ranks import Alone, Ranks
from netc_runtime.making import silent
from netc_runtime.session import Session
from netc_runtime.train.datasets import Dataset, facts_of
from netc_runtime.train.evaluate import Evaluation


@dataclass(frozen=True, slots=True)
class Judge:
    """A program, what runs it, and the weights that it has."""

    bundle: Bundle
    choice: BackendChoice
    weights: Tensors
    """Of several processes those of the first one count; what lacks has initial values."""
    ranks: Ranks | None = None
    """Of this process; None where it is alone."""
    whose: str = "the weights"
    """They, in messages."""
    told: Told = silent
    """Who hears what is no result."""

    def evaluate(self, dataset: Dataset, begun: Callable[[], None] = lambda: None) -> Evaluation:
        """Loss and accuracy over the held-out images, and what is said of each; `begun` is called
        before the first.

        Raises DataError (E075) where the loss is no finite number, and as the data set does.
        """
        (self.ranks or Alone()).compare(facts_of(dataset))
        with self._session() as session:
            begun()
            found = evaluated(session, dataset, self.ranks)
        check_finite(found, f" with {self.whose}")
        return found

    def shares(self, data: str | None, images: Images) -> NDArray[np.float64]:
        """The probability of each class, (n, classes), of images, bytes and pictures being as the
        data set `data` has them.

        Raises DataError (E075) where scores are no numbers, and as `image_floats`.
        """
        given = image_floats(self.bundle, data, images, self.ranks)
        content = hashlib.sha256(given.tobytes()).hexdigest()
        (self.ranks or Alone()).compare({"content of images": content})
        with self._session() as session:
            return class_shares(session, given, self.whose)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        everyone = self.ranks or Alone()
        weights = everyone.share_tensors({} if everyone.rank else self.weights)
        for text in kernel_notes(self.bundle):
            self.told(text)
        made = restored_session(self.choice, self.bundle, self.ranks, weights, told=self.told)
        with closing(made) as session:
            yield session
