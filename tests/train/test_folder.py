"""A folder belongs to one training: nothing of another is removed, replaced or mixed with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc_runtime.io import checkpoint_name, latest, load
from netc_runtime.train.folder import Folder

Complains = Callable[..., Any]
STATE = {"w": np.zeros(3, np.float32)}


def trained(path: Path, *steps: int, **how: Any) -> None:
    """Open a folder, and save after these steps."""
    with Folder(path, **how) as folder, folder.begin(min(steps) - 1) as metrics:
        for step in steps:
            metrics.write(step, loss=1.0)
            folder.save(step, STATE, {})


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir() if file.name != ".lock")


def files(*steps: int) -> list[str]:
    return ["metrics.jsonl", *map(checkpoint_name, steps)]


def test_the_newest_three_are_kept(tmp_path: Path) -> None:
    trained(tmp_path / "new", 1, 2, 3, 4, 5)
    assert names(tmp_path / "new") == files(3, 4, 5)


def test_as_many_are_kept_as_told_and_the_best(tmp_path: Path) -> None:
    with Folder(tmp_path, keep=1) as folder, folder.begin(0):
        for step in (1, 2, 3):
            path = folder.save(step, {"w": np.full(2, step, np.float32)}, {})
            if step < 3:
                folder.keep_as_best(path)
    assert names(tmp_path) == ["best.safetensors", *files(3)]
    assert load(tmp_path / "best.safetensors")[0]["w"].tolist() == [2, 2]
    assert latest(tmp_path) == tmp_path / checkpoint_name(3)


def test_the_best_goes_with_its_training(tmp_path: Path, complains: Complains) -> None:
    with Folder(tmp_path) as folder, folder.begin(0):
        folder.keep_as_best(folder.save(1, STATE, {}))
    (tmp_path / checkpoint_name(1)).unlink()
    with complains("E083", "has a training already ('best.safetensors')"):
        Folder(tmp_path)
    trained(tmp_path, 4, replace=True)
    assert names(tmp_path) == files(4)


def test_another_training_is_refused_or_replaced(tmp_path: Path, complains: Complains) -> None:
    trained(tmp_path, 8, 9)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with complains("E083", "has a training already", "--resume", "--out", "--replace"):
        trained(tmp_path, 1)
    assert names(tmp_path) == files(8, 9) and (tmp_path / "metrics.jsonl").read_bytes() == before
    trained(tmp_path, 1, 2, replace=True)
    assert names(tmp_path) == files(1, 2) and latest(tmp_path) == tmp_path / checkpoint_name(2)


def test_metrics_alone_are_a_training_too(tmp_path: Path, complains: Complains) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    with complains("E083", "has a training already"):
        Folder(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    Folder(tmp_path).close()


def test_nothing_is_removed_before_the_training_begins(tmp_path: Path) -> None:
    trained(tmp_path, 8)
    Folder(tmp_path, replace=True).close()
    assert names(tmp_path) == files(8)


def test_going_on(tmp_path: Path) -> None:
    trained(tmp_path, 1, 2, 3)
    (tmp_path / "best.safetensors").write_bytes(b"mine")
    (tmp_path / "step-3.safetensors.tmp").write_bytes(b"mine")
    (tmp_path / "step-00000004.safetensors.tmp").write_bytes(b"left by a crash")
    trained(tmp_path, 4, 5, resumed=tmp_path / checkpoint_name(3))
    kept = [*files(3, 4, 5), "best.safetensors", "step-3.safetensors.tmp"]
    assert names(tmp_path) == sorted(kept)
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 5


def test_later_checkpoints_are_in_the_way(tmp_path: Path, complains: Complains) -> None:
    trained(tmp_path, 1, 2, 3)
    with complains("E083", "later checkpoints than 'step-00000001.safetensors'", "--replace"):
        Folder(tmp_path, tmp_path / checkpoint_name(1))
    trained(tmp_path, 2, resumed=tmp_path / checkpoint_name(1), replace=True)
    assert names(tmp_path) == files(1, 2)


def test_going_on_elsewhere(tmp_path: Path, complains: Complains) -> None:
    trained(tmp_path / "a", 1, 2)
    trained(tmp_path / "b", 7)
    with complains("E083", "has a training already"):
        Folder(tmp_path / "b", tmp_path / "a" / checkpoint_name(2))
    trained(tmp_path / "c", 3, resumed=tmp_path / "a" / checkpoint_name(2))
    assert names(tmp_path / "a") == files(1, 2) and names(tmp_path / "c") == files(3)


@pytest.mark.skipif(os.name != "posix", reason="locks are POSIX's")
def test_one_run_at_a_time(tmp_path: Path, complains: Complains) -> None:
    holding = (
        "import sys, pathlib, time; from netc_runtime.train.folder import Folder; "
        "held = Folder(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", holding, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with complains("E083", f"another run, process {other.pid}, is writing into"):
            Folder(tmp_path)
        other.kill()
    Folder(tmp_path).close()


@pytest.mark.parametrize("name", [".lock", "metrics.jsonl"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_not_waited_for(
    tmp_path: Path, complains: Complains, name: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / name)
    with complains("E069", f"'{tmp_path}/{name}' is no regular file.", "'--out'"):
        Folder(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path, complains: Complains) -> None:
    (tmp_path / "a").write_text("mine")
    with complains("E069", f"'{tmp_path}/a' is a file, not a folder."):
        Folder(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"
