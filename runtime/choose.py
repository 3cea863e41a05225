"""Which backend runs a program, on which devices, and how the process is set up for it."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netc.errors import DeviceError, Diagnostic, UsageError
from netc.ir.facts import Facts
from netc.ir.program import Bundle, Program
from netc.stages import staged
from netc_kernels import cuda
from netc_runtime.backend import Backend
from netc_runtime.launch.local import RANK, LocalRanks
from netc_runtime.launch.mpi import MpiRanks, ask_mpiexec, started_rank, started_ranks
from netc_runtime.launch.ranks import Ranks
from netc_runtime.making import silent
from netc_runtime.memory import available_bytes, check_memory

_MALLOC_OPTIONS = {-1: 2**28, -2: 2**26, -3: 2**28}
"""glibc's M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD, in bytes."""
FIRST_SECONDS = 2.0
CUDA_ONLY = ("tf32", "bf16")
"""Precisions that only GPUs compute in."""
ELSEWHERE = "'--backend cpu' runs the same network; '--backend null' predicts its time."


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """A backend and why it was taken."""

    name: str
    reason: str
    share_gpus: bool = False
    """Whether all devices are on one GPU, in one process."""
    graph: bool = True
    """Whether steps are recorded as CUDA graphs."""
    watched: bool = True
    """Whether this process is ended where nothing moves; a caller of Python may not want that."""


def choose_backend(
    asked: str | None,
    devices: int,
    precision: str = "fp32",
    share_gpus: bool = False,
    graph: bool = True,
) -> BackendChoice:
    """The backend asked for, else cuda where enough GPUs are visible, else cpu.

    Raises DeviceError where the one asked for cannot run here, or none can; UsageError (E051) as
    `check_shared`.
    """
    if asked == "null":
        check_shared(share_gpus, "null")
        return BackendChoice("null", "as asked")
    lacking = why_not_cuda(devices, precision, share_gpus)
    if asked == "cuda" and lacking:
        message = f"the cuda backend cannot run this: {lacking}."
        raise DeviceError(Diagnostic("E071", message, help=f"'netc doctor' says more; {ELSEWHERE}"))
    if asked == "cuda" or (asked is None and not lacking):
        return BackendChoice("cuda", "as asked" if asked else "GPUs are visible", share_gpus, graph)
    if precision in CUDA_ONLY:
        why = f", which cannot run here: {lacking}" if lacking else ""
        message = f"precision {precision} is the cuda backend's alone{why}."
        raise DeviceError(Diagnostic("E078", message, help="take '--precision fp32'."))
    check_shared(share_gpus, "cpu", "" if asked else lacking)
    return BackendChoice("cpu", "as asked" if asked else lacking)


def check_shared(share_gpus: bool, backend: str, why: str = "") -> None:
    """Raise UsageError (E051) where devices are to be on one GPU, and the backend has none."""
    if share_gpus and backend != "cuda":
        because = f": {why}" if why else ""
        message = f"'--share-gpus' puts devices on one GPU, and the backend is {backend}{because}."
        raise UsageError(
            Diagnostic("E051", message, help="leave it out, or take '--backend cuda'.")
        )


def check_precision(backend: str, precision: str) -> None:
    """Raise DeviceError where no device of a backend computes in a precision."""
    if backend == "cuda" and precision == "fp64":
        message = "there are no CUDA kernels in fp64."
        raise DeviceError(Diagnostic("E078", message, help="take '--backend cpu'."))
    if backend == "cpu" and precision in CUDA_ONLY:
        message = f"precision {precision} is the cuda backend's alone."
        raise DeviceError(Diagnostic("E078", message, help="take '--backend cuda'."))


def why_not_cuda(devices: int, precision: str, share_gpus: bool) -> str:
    """Why GPUs cannot run a program; empty where they can."""
    if precision == "fp64":
        return "there are no CUDA kernels in fp64"
    with staged("import"):
        gpus, lacking = cuda.found()
    needed = 1 if share_gpus or started_ranks() > 1 else devices
    if not gpus:
        return lacking
    if gpus < needed:
        return f"{gpus} GPUs are visible, {needed} needed; '--share-gpus' puts all devices on one"
    several = devices > 1 and not share_gpus
    return "NCCL is not installed" if several and not _has_nccl() else ""


def _has_nccl() -> bool:
    try:
        from cupy.cuda import nccl
    except ImportError:
        return False
    return bool(nccl.available)


def is_first() -> bool:
    """Whether this process is alone or the first one of a run, which speaks for the others."""
    return not started_rank() and os.environ.get(RANK, "0") == "0"


def give_up(code: int) -> None:
    """End all with an error, before they have met. The first process has some time to fail in the
    same way, and to say so before this one does.
    """
    if not is_first():
        time.sleep(FIRST_SECONDS)
    if started_ranks() > 1:
        atexit.register(ask_mpiexec, code)


def join_ranks(bundle: Bundle, choice: BackendChoice) -> Ranks | None:
    """The processes that mpiexec started, or that this one starts by its own command, one a GPU.
    None where this process is alone.
    """
    devices = bundle.train.mesh.size
    if started_ranks() > 1:
        return MpiRanks()
    if choice.name == "cuda" and devices > 1 and not choice.share_gpus:
        return LocalRanks(devices)
    return None


def open_backend(
    choice: BackendChoice, bundle: Bundle, ranks: Ranks | None = None, training: bool = True,
    told: Callable[[str], None] = silent,
) -> Backend:  # fmt: skip
    """Memory for this process's devices of a bundle, without `training` for the other programs.

    What takes long is `told`. Raises DeviceError where this machine has too little.
    """
    programs = bundle.programs if training else (bundle.init, bundle.eval)
    return open_devices(choice, programs, bundle.facts, ranks, told)


def open_devices(
    choice: BackendChoice, programs: Sequence[Program], facts: Facts, ranks: Ranks | None = None,
    told: Callable[[str], None] = silent,
) -> Backend:  # fmt: skip
    """Memory for this process's devices of some programs, compiled with such facts; what takes
    long is `told`.

    Raises DeviceError where this machine has too little.
    """
    if choice.name == "null":
        from netc_runtime.null import NullBackend

        return NullBackend(programs)
    if choice.name == "cuda":
        from netc_runtime.cuda.device import open_cuda

        return open_cuda(choice.graph, programs, facts.precision, ranks, choice.watched, told)
    from netc_runtime.cpu.ahead import compile_ahead
    from netc_runtime.cpu.backend import CpuBackend

    devices = range(programs[0].mesh.size) if ranks is None else (ranks.rank,)
    check_memory(programs, devices, available_bytes(), "this machine")
    with staged("kernels"):
        compile_ahead(programs, devices, facts.threads, told, alone=ranks is None)
    _settle(facts.blas_threads)
    assert ranks is None or isinstance(ranks, MpiRanks)
    threads = max(facts.threads, 1)
    return CpuBackend(programs, ranks=ranks, threads=threads, watched=choice.watched)


def _settle(blas_threads: int) -> None:
    """BLAS as wide as the program wants it, and an allocator that keeps what it got."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(blas_threads, "blas")
    if sys.platform == "linux":
        # Kernels' temporaries are large; giving them back each time costs more than computing.
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            for option, value in _MALLOC_OPTIONS.items():
                libc.mallopt(option, value)
