"""What a backend offers: memory of its devices, and programs made ready to run on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from netc.ir.program import Port, Program

Array = NDArray[Any]


@dataclass(slots=True)
class StepReport:
    """What one run of a program took."""

    seconds: float = 0.0
    """From the first instruction to the last; on the null backend by the cost model."""
    exposed_seconds: float = 0.0
    """Communication not hidden behind computation, on the device where it is longest."""
    bytes_moved: dict[tuple[int, int], int] = field(default_factory=dict)
    """Bytes that really went from one device to another."""

    def sent(self, device: int) -> int:
        """Bytes that left a device."""
        return sum(n for (giver, _), n in self.bytes_moved.items() if giver == device)


class Executable(Protocol):
    """A program on a backend's devices."""

    program: Program

    def run(self) -> StepReport:
        """Execute all instructions once."""
        ...

    def write(self, port: Port, value: Array) -> None:
        """Put the blocks of a global tensor where the program reads them."""
        ...

    def read(self, port: Port) -> Array:
        """The global tensor of a port."""
        ...


class Backend(Protocol):
    """Devices with memory, on which the programs of one bundle share their state."""

    name: str

    def load(self, program: Program) -> Executable:
        """Make a program ready to run."""
        ...

    def describe(self) -> Mapping[str, object]:
        """Name, devices and versions, for `--json` and `doctor`."""
        ...
