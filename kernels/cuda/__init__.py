"""Kernels for NVIDIA GPUs: hand-written CUDA sources, launched through CuPy.

Every kernel agrees with `netc_kernels.reference` within the tolerances of its tests. The package
imports without CuPy; `available` says what is missing.
"""

from __future__ import annotations

from functools import cache


@cache
def found() -> tuple[int, str]:
    """How many GPUs this process could use, and why there is none; empty where there is one."""
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
