"""Which instruction happens before which on each device of a class, by streams and waits alone."""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.program import Instruction, Program


@dataclass(slots=True)
class DeviceOrder:
    """The happens-before relation of a device's instructions, as bit sets.

    Instructions are numbered by their position on the device; bit i of `before[j]` says that
    instruction i has ended when j starts.
    """

    class_: int
    """The class of the device."""
    ids: tuple[int, ...]
    """Program-wide number of every instruction of the device."""
    position: dict[int, int]
    """The inverse of `ids`."""
    before: list[int]
    """For every instruction the set of those that happen before it."""

    def closure(self, position: int) -> int:
        """An instruction and all that happens before it."""
        return self.before[position] | 1 << position


def device_order(program: Program, class_: int) -> DeviceOrder:
    """Streams run in program order; an instruction starts after its waits."""
    order = DeviceOrder(class_, program.numbers[class_], {}, [])
    last: dict[str, int] = {}
    for number in order.ids:
        instruction = program.instructions[number]
        append(order, last, number, instruction, instruction.waits)
    return order


def append(
    order: DeviceOrder,
    last: dict[str, int],
    number: int,
    instruction: Instruction,
    waits: tuple[int, ...],
) -> None:
    """Extend an order by the device's next instruction; `last` is the newest of every stream."""
    position = len(order.before)
    earlier = [order.position[w] for w in waits if w in order.position]
    if instruction.stream in last:
        earlier.append(last[instruction.stream])
    happened = 0
    for p in earlier:
        happened |= order.closure(p)
    order.position[number] = position
    order.before.append(happened)
    last[instruction.stream] = position
