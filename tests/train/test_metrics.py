"""metrics.jsonl: what is written, and what is dropped on resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc_runtime.train.metrics import Metrics


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_steps(path: Path, steps: range, resume_at: int | None = None) -> None:
    with Metrics(path, resume_at) as metrics:
        for step in steps:
            metrics.write(step, epoch=step // 10, loss=step / 4)


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    with Metrics(path) as metrics:
        metrics.write(0, epoch=0, loss=np.float32(0.5), images=np.int64(3), diverged=float("nan"))
        assert lines(path) == [{"step": 0, "epoch": 0, "loss": 0.5, "images": 3, "diverged": None}]


def test_a_new_run_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(5))
    write_steps(path, range(2))
    assert [line["step"] for line in lines(path)] == [0, 1]


@pytest.mark.parametrize("torn", ["", '{"step": 25, "lo'])
def test_resuming_equals_never_stopping(tmp_path: Path, torn: str) -> None:
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    write_steps(whole, range(30))
    write_steps(resumed, range(25))
    with open(resumed, "a") as file:
        file.write(torn)
    write_steps(resumed, range(20, 30), resume_at=20)
    assert resumed.read_bytes() == whole.read_bytes()


def test_resuming_past_a_torn_line_and_without_a_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(3, 5), resume_at=3)
    with open(path, "a") as file:
        file.write('{"step": 5')
    write_steps(path, range(5, 7), resume_at=5)
    assert [line["step"] for line in lines(path)] == [3, 4, 5, 6]


@pytest.mark.parametrize("content", [b"hello\n", b"[1]\n", b'{"loss": 1}\n', b"\xff\n"])
def test_other_files_are_left_alone(
    tmp_path: Path, content: bytes, complains: Callable[..., Any]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with complains("E068", f"line 1 of '{path}' is not a line of metrics"):
        Metrics(path, resume_at=3)
    assert path.read_bytes() == content


def test_unwritable(tmp_path: Path, complains: Callable[..., Any]) -> None:
    with complains("E069", f"cannot write '{tmp_path}': Is a directory."):
        Metrics(tmp_path)
