"""plan-memory: every buffer gets its place in the device's arena; no wait is added.

Two storages share bytes only if every access of one happens before the first write of the other.
Largest first, each at the lowest place that fits. A result may take an operand's place in the same
instruction where the operation allows it, at exactly equal offsets.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from operator import or_

from netc.ir.order import DeviceOrder, device_order
from netc.ir.program import Program, accesses, in_place_pairs


@dataclass(frozen=True, slots=True)
class Layout:
    """Where persistent storages live, the same in every program of a bundle."""

    offsets: Mapping[tuple[int, str], int]
    """First byte by class and storage."""
    ends: tuple[int, ...]
    """By class the first byte behind them."""


@dataclass(slots=True)
class _Storage:
    """Buffers that share their bytes by decree, and when they are used."""

    name: str
    kind: str
    nbytes: int = 0
    accesses: int = 0
    first_write: int = -1
    partners: set[str] = field(default_factory=set)
    """Storages whose place the first write may take."""
    offset: int = -1


def persistent_layout(
    programs: Sequence[Program],
    alignment: int = 64,
    only: Program | None = None,
    before: Layout | None = None,
) -> Layout:
    """One place for every persistent storage of several programs of the same classes, or for those
    that one of them has, from offset zero up, or behind those that have theirs `before`.
    """
    sizes: dict[tuple[int, str], int] = {}
    for program in programs:
        for b in program.buffers:
            if b.kind == "persistent":
                sizes[b.class_, b.storage] = max(sizes.get((b.class_, b.storage), 0), b.nbytes)
    wanted = {(b.class_, b.storage) for b in only.buffers} if only else sizes.keys()
    offsets = dict(before.offsets) if before else {}
    ends = [*before.ends] if before else [0] * len(programs[0].classes)
    for class_, storage in sorted((sizes.keys() & wanted) - offsets.keys()):
        offsets[class_, storage] = ends[class_]
        ends[class_] += _aligned(sizes[class_, storage], alignment)
    return Layout(offsets, tuple(ends))


def plan_alone(program: Program, alignment: int = 64) -> Program:
    """The program with the offset of every buffer, as if it were the only one of its bundle."""
    return plan_memory(program, persistent_layout([program], alignment), alignment)


def peak_bytes(program: Program, alignment: int = 64) -> int:
    """Memory of the device that needs most, for this program alone."""
    return max(plan_alone(program, alignment).arena_bytes)


def plan_memory(program: Program, layout: Layout, alignment: int = 64) -> Program:
    """The same program with the offset of every buffer."""
    kept = {view.buffer for port in program.outputs for view in port.views}
    planned: dict[object, list[int]] = {}
    offsets: dict[tuple[int, str], int] = {}
    for class_ in range(len(program.classes)):
        order = device_order(program, class_)
        storages = _storages(program, order, kept)
        for storage in storages:
            storage.offset = layout.offsets.get((class_, storage.name), -1)
        key = _key(storages, order, layout.ends[class_])
        if key not in planned:
            streams = [program.instructions[number].stream for number in order.ids]
            conflicts = _conflicts(storages, order, streams)
            _place(storages, conflicts, layout.ends[class_], alignment)
            planned[key] = [s.offset for s in storages]
        offsets |= {(class_, s.name): o for s, o in zip(storages, planned[key], strict=True)}
    buffers = (replace(b, offset=offsets[b.class_, b.storage]) for b in program.buffers)
    return replace(program, buffers=tuple(buffers))


def _aligned(nbytes: int, alignment: int) -> int:
    return -(-nbytes // alignment) * alignment


def _key(storages: list[_Storage], order: DeviceOrder, base: int) -> object:
    """Classes whose devices do the same things at the same times get the same places."""
    index = {s.name: i for i, s in enumerate(storages)}
    uses = tuple(
        (s.kind, s.nbytes, s.accesses, s.first_write, s.offset,
         tuple(sorted(index[p] for p in s.partners)))
        for s in storages
    )  # fmt: skip
    return base, uses, tuple(order.before)


def _storages(program: Program, order: DeviceOrder, kept: set[str]) -> list[_Storage]:
    """The storages of a device in order of their buffers, with all their accesses."""
    storages: dict[str, _Storage] = {}
    for b in program.buffers_of[order.class_]:
        storage = storages.setdefault(b.storage, _Storage(b.storage, b.kind))
        storage.nbytes = max(storage.nbytes, b.nbytes)
        if b.name in kept and b.kind == "temporary":
            storage.kind = "output"
    for position, number in enumerate(order.ids):
        instruction = program.instructions[number]
        reads, writes = accesses(instruction, order.class_)
        for view in (*reads, *writes):
            storages[program.buffer[view.buffer].storage].accesses |= 1 << position
        for view in writes:
            storage = storages[program.buffer[view.buffer].storage]
            if storage.first_write < 0:
                storage.first_write = position
        for old, new in in_place_pairs(program, instruction, order.class_):
            if storages[new.storage].first_write == position and old.storage != new.storage:
                storages[new.storage].partners.add(old.storage)
    for storage in (s for s in storages.values() if s.partners):
        ends = order.before[storage.first_write] | 1 << storage.first_write
        over = (p for p in storage.partners if not storages[p].accesses & ~ends)
        storage.partners = {p for p in over if storages[p].kind == "temporary"}
    return list(storages.values())


def _place(
    storages: list[_Storage], conflicts: list[int], base: int, alignment: int
) -> None:  # fmt: skip
    """Inputs and results first, each for itself; then the others, largest first."""
    for storage in storages:
        if storage.kind == "input":
            storage.offset = base
            base += _aligned(storage.nbytes, alignment)
    rest = [i for i, s in enumerate(storages) if s.offset < 0]
    near = _near(storages)
    placed: list[tuple[int, int]] = []
    """Offset and number of what has its place, by offset."""
    for i in sorted(rest, key=lambda i: (-storages[i].nbytes, storages[i].first_write)):
        against = bin(conflicts[i] | 1 << len(storages))[:1:-1]
        taken = [storages[j] for _, j in placed if against[j] == "1"]
        partners = [storages[j] for j in near[i] if storages[j].offset >= 0 and against[j] == "1"]
        storages[i].offset = _lowest(storages[i], partners, taken, base, alignment)
        insort(placed, (storages[i].offset, i))


def _near(storages: list[_Storage]) -> list[list[int]]:
    """For every storage those whose place it may take, or that may take its, in order."""
    index = {s.name: i for i, s in enumerate(storages)}
    found: list[set[int]] = [set() for _ in storages]
    for i, storage in enumerate(storages):
        for j in (index[name] for name in storage.partners):
            if storages[j].nbytes == storage.nbytes:
                found[i].add(j)
                found[j].add(i)
    return [sorted(each) for each in found]


def _lowest(
    storage: _Storage, partners: list[_Storage], taken: list[_Storage], base: int, alignment: int
) -> int:
    """A partner's place if it is free otherwise, else the first gap that is large enough; `taken`
    is in the order of offsets.
    """
    for other in partners:
        if _free(storage, other, partners, taken):
            return other.offset
    candidate = base
    for other in taken:
        if other.offset >= candidate + storage.nbytes:
            break
        candidate = max(candidate, _aligned(other.offset + other.nbytes, alignment))
    return candidate


def _free(
    storage: _Storage, partner: _Storage, partners: list[_Storage], taken: list[_Storage]
) -> bool:
    """Nothing else in use lies in the partner's place, but other partners at the same offset."""
    start, end = partner.offset, partner.offset + storage.nbytes
    return all(
        other.offset >= end
        or other.offset + other.nbytes <= start
        or (other.offset == start and other in partners)
        for other in taken
    )


