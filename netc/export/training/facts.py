"""What the page of a training is made from, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.export.legend import Tile

Pairs = Mapping[tuple[int, int], int]
"""Images by their class and the one that they are taken for."""


@dataclass(frozen=True, slots=True, eq=False)
class ShownImage:
    """A held-out image, and what the network makes of it."""

    number: int
    """Among the held-out images, from 0."""
    pixels: NDArray[np.uint8]
    """(C, H, W), 255 being white."""
    own: int
    """Its class."""
    share: float
    """The probability of that."""
    guesses: tuple[tuple[int, float], ...]
    """The most likely classes with their probabilities, the most likely first."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """What the network makes of all held-out images."""

    classes: tuple[str, ...]
    """Their names."""
    pairs: Pairs
    worst: Sequence[ShownImage]
    """Those whose own class is least likely, the least likely first."""
    sample: Sequence[ShownImage]
    """Some, at equal distances."""


@dataclass(frozen=True, slots=True, eq=False)
class FirstFilters:
    """The filters of the layer that reads the images."""

    layer: str
    weights: NDArray[Any]
    """(K, C, R, S), all or the first of them."""
    count: int
    """How many there are."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingFacts:
    """What is told of a training."""

    network: str
    folder: str
    """Where it was read."""
    tiles: Sequence[Tile]
    """Its final figures."""
    rows: Sequence[tuple[str, str]]
    """What was trained, and how: names and values."""
    lines: Sequence[Mapping[str, float | None]]
    """Its metrics, as `metrics.jsonl` has them, in their order."""
    notes: Sequence[str] = ()
    held_out: HeldOut | None = None
    filters: FirstFilters | None = None
