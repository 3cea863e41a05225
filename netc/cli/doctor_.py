"""`netc doctor`: versions, devices, and what is missing with the way to get it."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

from netc import __version__
from netc.cli.output import json_line, say, table
from netc.export.graphviz import SYSTEM
from netc.numbers import memory_text


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    found: str
    """Version or description; empty where it is missing."""
    remedy: str = ""
    """How to get it, or what is done without it."""
    needed: bool = True


REQUIRED = ("numpy", "lark", "networkx", "safetensors", "pillow", "rich", "pygraphviz",
            "shtab", "threadpoolctl")  # fmt: skip
OPTIONAL = {
    "numba": "without it NumPy's kernels run, several times slower: pip install numba",
    "mpi4py": "only for processes in place of threads: pip install 'netc[mpi]'",
    "onnx": "only for ONNX files: pip install 'netc[onnx]'",
    "tensorboardX": "only for 'netc report --tensorboard': pip install 'netc[tensorboard]'",
}


def run(options: argparse.Namespace) -> int:
    """Look at everything; exit 1 where something that netc needs is missing."""
    findings = list(_look())
    missing = [f for f in findings if f.needed and not f.found]
    if options.json:
        for f in findings:
            json_line(event="finding", name=f.name, found=f.found, remedy=f.remedy, needed=f.needed)
        json_line(event="result", ok=not missing, missing=[f.name for f in missing])
    else:
        rows = ((f.name, f.found or "missing", "" if f.found else f.remedy) for f in findings)
        print(table(("what", "found", "remark"), rows, left=3))
        say("\neverything that netc needs is here" if not missing else
              f"\nmissing: {', '.join(f.name for f in missing)}")  # fmt: skip
    return 1 if missing else 0


def _look() -> Iterator[Finding]:
    yield Finding("netc", __version__)
    yield Finding("python", f"{platform.python_version()} on {platform.machine()}")
    yield Finding("cores", f"{_guard(_cores)}, {_guard(_memory)} of memory free")
    for name in REQUIRED:
        yield Finding(name, _version(name), "pip install --force-reinstall netc")
    yield Finding("blas", _guard(_blas), "comes with numpy")
    yield Finding("graphviz", _guard(_graphviz), SYSTEM)
    for name, remark in OPTIONAL.items():
        yield Finding(name, _version(name), remark, needed=False)
    for name, look, remedy in GPU_PARTS:
        yield Finding(name, _guard(look), remedy, needed=False)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _guard(look: Callable[[], str]) -> str:
    """What a look found; a library that does not even load is missing."""
    try:
        return look()
    except Exception:
        return ""


def _memory() -> str:
    from netc_runtime.memory import available_bytes

    return memory_text(available_bytes())


def _cores() -> str:
    from netc_runtime.cores import cores

    return str(cores())


def _blas() -> str:
    import numpy  # noqa: F401  (its BLAS is what is looked at)
    from threadpoolctl import threadpool_info

    kinds = (
        f"{i['internal_api']} {i.get('version')} ({i.get('architecture')}), "
        f"{i['num_threads']} threads"
        for i in threadpool_info()
        if i["user_api"] == "blas"
    )
    forced = os.environ.get("OPENBLAS_CORETYPE")
    return "; ".join(kinds) + (f"; OPENBLAS_CORETYPE={forced} slows it down" if forced else "")


def _graphviz() -> str:
    import pygraphviz

    # Without text: bundled Graphviz complains on stderr about fonts that it has no need of.
    pygraphviz.AGraph('graph { node [label=""]; a }').layout("dot")
    return f"lays out graphs (pygraphviz {_version('pygraphviz')})"


def _gpus() -> str:
    from netc_kernels import cuda

    found, _ = cuda.found()
    return f"{found} visible" if found else ""


def _cupy() -> str:
    import cupy

    return f"{cupy.__version__}, CUDA {cupy.cuda.runtime.runtimeGetVersion()}"


def _nccl() -> str:
    from cupy.cuda import nccl

    return str(nccl.get_version())


def _cudnn() -> str:
    from netc_kernels.cuda.conv import vendor

    return "" if vendor.missing() else vendor.version()


_INSTALL = "pip install 'netc[cuda13]', or cuda12 for older drivers"
GPU_PARTS: tuple[tuple[str, Callable[[], str], str], ...] = (
    ("cupy", _cupy, f"only for GPUs: {_INSTALL}"),
    ("gpus", _gpus, "without one the CPU runs"),
    ("nccl", _nccl, f"only for several GPUs: {_INSTALL}"),
    ("cudnn", _cudnn, f"without it hand-written kernels run alone: {_INSTALL}"),
)
"""What the cuda backend uses."""
