"""A whole program on a clock: when every instruction starts and ends by its predicted seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netc.ir.program import Collective, Program


@dataclass(frozen=True, slots=True)
class Timeline:
    """When instructions run, in seconds from the start of the step.

    Equal devices do the same at the same times.
    """

    starts: Mapping[tuple[int, int], float]
    """By instruction and class."""
    ends: Mapping[tuple[int, int], float]
    busy_seconds: tuple[float, ...]
    """Computation of each device, by class."""

    @property
    def seconds(self) -> float:
        """The whole step."""
        return max(self.ends.values(), default=0.0)

    @property
    def exposed_seconds(self) -> float:
        """Time of the step in which the least busy device does not compute."""
        return self.seconds - min(self.busy_seconds)


def simulate(program: Program) -> Timeline:
    """Run the program's streams and waits; an instruction starts when all its devices can."""
    clock: dict[tuple[int, str], float] = {}
    busy = [0.0] * len(program.classes)
    starts: dict[tuple[int, int], float] = {}
    ends: dict[tuple[int, int], float] = {}
    meets: dict[tuple[int, ...], list[list[int]]] = {}
    for number, instruction in enumerate(program.instructions):
        stream = instruction.stream
        ready = {}
        for c in instruction.classes:
            waited = (ends.get((wait, c), 0.0) for wait in instruction.waits)
            ready[c] = max([clock.get((c, stream), 0.0), *waited])
        for c in instruction.classes:
            start = ready[c]
            if isinstance(instruction, Collective):
                axes = instruction.axes
                if axes not in meets:
                    meets[axes] = _meets(program, axes)
                start = max(ready[other] for other in meets[axes][c])
            starts[number, c] = start
            ends[number, c] = clock[c, stream] = start + instruction.seconds
            if stream == "compute":
                busy[c] += instruction.seconds
    return Timeline(starts, ends, tuple(busy))


def _meets(program: Program, axes: tuple[int, ...]) -> list[list[int]]:
    """By class, the classes of the devices that differ from its devices along some axes only."""
    mesh = program.mesh
    firsts = (mesh.device(each.first) for each in program.classes)
    return [sorted({program.class_of[d] for d in mesh.group(f, axes)}) for f in firsts]
