"""The machine at hand: what it is called, and what it holds."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from netc_kernels import cuda
from netc_runtime.cores import cores
from netc_runtime.io.tables import table_path


def processor() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def has_target(target: str) -> bool:
    """Whether devices of a backend are here."""
    return target != "cuda" or not cuda.available()


def machine_name(target: str) -> str:
    """What measurements for a backend hold for: the first GPU, or the processor with its cores."""
    if target != "cuda":
        return f"{processor()}, {cores()} cores"
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())


def memory_bytes(target: str) -> int:
    """Memory of the first GPU, or of the whole machine."""
    if target != "cuda":
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import cupy

    return int(cupy.cuda.runtime.getDeviceProperties(0)["totalGlobalMem"])


def own_cluster(target: str) -> Path:
    """Where `netc calibrate` keeps this machine's cluster file for a backend."""
    words = re.sub(r"[^a-z0-9]+", "-", machine_name(target).lower()).strip("-")
    return table_path().with_name("machines") / f"{words}.toml"
