"""Versions, devices, and what is missing with the way to get it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata

from netc import __version__
from netc.api.calls import checked_call, checked_calls
from netc.api.figures import html_table, table, terminal_columns
from netc.export.graphviz import SYSTEM
from netc.numbers import memory_text

_HEADER = ("what", "found", "remark")


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


@checked_calls
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Diagnosis:
    """What is here and what is missing, with the way to get it; a table of that."""

    findings: tuple[Finding, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """What netc needs and is not here."""
        return tuple(each.name for each in self.findings if each.needed and not each.found)

    @property
    def footing(self) -> str:
        """What is missing, in a line."""
        if self.missing:
            return f"missing: {', '.join(self.missing)}"
        return "everything that netc needs is here"

    def cells(self) -> list[tuple[str, ...]]:
        """The table's rows, as text."""
        return [(f.name, f.found or "missing", "" if f.found else f.remedy) for f in self.findings]

    def table(self, columns: int | None = None) -> str:
        """A row a finding, as wide as so many columns."""
        return table(_HEADER, self.cells(), 3, columns=columns)

    def __repr__(self) -> str:
        """All of it, as wide as the terminal."""
        return f"{self.table(terminal_columns())}\n\n{self.footing}"

    def _repr_html_(self) -> str:
        return html_table("", _HEADER, self.cells(), 3, [self.footing])


@checked_call
def doctor() -> Diagnosis:
    """Look at everything that netc uses here: versions, devices, and what is missing."""
    return Diagnosis(tuple(_look()))


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
