"""A process's GPU made ready for a program: the device, its memory, the vendor's plans."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from netc.errors import DeviceError, Diagnostic
from netc.ir.program import Program
from netc_kernels.cuda.conv import vendor
from netc_kernels.cuda.source import digest
from netc_runtime.cuda.backend import CudaBackend
from netc_runtime.cuda.kernels import Plans
from netc_runtime.io.tables import keep, kept, table_path
from netc_runtime.launch.ranks import Ranks
from netc_runtime.memory import check_memory


def open_cuda(
    graph: bool, programs: Sequence[Program], precision: str, ranks: Ranks | None
) -> CudaBackend:
    """The backend on this process's GPU: that of its rank, or the first.

    Raises DeviceError where the GPU has too little memory.
    """
    import cupy

    if ranks is not None:
        local, gpus = ranks.local, cupy.cuda.runtime.getDeviceCount()
        if local >= gpus:
            message = f"this machine has {gpus} GPUs for {local + 1} processes or more."
            raise DeviceError(Diagnostic("E071", message, help="start one process a GPU."))
        cupy.cuda.Device(local).use()
    devices = range(programs[0].mesh.size) if ranks is None else (ranks.rank,)
    free, _ = cupy.cuda.runtime.memGetInfo()
    check_memory(programs, devices, free, "the GPU")
    return CudaBackend(programs, precision, ranks, graph, KeptPlans())


class KeptPlans(Plans):
    """The vendor's plans by what they compute, kept in a file for this GPU and library."""

    def __init__(self) -> None:
        import cupy

        found = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        library = "none" if vendor.missing() else vendor.version()
        self.machine = f"{found['name'].decode()}, cuDNN {library}, kernels {digest()}"
        self.path = table_path().with_name("plans.json")
        entries = kept(self.path, self.machine).items()
        self.known = {of: name for of, name in entries if isinstance(name, str)}
        super().__init__(self.known)

    def keep(self) -> None:
        """Write what is new to the file."""
        if self == self.known:
            return
        self.known = dict(self)
        # A table that cannot be written costs time at the next start, nothing else.
        with suppress(OSError):
            keep(self.path, self.machine, self)
