"""How many cores a process may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netc_runtime import cores as place
from netc_runtime.cores import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are not bound here")
def test_those_that_a_process_is_bound_to() -> None:
    """Whatever the machine has: threads on cores of others would wait for each other."""
    one = min(os.sched_getaffinity(0))
    script = f"import os; os.sched_setaffinity(0, {{{one}}}); " + (
        "from netc_runtime.cores import cores; print(cores())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("limit", "share"),
    [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 2),
     ("nothing of the kind", None), ("1 0", None), ("", None)],
)  # fmt: skip
def test_a_containers_share_of_time(
    limit: str, share: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    monkeypatch.setattr(place, "QUOTA", file)
    unlimited = cores()
    file.write_text(limit)
    assert cores() == (unlimited if share is None else min(share, unlimited))
    assert cores() >= 1
