"""The exact minimum of an additive cost over discrete choices, by elimination.

Jia et al. 2018 (section 5) eliminate nodes with one edge in and one out, and merge parallel edges.
Both, and the elimination of leaves, are cases of one rule (bucket elimination, Dechter 1999): take
a variable, add up all tables that know it, keep for every choice of the others the best of its own.
The next one is always the variable whose table is smallest. Where even that table is too large, its
parts are minimized apart (mini-buckets, Dechter and Rish 2003): that gives a lower bound, and the
choices found are improved one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import prod

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]
LARGEST_TABLE = 2**24
"""Entries of a table while a variable is eliminated."""


@dataclass(frozen=True, slots=True)
class CostTable:
    """What the choices of some variables cost together."""

    variables: tuple[int, ...]
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


def minimize(
    sizes: Sequence[int], tables: Iterable[CostTable], largest: int = LARGEST_TABLE
) -> Optimum:
    """The choices, one of `sizes[i]` for each variable, for which the sum of all tables is least.

    Of several that cost the same, always the same ones. Exact as long as no table needs more than
    `largest` entries.
    """
    given = [table for table in tables if table.variables]
    left = {i: [t for t in given if i in t.variables] for i in range(len(sizes))}
    order: list[tuple[int, list[CostTable]]] = []
    bound, exact = 0.0, True
    joint = {i: _joint(own, sizes) for i, own in left.items()}
    # What changed since it was pushed is there anew; the older entry is passed over.
    heap = [(size, i) for i, size in joint.items()]
    heapify(heap)
    while left:
        size, variable = heappop(heap)
        if joint.get(variable) != size:
            continue
        own = left.pop(variable)
        del joint[variable]
        order.append((variable, own))
        groups = _groups(own, sizes, largest)
        exact = exact and len(groups) <= 1
        for group in groups:
            made = _without(variable, group, sizes)
            if not made.variables:
                bound += float(made.costs)
            for other in made.variables:
                left[other].append(made)
        gone = set(map(id, own))
        for other in _scope(own):
            if other in left:
                left[other] = [t for t in left[other] if id(t) not in gone]
                joint[other] = _joint(left[other], sizes)
                heappush(heap, (joint[other], other))
    choices = _decode(order, len(sizes))
    if not exact:
        choices = _improved(choices, given, sizes)
    cost = total(choices, given)
    return Optimum(choices, cost, cost if exact else min(bound, cost))


def shared(tables: Iterable[CostTable], first: Sequence[int]) -> list[CostTable]:
    """The tables where some variables have the choice of another one, `first[i]` for variable i:
    of those the axes are one.
    """
    found = []
    for table in tables:
        now = [first[i] for i in table.variables]
        scope = sorted(set(now))
        places = [scope.index(i) for i in now]
        costs: Costs = np.einsum(table.costs, places, [*range(len(scope))])  # type: ignore[arg-type]
        found.append(CostTable(tuple(scope), costs))
    return found


def total(choices: Sequence[int], tables: Iterable[CostTable]) -> float:
    """What choices cost."""
    return float(sum(t.costs[tuple(choices[i] for i in t.variables)] for t in tables))


def _scope(tables: Iterable[CostTable]) -> tuple[int, ...]:
    return tuple(sorted({i for table in tables for i in table.variables}))


def _joint(tables: Iterable[CostTable], sizes: Sequence[int]) -> int:
    """Entries of the sum of some tables."""
    return prod(sizes[i] for i in _scope(tables))


def _groups(
    tables: Sequence[CostTable], sizes: Sequence[int], largest: int
) -> list[list[CostTable]]:
    """The tables in as few groups as their order gives, the sum of each of bearable size."""
    groups: list[list[CostTable]] = []
    for table in sorted(tables, key=lambda t: -t.costs.size):
        for group in groups:
            if _joint([*group, table], sizes) <= largest:
                group.append(table)
                break
        else:
            groups.append([table])
    return groups


def _sum(tables: Sequence[CostTable], scope: tuple[int, ...], sizes: Sequence[int]) -> Costs:
    found = np.zeros([sizes[i] for i in scope])
    for table in tables:
        found += table.costs.reshape([sizes[i] if i in table.variables else 1 for i in scope])
    return found


def _without(variable: int, tables: Sequence[CostTable], sizes: Sequence[int]) -> CostTable:
    """For each choice of the others the least that the tables cost."""
    scope = _scope(tables)
    costs = _sum(tables, scope, sizes).min(axis=scope.index(variable))
    return CostTable(tuple(i for i in scope if i != variable), costs)


def _decode(order: Sequence[tuple[int, Sequence[CostTable]]], count: int) -> tuple[int, ...]:
    """Backwards, each variable's best for what was chosen already."""
    chosen: dict[int, int] = {}
    for variable, tables in reversed(order):
        chosen[variable] = _best(variable, tables, chosen)
    return tuple(chosen[i] for i in range(count))


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
    known = [[t for t in tables if i in t.variables] for i in range(len(sizes))]
    cost, before = total(choices, tables), float("inf")
    while cost < before:
        for variable, own in enumerate(known):
            chosen[variable] = _best(variable, own, chosen)
        before, cost = cost, total([chosen[i] for i in range(len(sizes))], tables)
    return tuple(chosen[i] for i in range(len(sizes)))
