"""Compiled kernels on disk: each signature has its own code, whatever others do to the folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llvmlite.binding import Linkage
from numba.core import config

from netc_kernels import files
from netc_kernels.cpu import kept
from netc_kernels.cpu.vector import entry, kernel, piece

INT, FLOAT = np.zeros(3, np.int64), np.zeros(3, np.float32)


def size_of(out: Any) -> int:
    """Bytes of an element, by its type: the code differs with the signature."""
    return int(out.itemsize)


def make(factor: int) -> Any:
    """A kernel that differs from others by what it has of this function."""

    def scaled(x: int) -> int:
        return x * factor

    return entry(scaled)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / kept.VERSION


def fresh() -> Any:
    """The kernel as another process has it."""
    return entry(size_of)


def compiled(*arrays: Any) -> int:
    """Call with each of the arrays, as another process does, and tell how many were compiled."""
    here = fresh()
    for array in arrays:
        assert here(array) == array.itemsize
    return int(here.stats.cache_misses.total())


def kernels(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.kernel"))


def test_each_signature_is_compiled_once(folder: Path) -> None:
    assert compiled(INT, FLOAT) == 2
    assert len(kernels(folder)) == 2
    assert compiled(INT, FLOAT) == compiled(FLOAT) == 0


def _truncate(one: Path, other: Path) -> None:
    one.write_bytes(one.read_bytes()[:-7])


def _shorten(one: Path, other: Path) -> None:
    one.write_bytes(one.read_bytes()[:9])


def _empty(one: Path, other: Path) -> None:
    one.write_bytes(b"")


def _garble(one: Path, other: Path) -> None:
    content = bytearray(one.read_bytes())
    content[len(content) // 2] ^= 1
    one.write_bytes(content)


def _swap(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def _remove(one: Path, other: Path) -> None:
    one.unlink()


@pytest.mark.parametrize(
    ("damage", "lost"),
    [(_truncate, 1), (_shorten, 1), (_empty, 1), (_garble, 1), (_remove, 1), (_swap, 2)],
)
def test_what_is_not_right_is_compiled_anew(
    folder: Path, damage: Callable[[Path, Path], None], lost: int
) -> None:
    compiled(INT, FLOAT)
    damage(*kernels(folder))
    assert compiled(INT, FLOAT) == lost
    assert compiled(INT, FLOAT) == 0


def test_another_version_s_kernel_does_not_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as other:
        other.setattr(kept, "VERSION", f"{kept._NAME}other")
        # its sources are those that it read
        other.setattr(kept, "_version", lambda: kept.VERSION)
        compiled(INT)
        (made,) = kernels(folder.with_name(kept.VERSION))
    assert compiled(INT) == 1
    (mine,) = kernels(folder)
    mine.write_bytes(made.read_bytes())
    assert compiled(INT) == 1


def test_after_a_change_of_sources_nothing_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_version", lambda: "what is on disk now")
    assert compiled(INT) == 1
    assert not folder.exists()


def test_a_change_of_any_source_is_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vector", "product"):
        (tmp_path / f"{name}.py").write_text("WIDE = True\n")
    monkeypatch.setattr(kept, "PACKAGE", tmp_path)
    found = {kept._version(), kept._version()}
    for name in ("vector", "product"):
        (tmp_path / f"{name}.py").write_text("WIDE = False\n")
        found.add(kept._version())
    assert len(found) == 3


def test_kernels_made_by_a_function_are_told_apart(folder: Path) -> None:
    for _ in range(2):
        assert [make(factor)(5) for factor in (2, 3)] == [10, 15]
    assert len(kernels(folder)) == 2
    again = make(3)
    assert again(5) == 15 and again.stats.cache_misses.total() == 0


def doubled(x: int) -> int:
    """A part of what is called."""
    return 2 * x


def calling() -> tuple[Any, Any]:
    """A piece and what calls it, as another process has them."""
    part = piece(doubled)

    def one_more(x: int) -> int:
        return int(part(x)) + 1

    return part, entry(one_more)


def test_a_piece_is_part_of_what_is_kept(folder: Path) -> None:
    _, whole = calling()
    assert whole(5) == 11
    (kept_whole,) = kernels(folder)
    assert kept_whole.name.startswith("one_more")
    part, whole = calling()
    assert whole(7) == 15
    assert not part.overloads and whole.stats.cache_misses.total() == 0


def test_functions_that_differ_by_what_is_around_them_have_names_of_their_own() -> None:
    names = [make(factor).py_func.__qualname__ for factor in (2, 3, 3)]
    assert names[0] != names[1] == names[2]


def test_nothing_of_a_kernel_stands_for_anything_of_another(folder: Path) -> None:
    """Functions that are too long to go into their callers stay in its machine code: there they
    are its own, since those of one name in kernels of two processes need not be the same.
    """
    lines = [f"    x = (x * {n} + {n + 1}) ^ (x >> {n % 7 + 1})" for n in range(3, 203)]
    text = "\n".join(["def long(x):", *lines, "    return x"])
    made: dict[str, Any] = {}
    exec(compile(text, __file__, "exec"), made)
    part = piece(made["long"])

    def twice(x: int) -> int:
        return int(part(x)) + int(part(x + 1)) + int(part(x - 5))

    whole: Any = entry(twice)
    whole(3)
    (found,) = whole.overloads.values()
    functions = [f for f in found.library._final_module.functions if not f.is_declaration]
    assert {f.linkage for f in functions} == {Linkage.external, Linkage.internal}


def test_python_cannot_call_what_kernels_and_pools_call(folder: Path) -> None:
    for made in (kernel(size_of), piece(size_of), calling()[0]):
        for _ in range(2):
            with pytest.raises(TypeError, match="by kernels or pools alone"):
                made(INT)
    part, whole = calling()
    assert whole(5) == 11
    with pytest.raises(TypeError, match="by kernels or pools alone"):
        part(5)


def test_what_cannot_be_told_is_not_kept(folder: Path) -> None:
    table: Any = np.arange(4)
    with_table = make(table)
    assert (with_table(2) == 2 * table).all()
    assert not folder.exists()


def _full(path: Path, content: bytes) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.mark.parametrize("place", ["a file", "a full disk"])
def test_without_a_place_kernels_are_compiled(
    place: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place == "a file":
        folder.parent.write_text("no folder")
    else:
        monkeypatch.setattr("netc_kernels.files.write_whole", _full)
    assert compiled(INT) == compiled(INT) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of resources")
@pytest.mark.parametrize("limit", [0, 1000])
def test_a_file_that_cannot_grow_is_not_left(limit: int, folder: Path) -> None:
    code = f"""
