"""Values by numbers, which are quick to compare."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Numbers = NDArray[np.intp]


class Numbered(Generic[T]):
    """Values by number, each once, in the order in which they came."""

    def __init__(self, *values: T) -> None:
        self.values: list[T] = []
        self.numbers: dict[T, int] = {}
        for value in values:
            self.number(value)

    def number(self, value: T) -> int:
        """The number of a value, a new one for a new value."""
        found = self.numbers.setdefault(value, len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found

    def __getitem__(self, number: int) -> T:
        return self.values[number]

    def __len__(self) -> int:
        return len(self.values)


def distinct(numbers: Numbers, most: int) -> tuple[Numbers, Numbers]:
    """The numbers that occur, ascending, and of each element the place of its own among them, where
    all are below `most`: in a fraction of what sorting them takes.
    """
    occurs = np.zeros(most, bool)
    occurs[numbers] = True
    places = np.cumsum(occurs) - 1
    return np.flatnonzero(occurs), places[numbers]
