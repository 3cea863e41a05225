"""CuPy keeps compiled kernels; where there is no place for them, they are compiled all the same."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from netc_kernels import cuda
from netc_kernels.cuda import source


class RawModule:
    """Of CuPy: compiles when it is asked for a kernel, and stops where it cannot keep that."""

    def __init__(self, code: str, options: tuple[str, ...]) -> None:
        self.code, self.options = code, options

    def get_function(self, name: str) -> str:
        if os.environ.get("CUPY_CACHE_IN_MEMORY") != "1":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return name


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("CUPY_CACHE_IN_MEMORY", "CUPY_CACHE_DIR"):
        # set and deleted, so that it is as before when the test has ended
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    made: Any = ModuleType("cupy")
    made.RawModule = RawModule
    monkeypatch.setitem(sys.modules, "cupy", made)
    return made


def test_on_a_full_disk_kernels_are_compiled(cupy: Any) -> None:
    source._module.cache_clear()
    source.function.cache_clear()
    assert source.function("mark.cu", "mark") == "mark"
    source._module.cache_clear()
    source.function.cache_clear()


def test_macros_are_in_the_source_and_options_alike(cupy: Any) -> None:
    first, second = (
        source._module("update.cu", (("BF16", bf16), ("LANES", 8)), "") for bf16 in (0, 1)
    )
    source._module.cache_clear()
    assert first.options == second.options
    text = (source.FOLDER / "update.cu").read_text()
    assert "#define BF16 1\n#define LANES 8\n#line 1\n" + text in second.code
    assert first.code == second.code.replace("BF16 1", "BF16 0")


@pytest.mark.parametrize("possible", [True, False])
def test_the_folder_is_made_before_cupy_wants_it(
    possible: bool, cupy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "cupy")
    monkeypatch.setattr(cuda, "find_spec", lambda name: name)
    place = tmp_path / "place"
    if not possible:
        place.write_text("no folder")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(place / "kernels"))
    cuda._make_cache()
    assert Path(os.environ["CUPY_CACHE_DIR"]).is_dir()
    assert (os.environ.get("CUPY_CACHE_IN_MEMORY") == "1") is not possible
