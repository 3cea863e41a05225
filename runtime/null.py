"""The null backend: devices that hold nothing. It counts bytes and advances a clock.

The clock of every stream goes by the predicted seconds of its instructions, so a schedule can be
tried for machines that are not here. Bytes are counted from the blocks that each collective names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.clock import simulate
from netc.ir.program import Launch, Port, Program
from netc.ir.traffic import program_traffic
from netc_runtime.backend import StepReport, Timing

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

    def taken_bytes(self) -> int:
        """Nothing is taken."""
        return 0

    def describe(self) -> Mapping[str, object]:
        """Devices."""
        return {"backend": self.name, "devices": len(self.devices)}


class NullExecutable:
    """A program whose instructions only take time."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.timeline = simulate(program)
        self.traffic = program_traffic(program)

    def run(self) -> StepReport:
        """One step by the clock."""
        line = self.timeline
        return StepReport(line.seconds, line.exposed_seconds, self.traffic)

    def stage(self, port: Port, value: Array) -> None:
        """Nothing is kept."""

    def start(self, traced: bool = False) -> None:
        """Nothing goes on by itself."""
        assert not traced, "what is predicted needs no run"

    def finish(self) -> StepReport:
        """Advance the clock through one step."""
        return self.run()

    def measure(self, repeats: int) -> Timing:
        """What the cost model says, in runs and in launches."""
        class_ = self.program.class_of[0]
        launches = {
            number: instruction.seconds
            for number, instruction in enumerate(self.program.instructions)
            if isinstance(instruction, Launch) and instruction.class_ == class_
        }
        report = self.run()
        return Timing((report.seconds,) * repeats, launches, report.exposed_seconds or 0.0)

    def write(self, port: Port, value: Array) -> None:
        """Nothing is kept."""

    def read(self, port: Port, into: Array | None = None) -> Array:
        """Zeros: nothing was computed."""
        return np.zeros(port.shape, np.int64 if port.dtype == "i64" else np.float64)

    def is_finite(self, port: Port) -> bool:
        """True: nothing was computed."""
        return True
