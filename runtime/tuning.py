"""What kernels take on this machine: measured on demand, kept in a file, read by the compiler."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from netc.ir.codec import dumps, loads
from netc.ir.kernels import Call
from netc_kernels.cpu.threads import Pool
from netc_runtime.bind import bind
from netc_runtime.io.problems import data_error, unreadable, unwritable
from netc_runtime.kernels import CpuKernels

Times = dict[Call, dict[str, float]]
"""Seconds by call and variant."""

REPEATS, LEAST_SECONDS = 3, 0.3
"""Every kernel runs at least so often, and on average as long as that."""
VERSION = 1


def table_path() -> Path:
    """Where measured times are kept: `$NETC_CACHE`, or the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("NETC_CACHE") or Path(home) / "netc") / "kernels.json"


def machine(threads: int) -> str:
    """What times depend on besides the call: processor, threads, who makes the kernels."""
    made = f"numba {version('numba')}, numpy {version('numpy')}"
    return f"{_processor()}, {threads} threads, {made}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def load_times(threads: int) -> Times:
    """The times measured on this machine with so many threads; none where nothing was.

    Raises DataError (E061, E076) where there is a file that cannot be read or is no such table.
    """
    path = table_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as problem:
        raise unreadable(path, problem) from None
    try:
        entries = _entries(text).get(machine(threads), {})
        return {loads(call): _seconds(times) for call, times in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        message = f"'{path}' is no table of kernels: {type(problem).__name__}."
        raise data_error("E076", message, "delete it; 'netc tune' makes it anew.") from None


def _entries(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if found["version"] != VERSION:
        return {}
    machines: dict[str, Any] = found["machines"]
    return machines


def _seconds(times: Mapping[str, Any]) -> dict[str, float]:
    return {str(variant): float(seconds) for variant, seconds in times.items()}


def save_times(threads: int, times: Mapping[Call, Mapping[str, float]]) -> Path:
    """Add times to the table; the file is replaced whole. Raises DataError (E069)."""
    path = table_path()
    try:
        keep(path, machine(threads), {dumps(c): dict(sorted(t.items())) for c, t in times.items()})
    except OSError as problem:
        raise unwritable(path, problem) from None
    return path


def kept(path: Path, of: str) -> dict[str, Any]:
    """What a table has of a machine; nothing where there is no such table."""
    return dict(_machines(path).get(of, {}))


def keep(path: Path, of: str, found: Mapping[str, Any]) -> None:
    """Add what was measured on a machine to a table; the file is replaced whole.

    Raises OSError where it cannot be written.
    """
    machines = _machines(path)
    machines[of] = {**machines.get(of, {}), **found}
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"version": VERSION, "machines": machines}, indent=1, sort_keys=True)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def _machines(path: Path) -> dict[str, Any]:
    try:
        return _entries(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def measure(calls: Iterable[Call], threads: int) -> Iterator[tuple[Call, dict[str, float]]]:
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


def _arrays(call: Call) -> tuple[NDArray[Any], list[NDArray[Any]]]:
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
    kernels: CpuKernels, call: Call, variant: str, out: Any, inputs: Any, pool: Pool
) -> Callable[[], None]:
    work = np.zeros(kernels.workspace_bytes(call, variant) // 4 + 16, np.float32)
    work = work[-work.ctypes.data % 64 // 4 :]
    return bind(f"{call.kernel}.{variant}", dict(call.attributes), [out, work], inputs, pool)


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
