"""Processes that start each other: they agree, and stop when one of them dies."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import os, sys, time
from netc_runtime.launch.local import LocalRanks

ranks = LocalRanks(3)
if sys.argv[1] == "fail" and ranks.rank == 1:
    sys.exit(5)
values = ranks.allgather(ranks.rank * 10)
assert ranks.any(ranks.rank == 2) and not ranks.any(False)
if sys.argv[1] == "die" and ranks.rank == 1:
    os.kill(os.getpid(), 9)
if sys.argv[1] == "die":
    time.sleep(60)
os.write(1, f"{ranks.rank} {values}{os.linesep}".encode())
ranks.close()
"""


def started(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    script = folder / "ranks.py"
    script.write_text(SCRIPT)
    return subprocess.run(
        [sys.executable, str(script), how], capture_output=True, text=True, timeout=50, check=False
    )


def test_processes_gather_in_rank_order(tmp_path: Path) -> None:
    done = started(tmp_path, "live")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"{rank} [0, 10, 20]" for rank in range(3)]


def test_all_stop_within_seconds_when_one_is_killed(tmp_path: Path) -> None:
    began = time.perf_counter()
    done = started(tmp_path, "die")
    assert done.returncode == 6
    assert "error[E070]: the process of device 1 ended (signal 9)" in done.stderr
    assert time.perf_counter() - began < 20


def test_a_process_that_leaves_early_is_named(tmp_path: Path) -> None:
    done = started(tmp_path, "fail")
    assert done.returncode == 6
    assert "the process of device 1 ended (exit code 5)" in done.stderr
    assert "Traceback" not in done.stderr
