"""What a program is compiled for: a backend, its kernels, and the cores it may use."""

from __future__ import annotations

import os
from dataclasses import replace

from netc.api.choices import PlanChoices
from netc.api.machine import is_here
from netc.errors import Diagnostic, UsageError
from netc.layers import layer_facts
from netc.passes.assign_formats import Target
from netc.passes.build_graph import build_graph
from netc.passes.options import Options
from netc.syntax import Network
from netc_kernels import cpu
from netc_runtime.choose import CUDA_ONLY, check_precision, check_shared, choose_backend
from netc_runtime.cores import cores
from netc_runtime.cpu.kernels import CpuKernels
from netc_runtime.launch.mpi import started_ranks
from netc_runtime.measure.tuning import load_times

SMALL_STEP = 50_000_000
"""Multiply-adds forward, below which NumPy's kernels take some milliseconds."""
CUDA_ALIGNMENT_BYTES = 256


def target_of(choices: PlanChoices, network: Network, chosen: Options) -> Target:
    """What the program is compiled for."""
    name = target_name(choices, chosen.mesh.size)
    if not choices.runs:
        check_precision(name, chosen.precision)
    if name == "cuda":
        # Imported here: programs for the CPU need none of it.
        from netc_runtime.cuda.kernels import CudaKernels

        kernels = _kernels(choices, ("auto", "native", "vendor"), "cuda")
        choose = CudaKernels(chosen.precision, kernels).choose
        return Target(
            "cuda", "nhwc", "nhwc", CUDA_ALIGNMENT_BYTES, choose, kernels=kernels, blas_threads=0
        )
    if _kernels(choices, ("auto", "fast", "reference"), "cpu") == "fast":
        _check_fast(chosen.precision)
    fast = _wants_fast(choices, network, chosen)
    # Ranks may be bound to cores of their own, and this one knows of its own alone.
    machine = cores() if started_ranks() <= 1 else os.cpu_count() or 1
    each = max(1, machine // chosen.mesh.size)
    threads = each if fast and not cpu.available() else 0
    # Fast kernels call BLAS from each of their threads. Products that take less than a millisecond
    # are a tenth of NumPy's time; two threads that meet at each of them halve that at best, and
    # where others want the processor each waits most of the time for the other.
    blas = 1 if threads or _is_small(network, chosen.batch) else each
    plain = Target("cpu", kernels="fast" if fast else "reference", blas_threads=blas)
    if not threads:
        return plain
    choose = CpuKernels(threads, load_times(threads)).choose
    return replace(plain, image_format="nhwc", choose=choose, threads=threads)


def target_name(choices: PlanChoices, devices: int) -> str:
    """The backend to compile for: the one asked for, or in verbs that run the one that will be."""
    precision, asked = choices.precision or "fp32", choices.backend
    if asked == "null" or not choices.runs:
        usual = "cuda" if precision in CUDA_ONLY else "cpu"
        name = usual if asked in (None, "null") else str(asked)
        check_shared(choices.share_gpus, asked or name)
        return name
    return choose_backend(asked, devices, precision, choices.share_gpus).name


def _kernels(choices: PlanChoices, known: tuple[str, ...], target: str) -> str:
    kernels = choices.kernels or "auto"
    if kernels not in known:
        message = f"'--kernels {kernels}' is not for the {target} backend."
        hint = f"it has {', '.join(known)}."
        raise UsageError(Diagnostic("E051", message, help=hint))
    return kernels


def _check_fast(precision: str) -> None:
    """Raise UsageError (E051) where fast kernels of the CPU are asked for in another precision than
    theirs.
    """
    if precision != "fp32":
        message = f"'--kernels fast' computes in fp32, and '--precision {precision}' is asked for."
        raise UsageError(Diagnostic("E051", message, help="leave one of them out."))


def _wants_fast(choices: PlanChoices, network: Network, chosen: Options) -> bool:
    """Whether fast kernels are to run, if this machine has them.

    Other machines than the one at hand have kernels of their own.
    """
    elsewhere = not is_here(chosen.cluster, "cpu")
    if elsewhere or choices.kernels == "reference" or chosen.precision != "fp32":
        return False
    return choices.kernels == "fast" or not _is_small(network, chosen.batch)


def _is_small(network: Network, batch: int) -> bool:
    """Whether a step is so short that compiling fast kernels for it, once, is not worth it."""
    facts = layer_facts(network, build_graph(network, batch=1))
    return batch * sum(f.multiply_adds for f in facts) < SMALL_STEP
