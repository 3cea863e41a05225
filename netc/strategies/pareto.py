"""Elimination that carries Pareto sets: for every choice of the variables that are left, all pairs
of seconds and bytes of those eliminated that no other pair is better than in both.

What cannot be part of a better whole than one that is known is left out (Handler and Zang 1980):
with the best completion, bytes at a price, it would cost more, or with the leanest it would not
fit. Where sets grow too large all the same, pairs of nearly the same seconds are represented by the
one of fewest bytes; how many seconds that may lose is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod

import numpy as np
from numpy.typing import NDArray

from netc.strategies.eliminate import Bucket, Costs, Elimination, Scope, completions, joint, laid

MOST_KEPT = 2**15
"""Pairs kept for one elimination, over all choices of the others."""
MOST_OF_ONE = 2**11
"""Pairs kept for one of these choices."""
MOST_AT_ONCE = 2**22
"""Sums of pairs made before they are sifted."""
MOST_SUMS = 2**23
"""Sums of pairs made in all, some seconds' worth; then nothing more is looked for."""
_FINEST = 2**-12
"""Of the seconds in question, those that count as the same at first where sets are too large."""
Numbers = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Limit:
    """What a whole must not exceed."""

    room: float
    """Bytes."""
    price: float
    """Seconds of a byte, for bounds; any is right, a good one leaves out more."""
    cost: float
    """Seconds of choices that are known to fit, and no less: what costs more is of no use."""
    bound: float
    """Seconds that no choices that fit cost less than."""

    @property
    def worth(self) -> float:
        """With bytes at the price, seconds of a whole above which it is of no use."""
        return self.cost + self.price * self.room


@dataclass(frozen=True, slots=True)
class Swept:
    """The best of the whole."""

    choices: tuple[int, ...] | None
    """None where nothing is as good as what was known."""
    kept: int
    """Pairs kept at most for one elimination."""
    lost: float
    """Seconds that choices which were left out may be better by; infinite where it was given up."""


@dataclass(slots=True)
class _Pairs:
    """Seconds and bytes of what is eliminated so far, by choices of some others, in their order."""

    entry: Numbers
    """Of the choices of the others, by number."""
    seconds: Costs
    nbytes: Costs
    past: list[Numbers]
    """How each pair came to be: the choice of the variable, and a pair of each set in it."""

    def __len__(self) -> int:
        return len(self.entry)

    def only(self, which: Numbers | NDArray[np.bool_]) -> _Pairs:
        """Some of them."""
        past = [each[which] for each in self.past]
        return _Pairs(self.entry[which], self.seconds[which], self.nbytes[which], past)


class _TooManyError(Exception):
    """Sets grew so large that it would take too long."""


