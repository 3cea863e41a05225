"""Kernels for NVIDIA GPUs: hand-written CUDA sources, launched through CuPy.

Every kernel agrees with `netc_kernels.reference` within the tolerances of its tests. The package
imports without CuPy; `available` says what is missing.
"""

from __future__ import annotations

from functools import cache


@cache
def available() -> str:
    """Why these kernels cannot run here; empty where they can."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed"
    try:
        devices = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"the CUDA driver does not answer ({error})"
    return "" if devices else "no GPU is visible"
