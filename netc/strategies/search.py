"""The exact minimum of an additive cost over discrete choices, by elimination.

Jia et al. 2018 (section 5) eliminate nodes with one edge in and one out, and merge parallel edges.
Both, and the elimination of leaves, are cases of one rule (`netc.strategies.eliminate`). Where its
tables would be too large, they are parted, which gives a lower bound, and the choices found are
improved one by one. Choices with which the bound is above what was found are left out then, and
what is left often has tables of bearable size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from netc.strategies.eliminate import (
    LARGEST_TABLE,
    Costs,
    Elimination,
    Scope,
    completions,
    eliminate,
)

FIRST_LARGEST = 2**17
"""Entries of a table in the first attempt; larger ones take longer than to leave out choices."""
LARGER = 2**3
"""So many times as many in the next attempt, where no choice can be left out."""
SURE = 1 + 1e-9
"""What costs so many times as much as what is known is no better, whatever the rounding."""


@dataclass(frozen=True, slots=True)
class CostTable:
    """What the choices of some variables cost together."""

    variables: Scope
    """Ascending."""
    costs: Costs
    """One axis for each of them."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best choices found."""

    choices: tuple[int, ...]
    cost: float
    bound: float
    """No choices cost less; equal to the cost where the search was exact."""


@dataclass(frozen=True, slots=True)
class Reduced:
    """A search over some of the choices."""

    choices: tuple[NDArray[np.intp], ...]
    """By variable, those that are left, ascending."""
    tables: tuple[CostTable, ...]
    way: Elimination

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many are left."""
        return self.way.sizes

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Of the tables."""
        return self.way.scopes[: self.way.given]

    def with_largest(self, largest: int) -> Reduced:
        """The same with other tables, of so many entries at most."""
        return replace(self, way=eliminate(self.sizes, self.scopes, largest))

    def original(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """Choices by their numbers before some were left out."""
        return tuple(int(own[n]) for own, n in zip(self.choices, numbers, strict=True))


def whole(
    sizes: Sequence[int], tables: Sequence[CostTable], largest: int = LARGEST_TABLE
) -> Reduced:  # fmt: skip
    """The search over all choices."""
    given = tuple(table for table in tables if table.variables)
    way = eliminate(tuple(sizes), tuple(t.variables for t in given), largest)
    return Reduced(tuple(np.arange(size) for size in sizes), given, way)


def reduced(search: Reduced, most: float, largest: int = LARGEST_TABLE) -> Reduced:
    """Without each choice with which everything costs more than `most`, whatever the others."""
    way, left = search.way, [np.ones(size, bool) for size in search.sizes]
    for _, bucket, least in completions(way, way.swept([t.costs for t in search.tables])):
        others = tuple(range(1, least.ndim))
        left[bucket.variable] &= least.min(axis=others) <= most
    kept = [np.flatnonzero(own) for own in left]
    choices = tuple(own[few] for own, few in zip(search.choices, kept, strict=True))
    tables = tuple(
        replace(t, costs=t.costs[np.ix_(*(kept[i] for i in t.variables))]) for t in search.tables
    )
    scopes = tuple(t.variables for t in tables)
    return Reduced(choices, tables, eliminate(tuple(map(len, choices)), scopes, largest))


def minimize(
    sizes: Sequence[int], tables: Iterable[CostTable], largest: int = LARGEST_TABLE
) -> Optimum:
    """The choices, one of `sizes[i]` for each variable, for which the sum of all tables is least.

    Of several that cost the same, always the same ones. Exact as long as no table needs more than
    `largest` entries.
    """
    size = min(FIRST_LARGEST, largest)
    search = whole(sizes, list(tables), size)
    best = _minimum(search)
    while not (search.way.exact or best.cost <= best.bound * SURE):
        fewer = reduced(search, best.cost * SURE, size)
        if not all(fewer.sizes) or (fewer.sizes == search.sizes and size == largest):
            break
        if fewer.sizes == search.sizes:
            size = min(size * LARGER, largest)
            fewer = search.with_largest(size)
        search, found = fewer, _minimum(fewer)
        bound = max(best.bound, min(found.bound, best.cost))
        best = replace(found if found.cost < best.cost else best, bound=bound)
    return replace(best, bound=best.cost) if best.cost <= best.bound * SURE else best


def _minimum(search: Reduced) -> Optimum:
    """By one elimination."""
    way = search.way
    costs = way.swept([t.costs for t in search.tables])
    numbers = _decode(way, costs)
    if not way.exact:
        numbers = _improved(numbers, search.tables, way.sizes)
    cost = total(numbers, search.tables)
    choices = search.original(numbers)
    if way.exact:
        return Optimum(choices, cost, cost)
    bound = sum(float(c) for c, s in zip(costs, way.scopes, strict=True) if not s)
    return Optimum(choices, cost, min(bound, cost))


def shared(tables: Iterable[CostTable], first: Sequence[int]) -> list[CostTable]:
    """The tables where some variables have the choice of another one, `first[i]` for variable i:
    of those the axes are one. One table for each variables that have some.
    """
    many: dict[tuple[Scope, int], int] = {}
    costs: dict[int, Costs] = {}
    for table in tables:
        now = tuple(first[i] for i in table.variables)
        many[now, id(table.costs)] = many.get((now, id(table.costs)), 0) + 1
        costs[id(table.costs)] = table.costs
    found: dict[Scope, Costs] = {}
    for (now, key), count in many.items():
        scope = tuple(sorted(set(now)))
        own = costs[key]
        if scope != now:
            places = [scope.index(i) for i in now]
            own = np.einsum(own, places, [*range(len(scope))])  # type: ignore[arg-type]
        own = own * count if count > 1 else own
        found[scope] = found[scope] + own if scope in found else own
    return [CostTable(scope, own) for scope, own in found.items()]


def total(choices: Sequence[int], tables: Iterable[CostTable]) -> float:
    """What choices cost."""
    return float(sum(t.costs[tuple(choices[i] for i in t.variables)] for t in tables))


def _decode(way: Elimination, costs: Sequence[Costs]) -> tuple[int, ...]:
    """Backwards, each variable's best for what was chosen already."""
    tables: dict[int, list[CostTable]] = {}
    for bucket in way.buckets:
        own = (CostTable(way.scopes[t], costs[t]) for t in bucket.tables)
        tables.setdefault(bucket.variable, []).extend(own)
    chosen: dict[int, int] = {}
    for variable, known in reversed(tables.items()):
        chosen[variable] = _best(variable, known, chosen)
    return tuple(chosen[i] for i in range(len(way.sizes)))


def _best(variable: int, tables: Sequence[CostTable], chosen: Mapping[int, int]) -> int:
    if not tables:
        return 0
    costs = sum(
        t.costs[tuple(slice(None) if i == variable else chosen[i] for i in t.variables)]
        for t in tables
    )
    return int(np.argmin(costs))


def _improved(
    choices: tuple[int, ...], tables: Sequence[CostTable], sizes: Sequence[int]
) -> tuple[int, ...]:
    """Change one choice after the other as long as that helps."""
    chosen = dict(enumerate(choices))
    known: list[list[CostTable]] = [[] for _ in sizes]
    for table in tables:
        for variable in table.variables:
            known[variable].append(table)
    cost, before = total(choices, tables), float("inf")
    while cost < before:
        for variable, own in enumerate(known):
            chosen[variable] = _best(variable, own, chosen)
        before, cost = cost, total([chosen[i] for i in range(len(sizes))], tables)
    return tuple(chosen[i] for i in range(len(sizes)))
