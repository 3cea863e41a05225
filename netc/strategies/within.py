"""The minimum of an additive cost among choices whose bytes together are no more than some room: by
a price of bytes, and exactly.

With a price on bytes the search is as before, and its optimum a bound: whatever the price, no
choices that fit cost less than that optimum less the price of all the room (Lagrangian relaxation,
Everett 1963). What the best price leaves open, `cheapest_within` closes: it eliminates variables as
`search` does, but keeps for every choice of the others all pairs of seconds and bytes that no other
pair is better than in both (Pareto sets). What with the best completion, priced so, would cost more
than choices that are known to fit, is left out (Handler and Zang 1980).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from netc.strategies.eliminate import LARGEST_TABLE, Costs
from netc.strategies.pareto import MOST_KEPT, Limit, Swept, sweep
from netc.strategies.search import (
    FIRST_LARGEST,
    LARGER,
    SURE,
    CostTable,
    Reduced,
    minimize,
    reduced,
    total,
    whole,
)

MOST_PRICES = 60
"""So many prices of bytes are tried at most: far more than any network needed."""
FIRST_KEPT = 2**10
"""Pairs kept in a first sweep, which may miss the best but finds what costs little more."""


@dataclass(frozen=True, slots=True)
class Within:
    """The best choices found that fit."""

    choices: tuple[int, ...]
    cost: float
    bound: float
    """No choices that fit cost less."""
    fits: bool
    """Whether they do; where nothing does, these have the fewest bytes."""
    price: float = 0.0
    """Of a byte, for which the bound was found."""
    kept: int = 0
    """Pairs of seconds and bytes kept at most for one elimination; 0 where none had to be."""
    thinned: bool = False
    """Whether there were too many, so that some were left out and the optimum may be missed."""


def bytes_of(choices: Sequence[int], nbytes: Sequence[Costs]) -> float:
    """What choices take."""
    return float(sum(own[c] for own, c in zip(nbytes, choices, strict=True)))


def leanest(sizes: Sequence[int], tables: Sequence[CostTable], nbytes: Sequence[Costs]) -> Within:
    """The choices of fewest bytes; of those, the cheapest."""
    only = [CostTable((i,), np.where(b > b.min(), np.inf, 0.0)) for i, b in enumerate(nbytes)]
    found = minimize(sizes, [*tables, *only])
    return Within(found.choices, total(found.choices, tables), 0.0, fits=False)


def priced_within(
    sizes: Sequence[int], tables: Sequence[CostTable], nbytes: Sequence[Costs], room: float
) -> Within:
    """The best choices for the least price of bytes at which they fit, and the best bound that any
    price gives: the one at which the best that fit and the best that do not cost the same.
    """
    fast = minimize(sizes, tables)
    if bytes_of(fast.choices, nbytes) <= room:
        return Within(fast.choices, fast.cost, fast.bound, fits=True)
    lean = leanest(sizes, tables, nbytes)
    if bytes_of(lean.choices, nbytes) > room:
        return lean
    seconds, choices, bound, price = fast.cost, fast.choices, fast.bound, 0.0
    for _ in range(MOST_PRICES):
        over, under = (bytes_of(each, nbytes) for each in (choices, lean.choices))
        middle = (lean.cost - seconds) / (over - under)
        tried = minimize(sizes, [*tables, *_at(middle, nbytes)])
        if tried.bound - middle * room > bound:
            bound, price = tried.bound - middle * room, middle
        if tried.cost >= (lean.cost + middle * under) / SURE:
            break
        took = total(tried.choices, tables)
        if bytes_of(tried.choices, nbytes) <= room:
            lean = replace(lean, choices=tried.choices, cost=took)
        else:
            seconds, choices = took, tried.choices
    return Within(lean.choices, lean.cost, min(bound, lean.cost), fits=True, price=price)


def _at(price: float, nbytes: Sequence[Costs]) -> list[CostTable]:
    return [CostTable((i,), price * own) for i, own in enumerate(nbytes)]


def cheapest_within(
    sizes: Sequence[int], tables: Sequence[CostTable], nbytes: Sequence[Costs], room: float,
    most: int = MOST_KEPT, largest: int = LARGEST_TABLE,
) -> Within:  # fmt: skip
    """The cheapest choices that fit. The bound equals their cost, unless they are `thinned`: more
    than `most` pairs were to be kept, or a table had more than `largest` entries.
    """
    found = priced_within(sizes, tables, nbytes, room)
    if not found.fits or found.cost <= found.bound * SURE:
        return found
    search = whole(sizes, [*tables, *_at(found.price, nbytes)], min(FIRST_LARGEST, largest))
    for kept in (min(FIRST_KEPT, most), most):
        limit = Limit(room, found.price, found.cost * SURE, found.bound)
        search = _worth(search, limit, largest)
        if not search.way.exact:
            return replace(found, thinned=True)
        swept = _swept(search, nbytes, limit, kept)
        found = replace(found, kept=max(found.kept, swept.kept), thinned=swept.lost > 0)
        if swept.choices is not None:
            choices = search.original(swept.choices)
            cost = total(choices, tables)
            if cost < found.cost:
                found = replace(found, choices=choices, cost=cost)
        # What was lost may be better than what was found by no more than that.
        found = replace(found, bound=max(found.bound, found.cost - swept.lost))
        if not found.thinned:
            break
    return found


def _worth(search: Reduced, limit: Limit, largest: int) -> Reduced:
    """Without choices with which even the best whole, bytes at their price, is of no use."""
    size = min(FIRST_LARGEST, largest)
    while True:
        fewer = reduced(search, limit.worth, size)
        if fewer.way.exact:
            return fewer
        if fewer.sizes == search.sizes:
            if size == largest:
                return fewer
            size = min(size * LARGER, largest)
            fewer = fewer.with_largest(size)
        search = fewer


def _swept(search: Reduced, nbytes: Sequence[Costs], limit: Limit, most: int) -> Swept:
    """The best of what is left; the last tables are those of priced bytes."""
    seconds = [t.costs for t in search.tables[: -len(nbytes)]]
    own = [b[c] for b, c in zip(nbytes, search.choices, strict=True)]
    return sweep(search.way, seconds, own, limit, most)