def _conflicts(storages: list[_Storage], order: DeviceOrder, streams: list[str]) -> list[int]:
    """For every storage the set of those that may not share its bytes.

    Two may where one is over when the other is first written. Along a stream ever more is over: so
    for each storage and stream one position is sought, and the rest is union of sets.
    """
    lines: dict[str, list[int]] = {}
    for position, stream in enumerate(streams):
        lines.setdefault(stream, []).append(position)
    occupied = sum(1 << i for i, s in enumerate(storages) if s.nbytes)
    disjoint = [~occupied] * len(storages)
    for line in lines.values():
        _share_along(storages, [order.before[p] for p in line], line, disjoint)
    return [occupied & ~d if s.nbytes else 0 for s, d in zip(storages, disjoint, strict=True)]


def _share_along(
    storages: list[_Storage], before: list[int], line: list[int], disjoint: list[int]
) -> None:
    """Add to `disjoint` what is over before writes of one stream; `before` is what each follows."""
    place = {position: index for index, position in enumerate(line)}
    ending: list[int] = [0] * (len(line) + 1)
    ends = []
    for i, storage in enumerate(storages):
        end = len(line) if storage.kind == "output" else _first_after(storage.accesses, before)
        ending[end] |= 1 << i
        ends.append(end)
    over = list(accumulate(ending, or_))
    beginning: list[int] = [0] * (len(line) + 1)
    for i, storage in enumerate(storages):
        index = place.get(storage.first_write)
        if index is not None:
            disjoint[i] |= over[index]
            beginning[index] |= 1 << i
    later = list(accumulate(reversed(beginning), or_))[::-1]
    for i, end in enumerate(ends):
        disjoint[i] |= later[end]


def _first_after(accesses: int, before: list[int]) -> int:
    """The first place whose set holds all accesses; the sets grow."""
    return bisect_left(before, True, key=lambda ended: not accesses & ~ended)
