"""The null backend: devices that hold nothing. It counts bytes and advances a clock.

The clock of every stream goes by the predicted seconds of its instructions, so a schedule can be
tried for machines that are not here. Bytes are counted from the blocks that each collective names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.program import Collective, Instruction, Launch, Part, Port, Program, View
from netc.ir.types import ITEM_BYTES, common_elements
from netc_runtime.backend import StepReport, Timing
from netc_runtime.executor import Executor, Task

Array = NDArray[Any]


class NullBackend:
    """Any number of devices without memory."""

    name = "null"

    def __init__(self, programs: Sequence[Program]) -> None:
        self.devices: Sequence[int] = range(programs[0].mesh.size)

    def load(self, program: Program) -> NullExecutable:
        """Make a program ready to be counted."""
        return NullExecutable(program)

    def close(self) -> None:
        """Nothing is held that does not go by itself."""

    def describe(self) -> Mapping[str, object]:
        """Devices."""
        return {"backend": self.name, "devices": len(self.devices)}


class NullExecutable:
    """A program whose instructions only take time."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ends: dict[tuple[int, int], float] = {}
        self.starts: list[float] = [0.0] * len(program.instructions)
        self.clock: dict[tuple[int, str], float] = {}
        self.busy: dict[int, float] = {}
        self.arrived: dict[int, set[int]] = {}
        self.moved: dict[tuple[int, int], int] = {}
        self.executor = Executor(program, range(program.mesh.size), self._task)

    def run(self) -> StepReport:
        """Advance the clock through one step."""
        self.ends, self.clock, self.arrived, self.moved = {}, {}, {}, {}
        self.busy = dict.fromkeys(range(self.program.mesh.size), 0.0)
        self.executor.run_interleaved(0)
        seconds = max(self.ends.values(), default=0.0)
        return StepReport(seconds, seconds - min(self.busy.values()), dict(self.moved))

    def stage(self, port: Port, value: Array) -> None:
        """Nothing is kept."""

    def start(self) -> None:
        """Nothing goes on by itself."""

    def finish(self) -> StepReport:
        """Advance the clock through one step."""
        return self.run()

    def measure(self, repeats: int) -> Timing:
        """What the cost model says, in runs and in launches."""
        launches = {
            number: instruction.seconds
            for number, instruction in enumerate(self.program.instructions)
            if isinstance(instruction, Launch) and instruction.device == 0
        }
        report = self.run()
        return Timing((report.seconds,) * repeats, launches, report.exposed_seconds or 0.0)

    def write(self, port: Port, value: Array) -> None:
        """Nothing is kept."""

    def read(self, port: Port) -> Array:
        """Zeros: nothing was computed."""
        return np.zeros(port.shape, np.int64 if port.dtype == "i64" else np.float64)

    def is_finite(self, port: Port) -> bool:
        """True: nothing was computed."""
        return True

    def _task(self, number: int, instruction: Instruction, device: int) -> Task:
        def task() -> bool:
            here = self.arrived.setdefault(number, set())
            here.add(device)
            if len(here) < len(instruction.devices):
                return False
            if (number, device) not in self.ends:
                self._account(number, instruction)
            return True

        return task

    def _account(self, number: int, instruction: Instruction) -> None:
        """All devices came: the instruction starts when the last of them can."""
        stream = instruction.stream
        ready = [self.clock.get((d, stream), 0.0) for d in instruction.devices]
        for wait in instruction.waits:
            ready += [self.ends[wait, d] for d in instruction.devices if (wait, d) in self.ends]
        start = max(ready)
        self.starts[number] = start
        for device in instruction.devices:
            self.ends[number, device] = start + instruction.seconds
            self.clock[device, stream] = start + instruction.seconds
            if stream == "compute":
                self.busy[device] += instruction.seconds
        if isinstance(instruction, Collective):
            self._count(instruction)

    def _count(self, collective: Collective) -> None:
        for part in collective.parts:
            item = ITEM_BYTES[self._dtype(part)]
            for (giver, taker), elements in messages(collective, part).items():
                pair = collective.devices[giver], collective.devices[taker]
                self.moved[pair] = self.moved.get(pair, 0) + elements * item

    def _dtype(self, part: Part) -> str:
        view = next(v for v in (*part.sources, *part.targets) if v is not None)
        return self.program.buffer[view.buffer].dtype


def messages(collective: Collective, part: Part) -> dict[tuple[int, int], int]:
    """Elements by (giver, taker) position that a collective must move for one tensor."""
    result: dict[tuple[int, int], int] = {}
    everyone = range(len(collective.devices))
    for giver in everyone:
        for taker in everyone:
            source, target = part.sources[giver], part.targets[taker]
            if giver == taker or source is None or target is None:
                continue
            if collective.kind == "all_reduce":
                elements = _shard(source, giver, len(everyone)) + _shard(
                    source, taker, len(everyone)
                )
            else:
                elements = common_elements(source, target)
            if elements:
                result[giver, taker] = elements
    return result


def _shard(view: View, owner: int, workers: int) -> int:
    size = prod(view.shape)
    step = -(-size // workers)
    return min((owner + 1) * step, size) - min(owner * step, size)
