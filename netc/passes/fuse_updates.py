"""fuse-updates: the launches that update one weight become one, where the target has such a kernel.

The optimizer's state (a velocity, or Adam's moments) and the weight move in one pass over their
memory; the gradient of a fully connected layer, if nobody else reads it, is then never in memory
at all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from netc.ir.calls import calls_of
from netc.ir.joined import JOINED, Joined, join
from netc.ir.program import Instruction, Launch, Program, View, rewritten
from netc.passes.assign_formats import Target

_UPDATES = sorted(
    (each for each in JOINED.values() if each.overwritten), key=lambda each: -len(each.parts)
)
"""Joined launches that overwrite a weight, in their last part; those of more parts first."""


def fuse_updates(program: Program, target: Target) -> Program:
    """The program with updates joined. It has no waits yet."""
    fuser = _Fuser(program, target)
    return rewritten(program, fuser.done, fuser.gone)


class _Fuser:
    """Finds, for every launch that moves a weight, the launches that led to it."""

    def __init__(self, program: Program, target: Target) -> None:
        self.program, self.target = program, target
        self.readers = Counter(v.buffer for i in program.instructions for v in i.reads)
        self.results = {v.buffer for port in program.outputs for v in port.views}
        self.done: dict[int, Instruction] = {}
        """What stands in the place of a launch that moves a weight."""
        self.gone: set[int] = set()
        """Launches that it does as well."""
        for number, instruction in enumerate(program.instructions):
            if isinstance(instruction, Launch):
                self._join(number, instruction)

    def _join(self, number: int, apply: Launch) -> None:
        for update in _UPDATES:
            if apply.name != update.parts[-1].operation:
                continue
            found = self._before(update, number, apply)
            joined = self._joined(update, [launch for _, launch in found], apply)
            if joined is not None:
                self.done[number] = joined
                self.gone |= {n for n, _ in found} - {number}
                return

    def _before(self, update: Joined, number: int, apply: Launch) -> list[tuple[int, Launch]]:
        """The launches of all parts, in order, as far as they are there."""
        found = {len(update.parts) - 1: (number, apply)}
        for position in range(len(update.parts) - 1, -1, -1):
            if position not in found:
                return []
            launch = found[position][1]
            for view, operand in zip(launch.reads, update.parts[position].operands, strict=False):
                made = self._made_by(update, position + operand, view) if operand < 0 else None
                if made is not None:
                    found[position + operand] = made
        return [found[position] for position in sorted(found)]

    def _made_by(self, update: Joined, position: int, view: View) -> tuple[int, Launch] | None:
        """The launch of a part that wrote what nobody but other parts reads."""
        part, number = update.parts[position], self.program.writer.get(view.buffer)
        later = enumerate(update.parts[position + 1 :], 1)
        readers = sum(-distance in other.operands for distance, other in later)
        if number is None or self.readers[view.buffer] > readers:
            return None
        launch = self.program.instructions[number]
        fits = isinstance(launch, Launch) and launch.name == part.operation
        if part.result < 0 and view.buffer in self.results:
            return None
        return (number, launch) if isinstance(launch, Launch) and fits else None

    def _joined(self, update: Joined, launches: list[Launch], apply: Launch) -> Launch | None:
        """One launch in the place of all, if there is a kernel."""
        joined = join(update.name, launches, apply)
        if joined is None or not self.target.choose(calls_of(self.program, joined)):
            return None
        return replace(joined, seconds=sum(each.seconds for each in launches))