class _Sweep:
    def __init__(
        self, way: Elimination, seconds: Sequence[Costs], nbytes: Sequence[Costs], limit: Limit,
        most: int,
    ) -> None:  # fmt: skip
        self.way, self.seconds, self.nbytes = way, seconds, nbytes
        self.limit, self.most = limit, most
        self.costs = way.swept([*seconds, *(limit.price * own for own in nbytes)])
        self.least = {n: each.min(axis=0) for n, _, each in completions(way, self.costs)}
        """By bucket what everything costs at least, by choices of the others that it knows."""
        self.fewest = [float(own.min()) for own in nbytes]
        self.below: dict[int, frozenset[int]] = {}
        """By table that a bucket leaves, the variables that are eliminated in it."""
        self.pairs: dict[int, _Pairs] = {}
        """By table that a bucket leaves."""
        self.kept, self.lost, self.sums = 0, 0.0, 0

    def run(self) -> Swept:
        """Everything."""
        way = self.way
        for number, bucket in enumerate(way.buckets):
            table, inside = way.left_by(number), self._inside(bucket)
            self.below[table] = frozenset({bucket.variable}).union(*(self.below[t] for t in inside))
            found = self._combined(self._begun(number, bucket), table, bucket.scope, inside)
            found.entry = found.entry % max(prod(bucket.shape[1:]), 1)
            self.pairs[table] = self._bearable(_best(found))
            self.kept = max(self.kept, len(self.pairs[table]))
        ends = [t for t, scope in enumerate(way.scopes) if not scope]
        none = np.zeros(1, np.intp)
        whole = _best(self._combined(_Pairs(none, np.zeros(1), np.zeros(1), []), None, (), ends))
        if not len(whole):
            return Swept(None, self.kept, self.lost)
        return Swept(self._chosen(ends, [past[0] for past in whole.past]), self.kept, self.lost)

    def _inside(self, bucket: Bucket) -> list[int]:
        return [t for t in bucket.tables if t >= self.way.given]

    def _chosen(self, tables: Sequence[int], pairs: Sequence[np.intp]) -> tuple[int, ...]:
        """The choices behind a pair of each of some tables."""
        chosen = [0] * len(self.nbytes)
        todo = list(zip(tables, pairs, strict=True))
        while todo:
            table, pair = todo.pop()
            bucket = self.way.buckets[table - self.way.given]
            choice, *before = (past[pair] for past in self.pairs[table].past)
            chosen[bucket.variable] = int(choice)
            todo += zip(self._inside(bucket), before, strict=True)
        return tuple(chosen)

    def _begun(self, number: int, bucket: Bucket) -> _Pairs:
        """What the tables given say of a variable's choices and those of the others it knows."""
        left = self.costs[self.way.left_by(number)]
        whole = joint(bucket, self.costs) + (self.least[number] - left)
        entry = np.flatnonzero(whole <= self.limit.worth)
        seconds = np.zeros(bucket.shape)
        for part in (part for term in bucket.terms for part in term):
            if part.table < len(self.seconds):
                seconds += laid(part, self.seconds)
        choice = entry // max(prod(bucket.shape[1:]), 1)
        return _Pairs(entry, seconds.ravel()[entry], self.nbytes[bucket.variable][choice], [choice])

    def _combined(
        self, pairs: _Pairs, table: int | None, scope: Scope, inside: Sequence[int]
    ) -> _Pairs:  # fmt: skip
        """Pairs by choices of a bucket's variables, added to those of the tables inside it."""
        shape = tuple(len(self.nbytes[i]) for i in scope)
        own = frozenset().union(*(self.below[t] for t in inside)) | set(scope)
        outside = sum(few for i, few in enumerate(self.fewest) if i not in own)
        for place, added in enumerate(inside):
            after = inside[place + 1 :]
            fewest = outside + sum(self.fewest[i] for t in after for i in self.below[t])
            pairs = self._added(pairs, added, shape, scope, after, table, fewest)
        return pairs

    def _added(
        self, pairs: _Pairs, added: int, shape: tuple[int, ...], scope: Scope,
        after: Sequence[int], table: int | None, fewest: float,
    ) -> _Pairs:  # fmt: skip
        """Pairs added to those of one table inside, without what is of no use: `fewest` bytes and
        the tables `after` will be added, and what the whole bucket's table has besides.
        """
        theirs = self.pairs[added]
        at = _entries(pairs.entry, shape, scope, self.way.scopes[added], self.way.sizes)
        first, end = (np.searchsorted(theirs.entry, at, side) for side in ("left", "right"))
        ends = np.cumsum(end - first)
        self.sums += int(ends[-1]) if len(ends) else 0
        if self.sums > MOST_SUMS:
            raise _TooManyError
        found: list[_Pairs] = []
        start = 0
        while start < len(pairs) or not found:
            done = int(ends[start - 1]) if start else 0
            stop = max(int(np.searchsorted(ends, done + MOST_AT_ONCE, "right")), start + 1)
            some = np.arange(start, min(stop, len(pairs)))
            mine = np.repeat(some, (end - first)[some])
            other = np.arange(len(mine)) - np.repeat(ends[some] - (end - first)[some] - done,
                                                     (end - first)[some])  # fmt: skip
            other += first[mine]
            sums = pairs.only(mine)
            sums.seconds = sums.seconds + theirs.seconds[other]
            sums.nbytes = sums.nbytes + theirs.nbytes[other]
            sums.past = [*sums.past, other]
            useful = self._useful(sums, shape, scope, after, table, fewest)
            found.append(_best(sums.only(useful)))
            start = stop
        return _best(_joined(found)) if len(found) != 1 else found[0]

    def _useful(
        self, pairs: _Pairs, shape: tuple[int, ...], scope: Scope, after: Sequence[int],
        table: int | None, fewest: float,
    ) -> NDArray[np.bool_]:  # fmt: skip
        """Which of them may be part of a whole that costs no more than the limit, and fits."""
        seconds = pairs.seconds + self.limit.price * pairs.nbytes
        nbytes = pairs.nbytes + fewest
        of = _choices(pairs.entry, shape, scope)
        for other in after:
            seconds = seconds + self.costs[other][tuple(of[i] for i in self.way.scopes[other])]
        if table is not None:
            others = tuple(of[i] for i in scope[1:])
            seconds = seconds + (self.least[table - self.way.given] - self.costs[table])[others]
            for i in scope[1:]:
                nbytes = nbytes + self.nbytes[i][of[i]]
        useful: NDArray[np.bool_] = (seconds <= self.limit.worth) & (nbytes <= self.limit.room)
        return useful

    def _bearable(self, pairs: _Pairs) -> _Pairs:
        """As many of them as are bearable."""
        step = (self.limit.cost - self.limit.bound) * _FINEST
        most = max(self.most, int(np.count_nonzero(np.bincount(pairs.entry))))
        while len(pairs) > most or np.bincount(pairs.entry).max(initial=0) > MOST_OF_ONE:
            which = np.floor(pairs.seconds / step)
            order = np.lexsort((pairs.seconds, pairs.nbytes, which, pairs.entry))
            entry, which = pairs.entry[order], which[order]
            new = np.ones(len(order), bool)
            new[1:] = (entry[1:] != entry[:-1]) | (which[1:] != which[:-1])
            pairs = _best(pairs.only(order[new]))
            # What stands for another has no more bytes, and fewer seconds more than that.
            self.lost += step
            step *= 2
        return pairs