import resource, signal
from test_kept import INT, compiled
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
assert compiled(INT) == 1
"""
    run(folder, code)
    assert not list(folder.glob("*"))
    assert compiled(INT) == 1 and compiled(INT) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="permissions differ")
def test_kernels_are_read_from_a_folder_that_is_not_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(INT)
    before = kernels(folder)
    # a superuser may write anywhere
    monkeypatch.setattr("netc_kernels.files.write_whole", _full)
    folder.chmod(0o500)
    try:
        assert compiled(INT, FLOAT) == 1
    finally:
        folder.chmod(0o700)
    assert kernels(folder) == before


def test_the_folders_used_last_stay(folder: Path) -> None:
    for age in range(2 * kept.FOLDERS):
        old = folder.with_name(f"{kept._NAME}{age:02}")
        old.mkdir(parents=True)
        (old / "f.kernel").write_bytes(b"")
        os.utime(old, (1e9 - age, 1e9 - age))
    (folder.parent / "somebody's").mkdir()
    compiled(INT)
    left = {path.name for path in folder.parent.iterdir()}
    assert left == {kept.VERSION, "somebody's"} | {
        f"{kept._NAME}{age:02}" for age in range(kept.FOLDERS - 1)
    }


def test_files_appear_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "file"
    files.write_whole(path, b"first")
    monkeypatch.setattr(Path, "replace", lambda path, target: _full(target, b""))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        files.write_whole(path, b"second")
    assert path.read_bytes() == b"first" and list(path.parent.iterdir()) == [path]


def run(folder: Path, *codes: str) -> None:
    """Run programs at once that use a folder; all must end well."""
    here = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    env = os.environ | {"NUMBA_CACHE_DIR": str(folder.parent), "PYTHONPATH": here}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, text=True)
        for code in codes
    ]
    for each in started:
        _, error = each.communicate(timeout=300)
        assert each.returncode == 0, error


TOGETHER = """
import pathlib, time
import test_kept
from netc_kernels.cpu import kept
# nobody writes before all have looked and compiled
def keep(*arguments, keep=kept._keep):
    mine = pathlib.Path({folder!r}, "ready-{me}")
    mine.touch()
    while len(list(mine.parent.glob("ready-*"))) < {count}:
        time.sleep(0.01)
    keep(*arguments)
kept._keep = keep
assert test_kept.compiled(test_kept.{array}) == 1
"""


def test_processes_that_compile_at_once_keep_each_its_own(folder: Path, tmp_path: Path) -> None:
    arrays = ("INT", "FLOAT", "INT", "FLOAT")
    codes = [
        TOGETHER.format(folder=str(tmp_path), me=me, count=len(arrays), array=array)
        for me, array in enumerate(arrays)
    ]
    run(folder, *codes)
    assert len(kernels(folder)) == 2
    run(folder, "from test_kept import *; assert compiled(INT, FLOAT) == 0")
