"""Which backend runs a program, on which devices, and how the process is set up for it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from dataclasses import dataclass

from netc.errors import DeviceError, Diagnostic
from netc.ir.program import Bundle
from netc_runtime.backend import Backend
from netc_runtime.comm.mpi import Ranks, started_ranks

_MALLOC_OPTIONS = {-1: 2**28, -2: 2**26, -3: 2**28}
"""glibc's M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD, in bytes."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend and why it was taken."""

    name: str
    reason: str


def choose_backend(asked: str | None, devices: int) -> Choice:
    """The backend asked for, else cuda where enough GPUs are visible, else cpu.

    Raises DeviceError where the one asked for cannot run here.
    """
    gpus = visible_gpus()
    if asked == "cuda":
        hint = "'--backend cpu' runs the same program; '--backend null' predicts its time."
        message = f"this version of netc has no cuda backend ({gpus} GPUs are visible)."
        raise DeviceError(Diagnostic("E071", message, help=hint))
    if asked is not None:
        return Choice(asked, "as asked")
    if gpus >= devices:
        return Choice("cpu", f"{gpus} GPUs are visible, but this version has no cuda backend")
    return Choice("cpu", f"{gpus} GPUs are visible, {devices} needed")


def visible_gpus() -> int:
    """How many CUDA devices this process could use; 0 without CuPy or a driver."""
    try:
        import cupy  # type: ignore[import-not-found,unused-ignore]

        return int(cupy.cuda.runtime.getDeviceCount())
    except Exception:
        # A broken driver shows in many ways; none of them leaves a GPU to run on.
        return 0


def join_ranks(bundle: Bundle) -> Ranks | None:
    """The processes that mpiexec started, after they agreed on the program; None without it."""
    return Ranks(bundle) if started_ranks() > 1 else None


def open_backend(
    choice: Choice, bundle: Bundle, ranks: Ranks | None = None, training: bool = True
) -> Backend:
    """Memory for this process's devices of a bundle, without `training` for the other programs.

    Raises DeviceError where this machine has too little.
    """
    programs = (bundle.init, *([bundle.train] if training else []), bundle.eval)
    if choice.name == "null":
        from netc_runtime.null import NullBackend

        return NullBackend(programs)
    from netc_runtime.cpu import CpuBackend

    devices = range(bundle.train.mesh.size) if ranks is None else (ranks.rank,)
    needed = sum(max(p.arena_bytes[d] for p in programs) for d in devices)
    free = available_bytes()
    if needed > free:
        message = (
            f"{len(devices)} virtual devices need {needed / 2**30:.1f} GiB together, "
            f"this machine has {free / 2**30:.1f} GiB free."
        )
        hint = "take a smaller batch, or '--backend null' to predict without memory."
        raise DeviceError(Diagnostic("E072", message, help=hint))
    threads: int = dict(bundle.facts).get("threads", 0)
    _settle(bundle.train.mesh.size, threads)
    return CpuBackend(programs, ranks=ranks, threads=max(threads, 1))


def available_bytes() -> int:
    """Memory that programs may still take, as the system reports it."""
    with contextlib.suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _settle(devices: int, threads: int) -> None:
    """BLAS as wide as a device's cores, and an allocator that keeps what it got.

    Kernels that have `threads` of their own call BLAS from each of them.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(1 if threads else max(1, (os.cpu_count() or 1) // devices), "blas")
    if sys.platform == "linux":
        # Kernels' temporaries are large; giving them back each time costs more than computing.
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            for option, value in _MALLOC_OPTIONS.items():
                libc.mallopt(option, value)
