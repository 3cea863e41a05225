"""Kernels are compiled before they are called, by several processes or by one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc_kernels.cpu import ahead, elementwise
from netc_kernels.cpu.ranges import share_out
from netc_kernels.cpu.vector import NAMED, kernel, name_of, piece

ONES = np.ones(8, np.float32)


def listed(threads: int = 2) -> ahead.NotingPool:
    """What a relu and a sum want."""
    pool = ahead.NotingPool(threads)
    out = np.zeros(8, np.float32)
    elementwise.relu(out, ONES, pool)
    elementwise.add(out, ONES, ONES, pool=pool)
    assert not out.any()
    return pool


def test_a_noting_pool_notes_kernels_and_runs_nothing() -> None:
    names = [name for name, _ in listed().wanted]
    for wanted in (elementwise.relu_part, elementwise.sum_part):
        assert names.count(name_of(wanted)) == 1
    assert names.count(name_of(share_out)) == 2
    assert len(listed(threads=1).wanted) == len(names) - 1, "nobody waits for work"


def test_names_tell_what_is_compiled_apart() -> None:
    def twice(x: int) -> int:
        return 2 * x

    made = [kernel(twice), piece(elementwise.relu_part.py_func)]  # type: ignore[attr-defined]
    assert NAMED[name_of(made[0])] is made[0]
    assert name_of(elementwise.relu_part) != name_of(elementwise.slope_part)
    kinds = {name: NAMED[name] for name in NAMED}
    assert all(name_of(each) == name for name, each in kinds.items())


WORK = """
import sys
import numpy as np
import test_ahead
from netc_kernels.cpu import ahead, elementwise
from netc_kernels.cpu.ranges import run_kernel, serve, share, share_out
from netc_kernels.cpu.threads import Pool
{setting}
wanted, told = [*test_ahead.listed().wanted], []
ahead.compile_all(wanted, {processes}, lambda *each: told.append(each))
assert told[-1] == ({done}, len(wanted)), told
kernels = share, share_out, serve, elementwise.relu_part, elementwise.sum_part
compiled = sum(each.stats.cache_misses.total() for each in kernels)
assert compiled {here}, compiled
out = np.zeros(1 << 18, np.float32)
with Pool(2) as pool:
    elementwise.relu(out, -np.ones_like(out), pool)
    elementwise.add(out, out, np.ones_like(out), pool=pool)
assert (out == 1).all()
assert compiled == sum(each.stats.cache_misses.total() for each in kernels)
told.clear()
ahead.compile_all(wanted, {processes}, lambda *each: told.append(each))
assert told == [], "all are here"
"""


def run(
    folder: Path, processes: int, here: str, done: str = "len(wanted)", setting: str = ""
) -> None:
    """Compile in a fresh process with a fresh cache; `here` says how many that one compiles."""
    beside = os.pathsep.join((str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")))
    env = os.environ | {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": beside}
    code = WORK.format(processes=processes, here=here, done=done, setting=setting)
    made = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


def test_one_process_compiles_all(tmp_path: Path) -> None:
    run(tmp_path, 1, "== len(wanted)")


def test_a_helper_takes_part(tmp_path: Path) -> None:
    # this process waits until the helper has taken all
    idle = """
import time
compile_ = ahead._compile
def last(*each):
    end = time.monotonic() + 120
    while not waited.is_set() and time.monotonic() < end:
        time.sleep(0.01)
    return compile_(*each)
import threading
waited = threading.Event()
ask = ahead._ask
def asked(todo, done):
    ask(todo, done)
    waited.set()
ahead._compile, ahead._ask = last, asked
"""
    run(tmp_path, 2, "== 1", setting=idle)


@pytest.mark.parametrize(
    "setting",
    ["sys.executable = '/no/such/python'", "ahead.COMMAND = 'raise SystemExit'",
     "ahead.any_place = lambda: False"],
)  # fmt: skip
def test_without_helpers_this_process_compiles_all(tmp_path: Path, setting: str) -> None:
    run(tmp_path, 3, "== len(wanted)", setting=setting)


def test_a_helper_that_dies_gives_back_what_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = "import sys; sys.stdout.write('.'); sys.stdout.flush(); sys.stdin.buffer.read(1)"
    monkeypatch.setattr(ahead, "COMMAND", code)
    todo: deque[Any] = deque([("first", ()), ("second", ())])
    done: list[Any] = []
    ahead._ask(todo, done)
    assert list(todo) == [("first", ()), ("second", ())] and not done
