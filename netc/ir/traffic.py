"""Bytes that exchanges move: the one count, of blocks of a plan or of a program's views."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import prod

from netc.ir.collectives import KINDS
from netc.ir.program import Collective, GroupCollective, Part, Program
from netc.ir.types import ITEM_BYTES, Placed, common_elements, numbers, shard_bounds

Traffic = Mapping[int, tuple[int, int]]
"""Bytes (sent, received) by device."""


def exchanged(
    kind: str, held: Sequence[Placed | None], wanted: Sequence[Placed | None]
) -> Iterator[tuple[int, int]]:
    """Elements that each device of a group sends and receives in a collective of a kind, by what
    each has and wants; copies at home are free.

    Reductions go through the owner of each ceil(n / K) shard, as in Krizhevsky 2014, 4.1: every
    other device sends it that shard, and an all-reduce sends the sum back. So an all-reduce costs
    2 (K - 1) / K of the tensor each way, and a gather (K - 1) / K. Nothing goes over pairs of
    devices: what all others want of a part is counted at once.
    """
    if kind == "all_reduce":
        yield from _all_reduce(sum(prod(each.shape) for each in held[:1] if each), len(held))
        return
    want = [0 if each is None else prod(each.shape) for each in wanted]
    givers = sum(each is not None for each in held)
    total = sum(want)
    asked = None if KINDS[kind].reduces else _Asked(wanted)
    for mine, theirs, w in zip(held, wanted, want, strict=True):
        if asked is None:
            gives = mine is not None
            yield (total - w if gives else 0), (givers - gives) * w
        else:
            own = 0 if mine is None or theirs is None else common_elements(mine, theirs)
            yield (0 if mine is None else asked.of(mine)) - own, w - own


class _Asked:
    """How much of a part of a tensor several blocks have, which differ along one dimension only."""

    def __init__(self, blocks: Sequence[Placed | None]) -> None:
        spans = [_spans(each) for each in blocks if each is not None and 0 not in each.shape]
        self.count, self.common = len(spans), spans[0] if spans else ()
        differ = [dim for dim, each in enumerate(zip(*spans, strict=True)) if len(set(each)) > 1]
        assert len(differ) <= 1, "blocks differ along several dimensions"
        self.dim = differ[0] if differ else -1
        ends = zip(*(span[self.dim] for span in spans), strict=True) if differ else ((), ())
        self.starts, self.stops = (_Ramps(sorted(each)) for each in ends)

    def of(self, part: Placed) -> int:
        """Elements of a part, each as often as it is in one of the blocks."""
        if not self.count or 0 in part.shape:
            return 0
        found = self.count if self.dim < 0 else 1
        for dim, ((a, b), (first, last)) in enumerate(zip(_spans(part), self.common, strict=True)):
            if dim == self.dim:
                found *= self._before(b) - self._before(a)
            else:
                found *= max(min(b, last) - max(a, first), 0)
        return found

    def _before(self, end: int) -> int:
        """Elements of the blocks before an index, along the dimension in which they differ."""
        return self.starts.at(end) - self.stops.at(end)


class _Ramps:
    """The sum of max(x - start, 0) over some starts, ascending."""

    def __init__(self, starts: Sequence[int]) -> None:
        self.starts, self.sums = starts, list(accumulate(starts, initial=0))

    def at(self, x: int) -> int:
        """The sum at x."""
        count = bisect_left(self.starts, x)
        return count * x - self.sums[count]


def _spans(part: Placed) -> tuple[tuple[int, int], ...]:
    """Start and stop along each dimension."""
    return tuple((a, a + n) for a, n in zip(numbers(part.where), part.shape, strict=True))


def _all_reduce(elements: int, workers: int) -> Iterator[tuple[int, int]]:
    """Each sends the others' shards to them, and the sum of its own to the others."""
    for owner in range(workers):
        start, stop = shard_bounds(elements, 1, workers, owner)
        moved = elements - (stop - start) + (workers - 1) * (stop - start)
        yield moved, moved


def summed(traffics: Iterable[Traffic]) -> dict[int, tuple[int, int]]:
    """The traffic of all of them together."""
    total: dict[int, tuple[int, int]] = {}
    for traffic in traffics:
        for device, (sent, received) in traffic.items():
            before = total.get(device, (0, 0))
            total[device] = before[0] + sent, before[1] + received
    return total


def program_traffic(program: Program) -> Traffic:
    """The traffic of a run of a program, of the devices that have some."""
    collectives = (i for i in program.instructions if isinstance(i, Collective))
    groups = (program.in_group(c, group) for c in collectives for group in program.groups(c))
    total = summed(group_traffic(program, group) for group in groups)
    return {device: moved for device, moved in total.items() if any(moved)}


def group_traffic(program: Program, collective: GroupCollective) -> Traffic:
    """The traffic of one group's exchange."""
    return summed(_part_traffic(program, collective, part) for part in collective.parts)


def _part_traffic(program: Program, collective: GroupCollective, part: Part) -> Traffic:
    item = _item_bytes(program, part)
    moved = exchanged(collective.kind, part.sources, part.targets)
    pairs = zip(collective.devices, moved, strict=True)
    return {device: (sent * item, received * item) for device, (sent, received) in pairs}


def _item_bytes(program: Program, part: Part) -> int:
    view = next(v for v in (*part.sources, *part.targets) if v is not None)
    return ITEM_BYTES[program.buffer[view.buffer].dtype]
