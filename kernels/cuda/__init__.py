"""Kernels for NVIDIA GPUs: hand-written CUDA sources, launched through CuPy.

Every kernel agrees with `netc_kernels.reference` within the tolerances of its tests. The package
imports without CuPy; `available` says what is missing.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def found() -> tuple[int, str]:
    """How many GPUs this process could use, and why there is none; empty where there is one."""
    _make_cache()
    try:
        import cupy
    except ImportError:
        return 0, "CuPy is not installed"
    try:
        devices = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        # A broken driver shows in many ways; none of them leaves a GPU to run on.
        return 0, f"the CUDA driver does not answer ({error})"
    return devices, "" if devices else "no GPU is visible"


def available() -> str:
    """Why these kernels cannot run here; empty where they can."""
    return found()[1]


def keep_nothing() -> None:
    """Have CuPy keep compiled kernels in memory alone: a folder that takes none stops it."""
    os.environ.update(CUPY_CACHE_DIR=os.sep, CUPY_CACHE_IN_MEMORY="1")


def _make_cache() -> None:
    """Make the folder without which CuPy cannot be imported."""
    if "cupy" in sys.modules or find_spec("cupy") is None:
        return
    folder = os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache"
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        keep_nothing()
