"""Tables of measurements: shared by processes, and worth no failure."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netc.errors import NetError
from netc.ir.codec import dumps
from netc.ir.kernels import KernelCall
from netc_runtime.io import tables
from netc_runtime.io.tables import keep, kept, table_path
from netc_runtime.measure.tuning import load_times, machine, save_times

CALL = KernelCall("fc", "f32", (), (0, 1), ((4, 8), (2, 8)), (4, 2))
OTHER = KernelCall("fc", "f32", (), (0, 1), ((4, 8), (3, 8)), (4, 3))
TIMES = {CALL: {"direct": 1.0, "blas": 2.0}}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    return table_path()


def test_what_is_kept_is_found(table: Path) -> None:
    assert load_times(2) == {}
    save_times(2, TIMES)
    save_times(2, {OTHER: {"direct": 3.0}})
    assert load_times(2) == {**TIMES, OTHER: {"direct": 3.0}}
    assert load_times(3) == {}


ADDS = """
import sys
from pathlib import Path
from netc_runtime.io.tables import keep
path, me = Path(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for i in range(20):
    keep(path, f"machine {int(me) % 2}", {f"{me} {i}": "plan"})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there, at worst, plans are made again")
def test_what_others_add_at_once_stays(table: Path) -> None:
    command = [sys.executable, "-c", ADDS, str(table)]
    started = [
        subprocess.Popen([*command, str(me)], stdin=subprocess.PIPE, text=True) for me in range(4)
    ]
    for each in started:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    assert [each.wait(120) for each in started] == [0] * 4
    for side in range(2):
        wanted = {f"{me} {i}" for me in (side, side + 2) for i in range(20)}
        assert set(kept(table, f"machine {side}")) == wanted
    assert not list(table.parent.glob("*.tmp"))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_who_holds_the_table_for_ever_is_not_waited_for(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PATIENCE_SECONDS", 0.05)
    table.parent.mkdir()
    with tables._alone(table):
        keep(table, "a machine", {"a": "b"})
    assert kept(table, "a machine") == {"a": "b"}


DAMAGED = [
    b"", b"[", b"{}", b"3", b"\xff\xfe", b"[" * 100_000, b'{"version": 1}',
    b'{"version": 1, "machines": 3}', b'{"version": 1, "machines": {"m": 3}}',
    b'{"version": 1, "machines": {"m": [1]}}', b'{"version": 99, "machines": {"m": {"a": "b"}}}',
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_table_is_made_again(table: Path, content: bytes) -> None:
    table.parent.mkdir()
    table.write_bytes(content)
    assert load_times(2) == {} and kept(table, "m") == {}
    save_times(2, TIMES)
    assert load_times(2) == TIMES


@pytest.mark.parametrize("at", range(0, 200, 10))
def test_any_cut_table_is_made_again(table: Path, at: int) -> None:
    save_times(2, TIMES)
    table.write_bytes(table.read_bytes()[:at])
    assert load_times(2) == {}
    save_times(2, TIMES)
    assert load_times(2) == TIMES


@pytest.mark.parametrize(
    ("call", "times"),
    [
        ("", {"direct": 1.0}),
        ('"text"', {"direct": 1.0}),
        (dumps(OTHER), 3),
        (dumps(OTHER), {"direct": "long"}),
        (dumps(OTHER), {"direct": None}),
        (dumps(OTHER), {"direct": -1.0}),
        (dumps(OTHER), {"direct": math.nan}),
        (dumps(OTHER), {"direct": math.inf}),
    ],
)
def test_an_entry_that_is_none_takes_no_other_with_it(table: Path, call: str, times: Any) -> None:
    save_times(2, TIMES)
    keep(table, machine(2), {call: times})
    assert load_times(2) == TIMES


def test_a_full_disk_leaves_what_there_was(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_times(2, TIMES)

    def full(path: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(NetError, match="E069"):
        save_times(2, {OTHER: {"direct": 3.0}})
    assert load_times(2) == TIMES
    assert not list(table.parent.glob("*.tmp"))


def test_the_table_is_text(table: Path) -> None:
    save_times(2, TIMES)
    assert json.loads(table.read_text())["machines"][machine(2)] == {dumps(CALL): TIMES[CALL]}
