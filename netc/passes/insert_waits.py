"""insert-waits: the fewest waits that order every conflicting pair of accesses.

A read waits for the write of its buffer. A write waits for every earlier access to the same
storage, where state is overwritten or a slot is used again. Waits that streams or other waits
imply are dropped, so each wait that stays is needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from netc.ir.order import DeviceOrder, append
from netc.ir.program import Buffer, Instruction, Program, View


def insert_waits(program: Program) -> Program:
    """The same program with the waits of every instruction."""
    devices = [_Device(program, d) for d in range(program.mesh.size)]
    result = []
    for number, instruction in enumerate(program.instructions):
        here = [devices[d] for d in instruction.devices]
        needs = {device.order.device: device.needs(instruction) for device in here}
        waits = _fewest(here, needs, instruction)
        for device in here:
            device.append(number, instruction, waits)
        result.append(replace(instruction, waits=waits))
    return replace(program, instructions=tuple(result))


class _Device:
    """Accesses so far, and their order."""

    def __init__(self, program: Program, device: int) -> None:
        self.buffers = program.buffer
        self.order = DeviceOrder(device, (), {}, [])
        self.ids: list[int] = []
        self.last: dict[str, int] = {}
        self.writer: dict[str, int] = {}
        self.accesses: defaultdict[str, int] = defaultdict(int)

    def needs(self, instruction: Instruction) -> int:
        """Bit set of earlier instructions that must end first."""
        needed = 0
        for buffer in self._mine(instruction.reads):
            if buffer.name in self.writer:
                needed |= 1 << self.writer[buffer.name]
        for buffer in self._mine(instruction.writes):
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
        for buffer in self._mine((*instruction.reads, *instruction.writes)):
            self.accesses[buffer.storage] |= 1 << position
        for buffer in self._mine(instruction.writes):
            self.writer[buffer.name] = position

    def _mine(self, views: Iterable[View]) -> Iterator[Buffer]:
        """The device's own buffers behind views; empty ones order nothing."""
        buffers = (self.buffers[view.buffer] for view in views)
        return (b for b in buffers if b.device == self.order.device and b.nbytes)


def _fewest(
    here: list[_Device], needs: dict[int, int], instruction: Instruction
) -> tuple[int, ...]:
    """A set of waits that covers all needs, and none of which can be left out."""
    missing = {d.order.device: d.unordered(needs[d.order.device], instruction) for d in here}
    waits: set[int] = set()
    for device in here:
        uncovered = missing[device.order.device]
        while uncovered:
            latest = uncovered.bit_length() - 1
            waits.add(device.ids[latest])
            uncovered &= ~device.order.closure(latest)
    for wait in sorted(waits):
        others = waits - {wait}
        if all(_covers(d, others, missing[d.order.device]) for d in here):
            waits = others
    return tuple(sorted(waits))


def _covers(device: _Device, waits: set[int], missing: int) -> bool:
    covered = 0
    for wait in waits:
        covered |= device.closure(wait)
    return not missing & ~covered
