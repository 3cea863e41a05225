"""What a backend offers: memory of its devices, and programs made ready to run on it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from netc.ir.program import Port, Program
from netc.ir.traffic import Traffic

Array = NDArray[Any]


Place = tuple[int, int]
"""An instruction's number, and a device that does it."""


@dataclass(slots=True)
class StepTimes:
    """When the instructions of one run came to be done, in nanoseconds of this process's
    `time.perf_counter_ns`, on the devices of this process.
    """

    begun: int = 0
    """Of the run."""
    starts: dict[Place, int] = field(default_factory=dict)
    """When all that an instruction waits for on its device had ended. An exchange may then wait for
    other devices."""
    ends: dict[Place, int] = field(default_factory=dict)
    exact: int = 0
    """How far times may be off, all together: those of a GPU are by its own clock."""

    def begin(self, number: int, device: int) -> None:
        """An instruction is gone on with; the first time counts."""
        if (number, device) not in self.starts:
            self.starts[number, device] = time.perf_counter_ns()

    def end(self, number: int, device: int) -> None:
        """An instruction has ended on a device."""
        self.ends[number, device] = time.perf_counter_ns()


@dataclass(slots=True)
class StepReport:
    """What one run of a program took."""

    seconds: float = 0.0
    """From the first instruction to the last; on the null backend by the cost model."""
    exposed_seconds: float | None = 0.0
    """Communication not hidden behind computation, on the device where it is longest; None where
    it is not measured."""
    traffic: Traffic = field(default_factory=dict)
    """Bytes that really left each device for others, and came to it from them."""
    times: StepTimes | None = None
    """Of the instructions, where they were asked for."""

    def sent(self, device: int) -> int:
        """Bytes that left a device."""
        return self.traffic.get(device, (0, 0))[0]


@dataclass(frozen=True, slots=True)
class Timing:
    """Measured times of a program."""

    steps: tuple[float, ...]
    """Seconds of each run."""
    launches: Mapping[int, float]
    """Usual seconds of every launch of the first device here, by the instruction's number."""
    exposed_seconds: float = 0.0
    """Usual seconds of a run in which that device's computing waits for exchanges."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What a device reaches at most, measured."""

    flops_per_second: float
    """In a product of two large matrices."""
    bytes_per_second: float
    """Read and written by a large copy, together."""
    launch_seconds: float
    """Of a launch that has next to nothing to do."""


class Executable(Protocol):
    """A program on a backend's devices."""

    program: Program

    def run(self) -> StepReport:
        """Execute all instructions once."""
        ...

    def stage(self, port: Port, value: Array) -> None:
        """Take the next value of an input, while the program may run; `start` puts it in place."""
        ...

    def start(self, traced: bool = False) -> None:
        """Begin to execute all instructions once; it may be over only when `finish` returns. A
        `traced` run says when each of them began and ended, and computes the same.
        """
        ...

    def finish(self) -> StepReport:
        """Wait for what `start` began."""
        ...

    def measure(self, repeats: int) -> Timing:
        """Execute all instructions `repeats` times or more, and time runs and launches.

        Inputs stay as they were written. What the program leaves behind means nothing.
        """
        ...

    def write(self, port: Port, value: Array) -> None:
        """Put the blocks of a global tensor where the program reads them."""
        ...

    def read(self, port: Port, into: Array | None = None) -> Array:
        """The global tensor of a port, copied, `into` an array of its shape and type if one is
        given.
        """
        ...

    def is_finite(self, port: Port) -> bool:
        """Whether the blocks of a port on the devices of this process hold no NaN or infinity."""
        ...


class Backend(Protocol):
    """Devices with memory, on which the programs of one bundle share their state."""

    name: str
    devices: Sequence[int]
    """Those of this process."""

    def load(self, program: Program) -> Executable:
        """Make a program ready to run."""
        ...

    def close(self) -> None:
        """Give back what the devices have; nothing runs any more."""
        ...

    def taken_bytes(self) -> int:
        """The most memory that this process had, or what is taken of its GPU now; 0 where nobody
        says.
        """
        ...

    def describe(self) -> Mapping[str, object]:
        """Name, devices and versions, for `--json` and `doctor`."""
        ...
