"""What a network says of images: their most likely classes, and what it gives their own one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
KEPT = 5
"""Classes of an image that are kept, where there are so many."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What a network says of n labelled images, in their order."""

    labels: NDArray[np.int64]
    """(n,): the class of each."""
    classes: NDArray[np.int64]
    """(n, k): its most likely classes, the first one the most; k is 5, or all there are."""
    probabilities: NDArray[np.float64]
    """(n, k): theirs."""
    own: NDArray[np.float64]
    """(n,): the probability of the image's own class."""

    def share_in(self, top: int) -> float:
        """The fraction of images whose class is among their `top` most likely ones, at most 5."""
        return float((self.classes[:, :top] == self.labels[:, None]).any(axis=1).mean())


def outcomes_of(scores: Array, labels: Array) -> Outcomes:
    """What scores (n, classes) before softmax say of images with these labels (n,)."""
    rows = np.arange(len(labels))[:, None]
    classes, shares = top_classes(scores, KEPT), probabilities(scores)
    return Outcomes(labels, classes, shares[rows, classes], shares[rows[:, 0], labels])


def joined(parts: list[Outcomes]) -> Outcomes:
    """Outcomes of one batch after the other as those of all images."""
    names = ("labels", "classes", "probabilities", "own")
    return Outcomes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def top_classes(scores: Array, top: int) -> NDArray[np.int64]:
    """The classes of the `top` highest scores (n, classes) of each row, the highest first.

    Of equal scores the lower class comes first, as in the accuracy of a program.
    """
    left, rows = scores.astype(np.float64), np.arange(len(scores))
    found = []
    for _ in range(min(top, scores.shape[1])):
        found.append(left.argmax(axis=1))
        left[rows, found[-1]] = -np.inf
    return np.stack(found, axis=1)


def probabilities(scores: Array) -> NDArray[np.float64]:
    """The softmax of scores (n, classes)."""
    wide = scores.astype(np.float64)
    # Scores of a training that exploded are no numbers; whoever asks for them says so.
    with np.errstate(invalid="ignore"):
        shares = np.exp(wide - wide.max(axis=1, keepdims=True))
        found: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return found
