"""The verifier of a device's memory: M1, M2, M3 and M6 of `netc.ir.verify_program`."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from netc.ir.joined import overwritten
from netc.ir.order import device_order
from netc.ir.program import Buffer, Launch, Program, accesses, in_place_pairs
from netc.ir.types import ITEM_BYTES
from netc.ir.verify import VerifyError, require


def verify_memory(program: Program, class_: int) -> None:
    """Raise VerifyError where the buffers of the devices of a class are not written once, read
    after that, ordered where they share bytes, and fit to follow themselves.
    """
    memory = _Memory(program, class_)
    memory.written_once()
    memory.one_last_value()
    memory.shared_in_order()


class _Memory:
    """Who accesses the buffers of a device, and in which order."""

    def __init__(self, program: Program, class_: int) -> None:
        self.program, self.order = program, device_order(program, class_)
        self.buffers = [b for b in program.buffers_of[class_] if b.nbytes]
        self.reads: dict[str, int] = dict.fromkeys((b.name for b in self.buffers), 0)
        """By buffer the set of instructions that read it."""
        self.writes: dict[str, list[int]] = {b.name: [] for b in self.buffers}
        self.written: dict[str, int] = {}
        """Elements that the last write of a buffer wrote."""
        self.in_place: set[tuple[str, str]] = set()
        self.replaced: set[str] = set()
        """Buffers that a launch overwrites state with."""
        self.results = {v.buffer for port in program.outputs for v in port.views}
        self.initial = {v.buffer for port in (*program.inputs, *program.state) for v in port.views}
        for position, number in enumerate(self.order.ids):
            self._add(position, number)

    def _add(self, position: int, number: int) -> None:
        instruction = self.program.instructions[number]
        reads, writes = accesses(instruction, self.order.class_)
        for view in reads:
            if view.buffer in self.reads:
                self.reads[view.buffer] |= 1 << position
        for view in writes:
            if view.buffer in self.writes:
                self.writes[view.buffer].append(position)
                self.written[view.buffer] = prod(view.shape)
        pairs = in_place_pairs(self.program, instruction, self.order.class_)
        self.in_place |= {(old.name, new.name) for old, new in pairs}
        if isinstance(instruction, Launch):
            self.in_place |= set(self._aliases(instruction))

    def _aliases(self, launch: Launch) -> Iterator[tuple[str, str]]:
        """State that a launch reads and overwrites: buffers of one storage."""
        for before, after in overwritten(launch):
            new = self.program.buffer[after.buffer]
            old = new if before is None else self.program.buffer[before.buffer]
            same = (old.storage, old.offset, old.nbytes) == (new.storage, new.offset, new.nbytes)
            whole = before is None or (before.start, before.format) == (0, after.format)
            if not same or not whole:
                raise VerifyError(f"M6: {after.buffer} does not take over what it overwrites")
            self.replaced.add(new.name)
            yield old.name, new.name

    def written_once(self) -> None:
        """M1 and M2."""
        for b in self.buffers:
            given, writes = b.name in self.initial, self.writes[b.name]
            if len(writes) != (0 if given else 1):
                raise VerifyError(f"M1: {b.name} is written {len(writes)} times")
            if not given and self.written[b.name] * ITEM_BYTES[b.dtype] != b.nbytes:
                raise VerifyError(f"M1: {b.name} is not written whole")
            for write in writes:
                early = self.reads[b.name] & ~self._after(write, self.reads[b.name])
                require(not early, "M2", f"{b.name} is read before it is written")

    def _after(self, position: int, among: int) -> int:
        """Those of a set of instructions that start after this one has ended."""
        later = 0
        while among:
            other = among.bit_length() - 1
            among ^= 1 << other
            later |= (self.order.before[other] >> position & 1) << other
        return later

    def one_last_value(self) -> None:
        """M6: state is written by what overwrites it alone, in its place."""
        given = (self.program.buffer[name] for name in self.initial)
        state = {(b.storage, b.offset) for b in given}
        for b in self.buffers:
            if b.kind == "persistent" and b.name not in self.initial:
                right = b.name in self.replaced and (b.storage, b.offset) in state
                require(right, "M6", f"{b.name} is in the memory of state, and overwrites none")

    def shared_in_order(self) -> None:
        """M3 and M6 of buffers whose bytes overlap."""
        spans = {b.name: self._span(b) for b in self.buffers}
        for a, b in self._sharing():
            both = a.kind == b.kind == "temporary"
            (uses, before), (others, before_other) = spans[a.name], spans[b.name]
            # So it is of nearly all pairs, of which there are very many.
            if both and (not uses & ~before_other or not others & ~before):
                continue
            if not both:
                self._follows_itself(a, b)
            if not (self._over_in(a, b, uses, before_other) or self._over_in(b, a, others, before)):
                what = f"share bytes ({a.offset}+{a.nbytes} and {b.offset}+{b.nbytes})"
                raise VerifyError(f"M3: {a.name} and {b.name} {what} while both are in use")

    def _span(self, b: Buffer) -> tuple[int, int]:
        """When a buffer is in use, always where its contents last; and what happens before its
        write, nothing where there is none.
        """
        uses, before = self.reads[b.name], 0
        for write in self.writes[b.name]:
            uses, before = uses | 1 << write, self.order.before[write]
        return (-1 if b.name in self.results else uses), before

    def _sharing(self) -> Iterator[tuple[Buffer, Buffer]]:
        """Pairs of buffers whose bytes overlap."""
        active: list[Buffer] = []
        for b in sorted(self.buffers, key=lambda b: b.offset):
            active = [a for a in active if a.offset + a.nbytes > b.offset]
            for a in active:
                yield a, b
            active.append(b)

    def _over_in(self, a: Buffer, b: Buffer, uses: int, before: int) -> bool:
        """Whether `a`, in use at `uses`, is over before the write of `b`, or in that very place."""
        if not self.writes[b.name]:
            return False
        if (a.name, b.name) in self.in_place and a.offset == b.offset:
            before |= 1 << self.writes[b.name][0]
        return not uses & ~before

    def _follows_itself(self, a: Buffer, b: Buffer) -> None:
        """M6: what the next step reads shares its bytes with its own successor only."""
        same = (a.storage, a.offset, a.kind) == (b.storage, b.offset, b.kind)
        if not same or a.kind != "persistent":
            raise VerifyError(f"M6: {a.name} overlaps {b.name}, one of them lasting")