def _choices(entry: Numbers, shape: tuple[int, ...], scope: Scope) -> dict[int, Numbers]:
    """By variable the choices that are numbered."""
    return dict(zip(scope, np.unravel_index(entry, shape), strict=True)) if shape else {}


def _entries(
    entry: Numbers, shape: tuple[int, ...], scope: Scope, other: Scope, sizes: Sequence[int]
) -> Numbers:  # fmt: skip
    """From numbers of choices of some variables to those of choices of others among them."""
    of = _choices(entry, shape, scope)
    found = np.zeros(len(entry), np.intp)
    for i in other:
        found = found * sizes[i] + of[i]
    return found


def _joined(parts: Sequence[_Pairs]) -> _Pairs:
    past = [np.concatenate(each) for each in zip(*(part.past for part in parts), strict=True)]
    entry, seconds, nbytes = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("entry", "seconds", "nbytes")
    )
    return _Pairs(entry, seconds, nbytes, past)


def _best(pairs: _Pairs) -> _Pairs:
    """Those that no other of the same choices is better than, ordered by choices and seconds."""
    order = np.lexsort((pairs.nbytes, pairs.seconds, pairs.entry))
    entry = pairs.entry[order]
    ranks = np.unique(pairs.nbytes, return_inverse=True)[1][order]
    new = np.ones(len(order), bool)
    new[1:] = entry[1:] != entry[:-1]
    # Falling from one to the next, so that the least of what came before is of the same choices.
    falling = ranks - np.cumsum(new) * (len(order) + 1)
    fewer = np.ones(len(order), bool)
    fewer[1:] = falling[1:] < np.minimum.accumulate(falling)[:-1]
    return pairs.only(order[fewer])


def sweep(
    way: Elimination, seconds: Sequence[Costs], nbytes: Sequence[Costs], limit: Limit, most: int
) -> Swept:  # fmt: skip
    """The cheapest choices that fit, of all that cost no more than the limit.

    `way` eliminates tables of `seconds`, and behind them one of each variable's `nbytes`. Exact
    where nothing is `lost`: no more than `most` pairs had to be kept for one elimination.
    """
    whole = _Sweep(way, seconds, nbytes, limit, most)
    try:
        return whole.run()
    except _TooManyError:
        return Swept(None, whole.kept, inf)
