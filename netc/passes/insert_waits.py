"""insert-waits: the fewest waits that order every conflicting pair of accesses.

A read waits for the write of its buffer. A write waits for every earlier access to the same
storage, where state is overwritten or a slot is used again. Waits that streams or other waits
imply are dropped, so each wait that stays is needed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from netc.ir.order import DeviceOrder, append
from netc.ir.program import Buffer, Instruction, Program, accesses


def insert_waits(program: Program) -> Program:
    """The same program with the waits of every instruction."""
    devices = [_Device(program, class_) for class_ in range(len(program.classes))]
    result = []
    for number, instruction in enumerate(program.instructions):
        here = [devices[class_] for class_ in instruction.classes]
        needs = {device.order.class_: device.needs(instruction) for device in here}
        waits = _fewest(here, needs, instruction)
        for device in here:
            device.append(number, instruction, waits)
        result.append(replace(instruction, waits=waits))
    return replace(program, instructions=tuple(result))


class _Device:
    """Accesses so far on each device of a class, and their order."""

    def __init__(self, program: Program, class_: int) -> None:
        self.buffers = program.buffer
        self.order = DeviceOrder(class_, (), {}, [])
        self.ids: list[int] = []
        self.last: dict[str, int] = {}
        self.writer: dict[str, int] = {}
        self.accesses: defaultdict[str, int] = defaultdict(int)

    def needs(self, instruction: Instruction) -> int:
        """Bit set of earlier instructions that must end first."""
        reads, writes = self._mine(instruction)
        needed = 0
        for buffer in reads:
            if buffer.name in self.writer:
                needed |= 1 << self.writer[buffer.name]
        for buffer in writes:
            needed |= self.accesses[buffer.storage]
        return needed

    def unordered(self, needed: int, instruction: Instruction) -> int:
        """What of `needed` the stream does not order already."""
        stream = self.last.get(instruction.stream)
        return needed if stream is None else needed & ~self.order.closure(stream)

    def closure(self, number: int) -> int:
        """An instruction of the program and all that happens before it here; nothing elsewhere."""
        position = self.order.position.get(number)
        return 0 if position is None else self.order.closure(position)

    def append(self, number: int, instruction: Instruction, waits: tuple[int, ...]) -> None:
        """Record the instruction and its accesses."""
        append(self.order, self.last, number, instruction, waits)
        position = self.order.position[number]
        self.ids.append(number)
        reads, writes = self._mine(instruction)
        for buffer in (*reads, *writes):
            self.accesses[buffer.storage] |= 1 << position
        for buffer in writes:
            self.writer[buffer.name] = position

    def _mine(self, instruction: Instruction) -> tuple[list[Buffer], list[Buffer]]:
        """The buffers that a device reads and writes; empty ones order nothing."""
        reads, writes = (
            [self.buffers[view.buffer] for view in views]
            for views in accesses(instruction, self.order.class_)
        )
        return [b for b in reads if b.nbytes], [b for b in writes if b.nbytes]


def _fewest(
    here: list[_Device], needs: dict[int, int], instruction: Instruction
) -> tuple[int, ...]:
    """A set of waits that covers all needs, and none of which can be left out."""
    missing = {d.order.class_: d.unordered(needs[d.order.class_], instruction) for d in here}
    waits: set[int] = set()
    for device in here:
        uncovered = missing[device.order.class_]
        while uncovered:
            latest = uncovered.bit_length() - 1
            waits.add(device.ids[latest])
            uncovered &= ~device.order.closure(latest)
    for wait in sorted(waits):
        others = waits - {wait}
        if all(_covers(d, others, missing[d.order.class_]) for d in here):
            waits = others
    return tuple(sorted(waits))


def _covers(device: _Device, waits: set[int], missing: int) -> bool:
    covered = 0
    for wait in waits:
        covered |= device.closure(wait)
    return not missing & ~covered
