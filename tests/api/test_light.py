"""`import netc` is light, and offers what it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import netc

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


@pytest.mark.parametrize("name", netc.__all__)
def test_what_is_offered_is_there(name: str) -> None:
    assert getattr(netc, name).__name__ == name
    assert getattr(netc, name).__doc__
    assert name in dir(netc)


def test_nothing_else_is_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = netc.lod
