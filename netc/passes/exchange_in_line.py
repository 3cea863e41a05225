"""exchange-in-line: what computation waits for at once is exchanged on its own stream.

A stream of its own lets an exchange go on beside computation. Where the next launch reads what is
exchanged there is nothing beside it, and to go to another stream and back costs a GPU two
dependences between streams, which for sums of kilobytes is as long as the message is on its way.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from netc.ir.program import STREAMS, Collective, Instruction, Launch, Program, View
from netc.ir.types import ITEM_BYTES

IN_LINE_BYTES = 2**18
"""Larger exchanges keep their stream: NCCL may carry them, and their bytes count, not the way."""


def exchange_in_line(program: Program) -> Program:
    """The program with small exchanges on the stream of computation, where that waits for them
    before it does anything else. It has no waits yet.
    """
    after: dict[int, Launch] = {}
    done: list[Instruction] = []
    for each in reversed(program.instructions):
        if isinstance(each, Launch):
            after[each.class_] = each
        elif each.stream == "inner" and _is_small(program, each) and _is_awaited(each, after):
            each = replace(each, stream=STREAMS[0])
        done.append(each)
    return replace(program, instructions=tuple(reversed(done)))


def _is_small(program: Program, collective: Collective) -> bool:
    """Whether all that a device gets is small."""
    got: dict[str, View] = {view.buffer: view for view in collective.writes}
    by_class = [0] * len(program.classes)
    for name, view in got.items():
        buffer = program.buffer[name]
        by_class[buffer.class_] += prod(view.shape) * ITEM_BYTES[buffer.dtype]
    return max(by_class) <= IN_LINE_BYTES


def _is_awaited(collective: Collective, after: dict[int, Launch]) -> bool:
    """Whether the next launch of every device reads what it gets."""
    got = {view.buffer for view in collective.writes}
    launches = [after.get(class_) for class_ in collective.classes]
    return all(
        launch is not None and not got.isdisjoint(view.buffer for view in launch.reads)
        for launch in launches
    )
