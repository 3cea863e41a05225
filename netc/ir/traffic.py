"""Bytes that exchanges move: the one count, of blocks of a plan or of a program's views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


def program_traffic(program: Program) -> dict[int, tuple[int, int]]:
    """The traffic of a run of a program, of the devices that have some."""
    total = dict.fromkeys(range(program.mesh.size), (0, 0))
    for each in program.instructions:
        if isinstance(each, Collective):
            for group in program.groups(each):
                _add(program, program.in_group(each, group), total)
    return {device: moved for device, moved in total.items() if any(moved)}


def _add(
    program: Program, collective: GroupCollective, total: dict[int, tuple[int, int]]
) -> None:  # fmt: skip
    for part in collective.parts:
        item = _item_bytes(program, part)
        moved = exchanged(collective.kind, part.sources, part.targets)
        for device, (sent, received) in zip(collective.devices, moved, strict=True):
            before = total[device]
            total[device] = before[0] + sent * item, before[1] + received * item


def _item_bytes(program: Program, part: Part) -> int:
    view = next(v for v in (*part.sources, *part.targets) if v is not None)
    return ITEM_BYTES[program.buffer[view.buffer].dtype]
