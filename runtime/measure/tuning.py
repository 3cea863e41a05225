"""What kernels take on this machine: measured on demand, kept in a file, read by the compiler."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from netc.ir.codec import dumps, loads
from netc.ir.kernels import KernelCall
from netc.ir.step import Attributes, Step
from netc_kernels.cpu.threads import Pool
from netc_runtime.cpu.bind import bind
from netc_runtime.cpu.kernels import CpuKernels
from netc_runtime.io.problems import unwritable
from netc_runtime.io.tables import NO_TABLE, keep, kept, table_path
from netc_runtime.measure.machine import processor

Times = dict[KernelCall, dict[str, float]]
"""Seconds by call and variant."""

REPEATS, LEAST_SECONDS = 3, 0.3
"""Every kernel runs at least so often, and on average as long as that."""


def machine(threads: int) -> str:
    """What times depend on besides the call: processor, threads, who makes the kernels."""
    made = f"numba {version('numba')}, numpy {version('numpy')}"
    return f"{processor()}, {threads} threads, {made}"


def load_times(threads: int) -> Times:
    """The times measured on this machine with so many threads; none where nothing was.

    What cannot be read, and what is no measurement, counts for nothing.
    """
    times: Times = {}
    for text, found in kept(table_path(), machine(threads)).items():
        with suppress(*NO_TABLE):
            call = loads(text)
            if isinstance(call, KernelCall):
                times[call] = _seconds(found)
    return times


def _seconds(times: Mapping[str, Any]) -> dict[str, float]:
    found = {str(variant): float(seconds) for variant, seconds in times.items()}
    if not all(0 < seconds < math.inf for seconds in found.values()):
        raise ValueError("seconds are positive")
    return found


def save_times(threads: int, times: Mapping[KernelCall, Mapping[str, float]]) -> Path:
    """Add times to the table; the file is replaced whole. Raises DataError (E069)."""
    path = table_path()
    try:
        keep(path, machine(threads), {dumps(c): dict(sorted(t.items())) for c, t in times.items()})
    except OSError as problem:
        raise unwritable(path, problem) from None
    return path


def measure(
    calls: Iterable[KernelCall], threads: int
) -> Iterator[tuple[KernelCall, dict[str, float]]]:
    """The seconds of every variant of each call, one call after the other.

    Data is random and in memory that was used before. Variants take turns, so that what else the
    machine does meets all of them; the shortest of several runs counts.
    """
    kernels = CpuKernels(threads)
    # kernels call BLAS from each of their threads, as they do in a run
    with threadpool_limits(1, "blas"), Pool(threads) as pool:
        for call in calls:
            out, inputs = _arrays(call)
            runs = {v: _bound(kernels, call, v, out, inputs, pool) for v in kernels.variants(call)}
            yield call, _shortest(runs)


def _arrays(call: KernelCall) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """A result and operands, images with the channels innermost."""
    rng = np.random.default_rng(0)
    filters = {"conv": 1, "conv_dx": 1, "conv_dw": len(call.operands)}.get(call.kernel)
    made = []
    for place, (n, *rest) in enumerate((*call.operands, call.result)):
        is_image = len(rest) == 3 and place != filters
        stored = (n, *rest[1:], rest[0]) if is_image else (n, *rest)
        array = rng.standard_normal(stored, dtype=np.float32)
        made.append(array.transpose(0, 3, 1, 2) if is_image else array)
    return made[-1], made[:-1]


def _bound(
    kernels: CpuKernels, call: KernelCall, variant: str, out: Any, inputs: Any, pool: Pool
) -> Callable[[], None]:
    work = np.zeros(kernels.workspace_bytes(call, variant) // 4 + 16, np.float32)
    work = work[-work.ctypes.data % 64 // 4 :]
    step = Step(call.kernel, call.args, Attributes(call.attributes), call.result, variant)
    return bind([step], "", [out, work], inputs, pool)


def _shortest(runs: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    for run in runs.values():
        run()
    times = dict.fromkeys(runs, float("inf"))
    rounds, end = 0, time.perf_counter() + LEAST_SECONDS * len(runs)
    while rounds < REPEATS or time.perf_counter() < end:
        rounds += 1
        for variant, run in runs.items():
            began = time.perf_counter()
            run()
            times[variant] = min(times[variant], time.perf_counter() - began)
    return times
