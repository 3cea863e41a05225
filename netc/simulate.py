"""A whole program on a clock: when every instruction starts and ends by its predicted seconds."""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.program import Program


@dataclass(frozen=True, slots=True)
class Timeline:
    """When instructions run, in seconds from the start of the step."""

    starts: tuple[float, ...]
    """Of every instruction, on all its devices at once."""
    ends: tuple[float, ...]
    busy_seconds: tuple[float, ...]
    """Computation of every device."""

    @property
    def seconds(self) -> float:
        """The whole step."""
        return max(self.ends, default=0.0)

    @property
    def exposed_seconds(self) -> float:
        """Time of the step in which the least busy device does not compute."""
        return self.seconds - min(self.busy_seconds)


def simulate(program: Program) -> Timeline:
    """Run the program's streams and waits; an instruction starts when all its devices can."""
    clock: dict[tuple[int, str], float] = {}
    busy = [0.0] * program.mesh.size
    starts: list[float] = []
    ends: list[float] = []
    for instruction in program.instructions:
        ready = [clock.get((d, instruction.stream), 0.0) for d in instruction.devices]
        start = max([*ready, *(ends[wait] for wait in instruction.waits)])
        starts.append(start)
        ends.append(start + instruction.seconds)
        for device in instruction.devices:
            clock[device, instruction.stream] = ends[-1]
            if instruction.stream == "compute":
                busy[device] += instruction.seconds
    return Timeline(tuple(starts), tuple(ends), tuple(busy))
