"""A process's GPU made ready for a program: the device, its memory, the vendor's plans."""

from __future__ import annotations

from collections.abc import Sequence

from netc.errors import DeviceError, Diagnostic
from netc.ir.program import Program
from netc_runtime.cuda.backend import CudaBackend
from netc_runtime.cuda.plans import KeptPlans
from netc_runtime.launch.ranks import Ranks
from netc_runtime.memory import check_memory


def open_cuda(
    graph: bool,
    programs: Sequence[Program],
    precision: str,
    ranks: Ranks | None,
    watched: bool = True,
) -> CudaBackend:
    """The backend on this process's GPU: that of its rank, or the first; `watched`, this process
    ends where nothing moves.

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
    return CudaBackend(programs, precision, ranks, graph, KeptPlans(), watched)
