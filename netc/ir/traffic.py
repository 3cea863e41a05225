"""Bytes that exchanges move: the one count, of blocks of a plan or of a program's views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod

from netc.ir.collectives import KINDS
from netc.ir.program import Collective, GroupCollective, Part, Program
from netc.ir.types import ITEM_BYTES, Placed, common_elements, shard_bounds

Traffic = Mapping[int, tuple[int, int]]
"""Bytes (sent, received) by device."""


def exchanged(
    kind: str, held: Sequence[Placed | None], wanted: Sequence[Placed | None]
) -> Iterator[tuple[int, int]]:
    """Elements that each device of a group sends and receives in a collective of a kind, by what
    each has and wants; copies at home are free.

    Reductions go through the owner of each ceil(n / K) shard, as in Krizhevsky 2014, 4.1: every
    other device sends it that shard, and an all-reduce sends the sum back. So an all-reduce costs
    2 (K - 1) / K of the tensor each way, and a gather (K - 1) / K. Sums over a group are in closed
    form: shards cover the tensor once, copies each time.
    """
    have, want = (
        [0 if each is None else prod(each.shape) for each in blocks] for blocks in (held, wanted)
    )
    if kind == "all_reduce":
        yield from _all_reduce(have[0], len(have))
        return
    givers = sum(each is not None for each in held)
    copies = sum(each is not None for each in wanted) if KINDS[kind].whole else 1
    total = sum(want)
    for mine, theirs, h, w in zip(held, wanted, have, want, strict=True):
        if KINDS[kind].reduces:
            gives = mine is not None
            yield (total - w if gives else 0), (givers - gives) * w
        else:
            own = 0 if mine is None or theirs is None else common_elements(mine, theirs)
            yield copies * h - own, w - own


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
    total = summed(_group_traffic(program, group, part) for group in groups for part in group.parts)
    return {device: moved for device, moved in total.items() if any(moved)}


def _group_traffic(program: Program, collective: GroupCollective, part: Part) -> Traffic:
    item = _item_bytes(program, part)
    moved = exchanged(collective.kind, part.sources, part.targets)
    pairs = zip(collective.devices, moved, strict=True)
    return {device: (sent * item, received * item) for device, (sent, received) in pairs}


def _item_bytes(program: Program, part: Part) -> int:
    view = next(v for v in (*part.sources, *part.targets) if v is not None)
    return ITEM_BYTES[program.buffer[view.buffer].dtype]
