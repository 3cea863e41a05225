"""What may be searched on a mesh: the prices of all choices, and what searches of them find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from netc.ir.plan import Split
from netc.planner.choice import Search
from netc.planner.prices import Priced, shown
from netc.strategies.eliminate import Costs
from netc.strategies.search import CostTable, Optimum, minimize, shared
from netc.strategies.within import Within, bytes_of, cheapest_within, priced_within


@dataclass(frozen=True)
class Space:
    """The additive model of a network on a mesh."""

    priced: Priced
    alike: Mapping[str, str]
    """By layer of a block that is equal to another the layer that it is split as."""
    exact_memory: bool
    """Whether what fits is searched for by sets of seconds and bytes, not by a price of bytes."""

    @cached_property
    def first(self) -> list[int]:
        """By layer the one whose choice it has: in blocks that are equal to others, theirs."""
        priced = self.priced
        number = {layer: i for i, layer in enumerate(priced.layers)}
        found = list(range(len(priced.layers)))
        for layer, other in self.alike.items():
            i, j = number.get(layer), number.get(other)
            if i is not None and j is not None and priced.choices[i] == priced.choices[j]:
                found[i] = found[j]
        return found

    @cached_property
    def sizes(self) -> list[int]:
        """How many choices layers have."""
        return [len(own) for own in self.priced.choices]

    def minimum(self, hidden: float) -> Optimum:
        """The best plan, a part of the gradients' exchange hidden, equal blocks split alike."""
        best = minimize(self.sizes, self._tables(hidden))
        return replace(best, choices=self._all(best.choices))

    def within(self, hidden: float, memory_bytes: float) -> tuple[tuple[int, ...], Search | None]:
        """The best plan found of no more memory, and how it was found; where there is none, the
        leanest, and None.
        """
        nbytes: list[Costs] = [np.zeros(size) for size in self.sizes]
        for own, first in zip(self.priced.memory, self.first, strict=True):
            nbytes[first] = nbytes[first] + own
        search = cheapest_within if self.exact_memory else priced_within
        found: Within = search(self.sizes, self._tables(hidden), nbytes, memory_bytes)
        choices = self._all(found.choices)
        if not found.fits:
            return choices, None
        told = Search(
            self.priced.mesh, hidden, found.cost, found.bound, memory_bytes,
            self.exact_memory, found.kept, found.thinned,
        )  # fmt: skip
        return choices, told

    def memory_of(self, choices: Sequence[int]) -> float:
        """Bytes of a plan's first device in the model."""
        return bytes_of(choices, self.priced.memory)

    def splits(self, choices: Sequence[int]) -> dict[str, Split]:
        """A plan."""
        return self.priced.splits(choices)

    @cached_property
    def _parts(self) -> tuple[list[CostTable], list[CostTable]]:
        """The model's tables, equal blocks split alike: what cannot hide, and what can."""
        always = (*self.priced.own, *self.priced.exchanging)
        return shared(always, self.first), shared(self.priced.updating, self.first)

    def _tables(self, hidden: float) -> list[CostTable]:
        always, updating = self._parts
        return [*always, *shown(updating, hidden)]

    def _all(self, choices: Sequence[int]) -> tuple[int, ...]:
        return tuple(choices[i] for i in self.first)
