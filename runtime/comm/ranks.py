"""The processes of a run: who they are, and how they agree."""

from __future__ import annotations

import hashlib
from typing import Any

from numpy.typing import NDArray

from netc.errors import DeviceError, Diagnostic
from netc.ir.program import Bundle, View
from netc.ir.text import bundle_text

Array = NDArray[Any]


class Ranks:
    """All processes of a run, one a device, and this one's place among them."""

    rank: int
    size: int

    def allgather(self, value: Any) -> list[Any]:
        """What every process gives, in rank order."""
        raise NotImplementedError

    def abort(self, code: int) -> None:
        """End all processes: this one cannot go on."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave: nothing is asked of the others any more."""

    def any(self, flag: bool) -> bool:
        """True on all ranks if it is on one."""
        return any(self.allgather(flag))

    def blocks(self, mine: list[tuple[View, Array]]) -> list[tuple[View, Array]]:
        """The blocks of all ranks, in rank order."""
        return [block for each in self.allgather(mine) for block in each]

    def check(self, bundle: Bundle) -> None:
        """Raise DeviceError where ranks and devices differ in number, or the programs do."""
        devices = bundle.train.mesh.size
        if self.size != devices:
            message = f"{self.size} ranks were started for {devices} devices."
            hint = "'mpiexec -n' and '--devices' must agree."
            raise DeviceError(Diagnostic("E074", message, help=hint))
        digest = hashlib.sha256(bundle_text(bundle).encode()).hexdigest()
        if len(set(self.allgather(digest))) > 1:
            message = "the ranks have different programs."
            hint = "give every rank the same network, options and version of netc."
            raise DeviceError(Diagnostic("E074", message, help=hint))
