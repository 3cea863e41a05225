"""What trained weights make of images: measured over a data set, or of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.program import Bundle
from netc_runtime.io.problems import data_error
from netc_runtime.launch.ranks import Alone, Ranks
from netc_runtime.session import Session, image_inputs
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.evaluate import Evaluation, evaluate
from netc_runtime.train.images import Shape
from netc_runtime.train.loading import loaders
from netc_runtime.train.outcomes import probabilities
from netc_runtime.train.pictures import Preparation

_HINT = "the weights come from a training that exploded, or are of other images."


def evaluated(session: Session, dataset: Dataset, ranks: Ranks | None = None) -> Evaluation:
    """Loss and accuracy over the held-out images, and what is said of each; of several processes
    all have to ask.
    """
    return evaluate(session, dataset, loaders(ranks or Alone()), each=True)


def check_finite(found: Evaluation, whose: str = "") -> None:
    """Raise DataError (E075) where a loss is no finite number; `whose` weights are named."""
    if not math.isfinite(found.loss):
        raise data_error("E075", f"the loss is not a finite number{whose}.", _HINT)


def read_pictures(
    prepared: Preparation, paths: Sequence[Path], image: Shape, ranks: Ranks | None = None
) -> NDArray[np.uint8]:
    """The bytes (n, C, H, W) of pictures, read in threads. Raises DataError (E066) as `load`."""
    with ThreadPoolExecutor(loaders(ranks or Alone()), "netc-pictures") as pool:
        return prepared.load(paths, image, pool=pool)


def one_input(bundle: Bundle) -> None:
    """Raise DataError (E067) where pictures cannot fill a network: it has several inputs."""
    if len(inputs := image_inputs(bundle)) > 1:
        named = ", ".join(f"'{port.name}'" for port in inputs)
        message = f"the network has {len(inputs)} inputs ({named}); pictures fill one."
        raise data_error("E067", message, "'netc eval' reads a data set that fills all")


def class_shares(
    session: Session, images: NDArray[Any], whose: str = "the weights"
) -> NDArray[np.float64]:
    """The probability of each class, (n, classes), of n images as the session takes them.

    Raises DataError (E075) where scores are no numbers.
    """
    batches = (images[start:][: session.batch] for start in range(0, len(images), session.batch))
    scores = np.concatenate([session.predict(batch) for batch in batches])
    if not np.isfinite(scores).all():
        raise data_error("E075", f"{whose} give scores that are no numbers.", _HINT)
    return probabilities(scores)


__all__ = [
    "Evaluation", "check_finite", "class_shares", "evaluated", "one_input", "read_pictures",
]  # fmt: skip
