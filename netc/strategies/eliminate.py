"""Elimination of variables from a sum of tables, one after the other (bucket elimination, Dechter
1999): take a variable, add up all tables that know it, keep for every choice of the others the best
of its own. The next one is always the variable whose table is smallest. Where even that is too
large, its parts are minimized apart (mini-buckets, Dechter and Rish 2003), which gives a lower
bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heappop, heappush
from math import prod

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]
Scope = tuple[int, ...]
"""Some variables."""
LARGEST_TABLE = 2**24
"""Entries of a table while a variable is eliminated."""


@dataclass(frozen=True, slots=True)
class Addend:
    """A table as a term of a sum over more variables."""

    table: int
    axes: Scope
    """Its axes in the order of the sum's."""
    shape: tuple[int, ...]
    """What it then is, with an axis of one for every variable that it does not know."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tables that are added up, and from whose sum a variable is eliminated."""

    scope: Scope
    """The variable, and behind it the others that the tables know, ascending."""
    shape: tuple[int, ...]
    """How many choices they have."""
    tables: tuple[int, ...]
    terms: tuple[tuple[Addend, ...], ...]
    """Tables of few variables are first added to a larger one that knows them all, the first."""

    @property
    def variable(self) -> int:
        """What is eliminated."""
        return self.scope[0]


@dataclass(frozen=True, slots=True)
class Elimination:
    """In which order variables are eliminated, and from what."""

    sizes: tuple[int, ...]
    """How many choices each variable has."""
    scopes: tuple[Scope, ...]
    """Of all tables: first those that were given, then what each bucket leaves."""
    given: int
    """Tables that were given."""
    buckets: tuple[Bucket, ...]
    exact: bool
    """Whether each variable has one bucket: none was too large."""

    def left_by(self, bucket: int) -> int:
        """The table that a bucket leaves."""
        return self.given + bucket

    def swept(self, given: Sequence[Costs]) -> list[Costs]:
        """The tables given, and those that the buckets leave."""
        costs = list(given)
        for bucket in self.buckets:
            costs.append(np.minimum.reduce(joint(bucket, costs), axis=0))
        return costs


def joint(bucket: Bucket, costs: Sequence[Costs]) -> Costs:
    """The sum of a bucket's tables, an axis for each variable of its scope."""
    found: Costs | None = None
    for first, *rest in bucket.terms:
        term = laid(first, costs)
        for part in rest:
            term = term + laid(part, costs)
        found = term if found is None else found + term
    return np.zeros(bucket.shape) if found is None else np.broadcast_to(found, bucket.shape)


def laid(part: Addend, costs: Sequence[Costs]) -> Costs:
    """A table as a term of the sum."""
    return costs[part.table].transpose(part.axes).reshape(part.shape)


@lru_cache(64)
def eliminate(
    sizes: tuple[int, ...], scopes: tuple[Scope, ...], largest: int = LARGEST_TABLE
) -> Elimination:
    """The order for tables that know some variables each, at least one."""
    every, left = list(scopes), {i: set[int]() for i in range(len(sizes))}
    for table, scope in enumerate(scopes):
        for i in scope:
            left[i].add(table)

    def size_of(tables: Iterable[int]) -> int:
        return prod(sizes[i] for i in {i for table in tables for i in every[table]})

    buckets: list[Bucket] = []
    exact = True
    sums = {i: size_of(own) for i, own in left.items()}
    # What changed since it was pushed is there anew; the older entry is passed over.
    heap = [(size, i) for i, size in sums.items()]
    heapify(heap)
    while left:
        size, variable = heappop(heap)
        if sums.get(variable) != size:
            continue
        own = left.pop(variable)
        del sums[variable]
        groups = _groups(sorted(own), every, sizes, largest)
        exact = exact and len(groups) == 1
        for group in groups:
            others = sorted({i for table in group for i in every[table]} - {variable})
            buckets.append(_bucket((variable, *others), group, every, sizes))
            for i in others:
                left[i].add(len(every))
            every.append(tuple(others))
        for other in {i for table in own for i in every[table]} - {variable}:
            left[other] -= own
            sums[other] = size_of(left[other])
            heappush(heap, (sums[other], other))
    return Elimination(sizes, tuple(every), len(scopes), tuple(buckets), exact)


def _groups(
    tables: Sequence[int], scopes: Sequence[Scope], sizes: Sequence[int], largest: int
) -> list[list[int]]:
    """The tables in as few groups as their order gives, the sum of each of bearable size."""
    groups: list[list[int]] = [[]]
    for table in sorted(tables, key=lambda t: -prod(sizes[i] for i in scopes[t])):
        for group in groups:
            known = {i for t in (*group, table) for i in scopes[t]}
            if not group or prod(sizes[i] for i in known) <= largest:
                group.append(table)
                break
        else:
            groups.append([table])
    return groups


def _bucket(
    scope: Scope, tables: Sequence[int], scopes: Sequence[Scope], sizes: Sequence[int]
) -> Bucket:
    """A variable's tables in terms: each joins the smallest that knows more, but not everything."""
    heads: list[list[int]] = []
    for table in sorted(tables, key=lambda t: (-len(scopes[t]), t)):
        own = set(scopes[table])
        same = [h for h in heads if scopes[h[0]] == scopes[table]]
        more = [h for h in heads if own < set(scopes[h[0]]) and len(scopes[h[0]]) < len(scope)]
        if same or more:
            (same or more)[-1].append(table)
        else:
            heads.append([table])
    terms = tuple(tuple(_part(t, scopes[t], scope, sizes) for t in head) for head in heads)
    return Bucket(scope, tuple(sizes[i] for i in scope), tuple(tables), terms)


def _part(table: int, own: Scope, scope: Scope, sizes: Sequence[int]) -> Addend:
    axes = tuple(own.index(i) for i in scope if i in own)
    return Addend(table, axes, tuple(sizes[i] if i in own else 1 for i in scope))


def completions(way: Elimination, costs: Sequence[Costs]) -> Iterator[tuple[int, Bucket, Costs]]:
    """From the last bucket to the first, the least that everything costs for each choice of the
    variables it knows. `costs` are those that `way.swept` gives.
    """
    ends = [t for t, scope in enumerate(way.scopes) if not scope]
    whole = sum(costs[t] for t in ends)
    above = {t: np.asarray(whole - costs[t]) for t in ends}
    for number in reversed(range(len(way.buckets))):
        bucket = way.buckets[number]
        least = joint(bucket, costs) + above.pop(way.left_by(number))
        yield number, bucket, least
        for t in bucket.tables:
            if t >= way.given:
                scope = way.scopes[t]
                others = tuple(a for a, i in enumerate(bucket.scope) if i not in scope)
                kept = [i for i in bucket.scope if i in scope]
                own = least.min(axis=others).transpose([kept.index(i) for i in scope])
                above[t] = own - costs[t]
