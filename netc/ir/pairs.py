"""Named values that do not change: a hashable mapping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Pairs(Mapping[str, Any]):
    """Values by name, in a fixed order."""

    pairs: tuple[tuple[str, Any], ...] = ()
    """Name and value."""

    def __getitem__(self, name: str) -> Any:
        """The value of a name; KeyError where there is none."""
        for key, value in self.pairs:
            if key == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.pairs)
