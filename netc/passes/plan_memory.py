"""plan-memory: every buffer gets its place in the device's arena; no wait is added.

Two storages share bytes only if every access of one happens before the first write of the other.
Largest first, each at the lowest place that fits. A result may take an operand's place in the same
instruction where the operation allows it, at exactly equal offsets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from netc.ir.order import DeviceOrder, device_order
from netc.ir.program import Program, in_place_pairs


@dataclass(frozen=True, slots=True)
class Layout:
    """Where persistent storages live, the same in every program of a bundle."""

    offsets: dict[tuple[int, str], int]
    """First byte by device and storage."""
    ends: tuple[int, ...]
    """Per device the first byte behind them."""


@dataclass(slots=True)
class _Storage:
    """Buffers that share their bytes by decree, and when they are used."""

    name: str
    kind: str
    nbytes: int = 0
    accesses: int = 0
    first_write: int = -1
    last_access: int = -1
    partners: set[str] = field(default_factory=set)
    """Storages whose place the first write may take."""
    offset: int = -1


def persistent_layout(programs: Iterable[Program], devices: int, alignment: int = 64) -> Layout:
    """One place for every persistent storage of several programs, from offset zero up."""
    sizes: dict[tuple[int, str], int] = {}
    for program in programs:
        for b in program.buffers:
            if b.kind == "persistent":
                sizes[b.device, b.storage] = max(sizes.get((b.device, b.storage), 0), b.nbytes)
    offsets: dict[tuple[int, str], int] = {}
    ends = [0] * devices
    for device, storage in sorted(sizes):
        offsets[device, storage] = ends[device]
        ends[device] += _aligned(sizes[device, storage], alignment)
    return Layout(offsets, tuple(ends))


def plan_memory(program: Program, layout: Layout, alignment: int = 64) -> Program:
    """The same program with the offset of every buffer."""
    kept = {view.buffer for port in program.outputs for view in port.views}
    planned: dict[object, list[int]] = {}
    offsets: dict[tuple[int, str], int] = {}
    for device in range(program.mesh.size):
        order = device_order(program, device)
        storages = _storages(program, order, kept)
        for storage in storages:
            storage.offset = layout.offsets.get((device, storage.name), -1)
        key = _key(storages, order, layout.ends[device])
        if key not in planned:
            _place(storages, order, layout.ends[device], alignment)
            planned[key] = [s.offset for s in storages]
        offsets |= {(device, s.name): o for s, o in zip(storages, planned[key], strict=True)}
    buffers = (replace(b, offset=offsets[b.device, b.storage]) for b in program.buffers)
    return replace(program, buffers=tuple(buffers))


def _aligned(nbytes: int, alignment: int) -> int:
    return -(-nbytes // alignment) * alignment


def _key(storages: list[_Storage], order: DeviceOrder, base: int) -> object:
    """Devices that do the same things at the same times get the same places."""
    index = {s.name: i for i, s in enumerate(storages)}
    uses = tuple(
        (s.kind, s.nbytes, s.accesses, s.first_write, s.offset,
         tuple(sorted(index[p] for p in s.partners)))
        for s in storages
    )  # fmt: skip
    return base, uses, tuple(order.before)


def _storages(program: Program, order: DeviceOrder, kept: set[str]) -> list[_Storage]:
    """The storages of one device in order of their buffers, with all their accesses."""
    storages: dict[str, _Storage] = {}
    for b in program.buffers:
        if b.device == order.device:
            storage = storages.setdefault(b.storage, _Storage(b.storage, b.kind))
            storage.nbytes = max(storage.nbytes, b.nbytes)
            if b.name in kept and b.kind == "temporary":
                storage.kind = "output"
    for position, number in enumerate(order.ids):
        instruction = program.instructions[number]
        for view in instruction.reads:
            buffer = program.buffer[view.buffer]
            if buffer.device == order.device:
                storages[buffer.storage].accesses |= 1 << position
        for view in instruction.writes:
            buffer = program.buffer[view.buffer]
            if buffer.device == order.device:
                storage = storages[buffer.storage]
                storage.accesses |= 1 << position
                if storage.first_write < 0:
                    storage.first_write = position
        for old, new in in_place_pairs(program, instruction, order.device):
            if storages[new.storage].first_write == position and old.storage != new.storage:
                storages[new.storage].partners.add(old.storage)
    for storage in storages.values():
        storage.last_access = storage.accesses.bit_length() - 1
    for storage in (s for s in storages.values() if s.partners):
        ends = order.before[storage.first_write] | 1 << storage.first_write
        over = (p for p in storage.partners if not storages[p].accesses & ~ends)
        storage.partners = {p for p in over if storages[p].kind == "temporary"}
    return list(storages.values())


def _place(storages: list[_Storage], order: DeviceOrder, base: int, alignment: int) -> None:
    """Inputs and results first, each for itself; then the others, largest first."""
    for storage in storages:
        if storage.kind == "input":
            storage.offset = base
            base += _aligned(storage.nbytes, alignment)
    rest = [s for s in storages if s.offset < 0]
    placed: list[_Storage] = []
    for storage in sorted(rest, key=lambda s: (-s.nbytes, s.first_write)):
        storage.offset = _lowest(storage, placed, order, base, alignment)
        placed.append(storage)


def _lowest(
    storage: _Storage, placed: list[_Storage], order: DeviceOrder, base: int, alignment: int
) -> int:
    """A partner's place if it is free otherwise, else the first gap that is large enough."""
    taken = [other for other in placed if not _disjoint(storage, other, order)]
    for other in taken:
        if _partners(storage, other) and _free(storage, other, taken):
            return other.offset
    candidate = base
    for other in sorted(taken, key=lambda s: s.offset):
        if other.offset >= candidate + storage.nbytes:
            break
        candidate = max(candidate, _aligned(other.offset + other.nbytes, alignment))
    return candidate


def _partners(a: _Storage, b: _Storage) -> bool:
    return a.nbytes == b.nbytes and (a.name in b.partners or b.name in a.partners)


def _free(storage: _Storage, partner: _Storage, taken: list[_Storage]) -> bool:
    """Nothing else in use lies in the partner's place, but other partners at the same offset."""
    start, end = partner.offset, partner.offset + storage.nbytes
    return all(
        other.offset >= end
        or other.offset + other.nbytes <= start
        or (other.offset == start and _partners(storage, other))
        for other in taken
    )


def _disjoint(a: _Storage, b: _Storage, order: DeviceOrder) -> bool:
    """Whether one is no longer used when the other is first written."""
    if a.nbytes == 0 or b.nbytes == 0:
        return True
    return _over_before(a, b, order) or _over_before(b, a, order)


def _over_before(a: _Storage, b: _Storage, order: DeviceOrder) -> bool:
    # What is accessed at a later position cannot be over before: most pairs are told by that.
    if a.last_access >= b.first_write or a.kind == "output":
        return False
    return not a.accesses & ~order.before[b.first_write]
