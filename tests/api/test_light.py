"""`import netc` is light, and offers what it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages

import pytest

import netc
import netc_kernels
import netc_runtime

HEAVY = ("argparse", "lark", "networkx", "netc_runtime", "netc_kernels", "numba", "numpy", "rich")


def loaded_by(code: str) -> set[str]:
    """The top packages that a fresh process has after some code."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light() -> None:
    assert not loaded_by("import netc; netc.__version__; dir(netc)") & set(HEAVY)


def test_errors_are_light() -> None:
    assert not loaded_by("import netc; netc.NetError") & set(HEAVY)


def test_loading_needs_nothing_that_runs() -> None:
    loaded = loaded_by("import netc; netc.load('vgg16')")
    assert "lark" in loaded
    assert not loaded & {"numpy", "numba", "netc_runtime", "netc_kernels", "argparse"}


def test_nothing_else_is_shown() -> None:
    assert set(dir(netc)) == {*netc.__all__, "__version__"}


def test_every_error_is_offered() -> None:
    for package in (netc_runtime, netc_kernels, netc):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                with suppress(ImportError):  # of what is not installed, such as mpi4py
                    import_module(module.name)
    found = (each for each in kinds(netc.NetError) if "netc.cli" not in each.__module__)
    assert {each.__name__ for each in found} <= set(netc.__all__)


def kinds(error: type[netc.NetError]) -> Iterator[type[netc.NetError]]:
    yield error
    for each in error.__subclasses__():
        yield from kinds(each)


@pytest.mark.parametrize("name", netc.__all__)
def test_what_is_offered_is_there(name: str) -> None:
    assert getattr(netc, name).__name__ == name
    assert getattr(netc, name).__doc__
    assert name in dir(netc)


def test_nothing_else_is_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = netc.lod
