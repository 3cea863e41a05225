"""A process's GPU made ready for a program: the device, its memory, the vendor's plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netc.errors import DeviceError, Diagnostic
from netc.ir.program import Launch, Program
from netc_runtime.cuda.ahead import make_ahead
from netc_runtime.cuda.backend import CudaBackend
from netc_runtime.cuda.kernels import products_of
from netc_runtime.cuda.plans import KeptPlans, chosen_by
from netc_runtime.launch.ranks import Ranks
from netc_runtime.making import silent
from netc_runtime.memory import check_memory


def open_cuda(
    graph: bool,
    programs: Sequence[Program],
    precision: str,
    ranks: Ranks | None,
    watched: bool = True,
    told: Callable[[str], None] = silent,
) -> CudaBackend:
    """The backend on this process's GPU: that of its rank, or the first; `watched`, this process
    ends where nothing moves. Its kernels and the vendor's plans are made. What was never measured,
    and what takes long, is `told`.

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
    plans = KeptPlans()
    told = told if ranks is None or not ranks.rank else silent
    _tell_unmeasured(programs, precision, plans, told)
    backend = CudaBackend(programs, precision, ranks, graph, plans, watched)
    try:
        make_ahead(backend, programs, told)
    except BaseException:
        backend.close()
        raise
    return backend


def _tell_unmeasured(
    programs: Sequence[Program], precision: str, plans: KeptPlans, told: Callable[[str], None]
) -> None:
    """Say of how many products nothing is known, so that slow kernels may be taken for them."""
    found = {
        product: chosen_by(plans, product, steps[0].variant or "")
        for program in programs for launch in program.instructions if isinstance(launch, Launch)
        for steps, _, product in products_of(program, launch, precision)
    }  # fmt: skip
    if unknown := sum(by == "heuristic" for by in found.values()):
        told(f"{unknown} of {len(found)} different convolutions and products were not measured "
             "on this GPU; a heuristic chooses kernels, 'netc tune' measures.")  # fmt: skip
