"""metrics.jsonl: what is written and read, and what is dropped on resuming."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc_runtime.train.metrics import Metrics, read_metrics


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


VALUE = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 10**6)
NAMES = (
    "epoch", "loss", "learning_rate", "images_per_second", "gradient_norm", "test_loss",
    "test_accuracy",
)  # fmt: skip
LINES = st.lists(st.dictionaries(st.sampled_from(NAMES), VALUE), max_size=20)


@given(LINES)
def test_what_is_written_is_read(values: list[dict[str, float | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        with Metrics(path) as metrics:
            for number, each in enumerate(values):
                metrics.write(number // 2, **each, more="is ignored")
        whole = read_metrics(path)
        assert whole == [{"step": n // 2, **each} for n, each in enumerate(values)]
        with open(path, "a") as file:
            file.write('{"step": 40, "loss": 1.')
        assert read_metrics(path) == whole


@pytest.mark.parametrize(
    "line",
    ["hello", "[1]", '{"loss": 1}', '{"step": -1}', '{"step": 1.5}', '{"step": true}',
     '{"step": 1, "loss": "x"}', '{"step": 1, "loss": NaN}', '{"step": 1, "loss": 1e999}',
     '{"step": 1, "test_loss": [1]}', "[" * 100_000, "", '{"step": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_what_is_no_metrics_is_refused(
    tmp_path: Path, line: str, complains: Callable[..., Any]
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "loss": 2}\n' + line + "\n")
    with complains("E068", f"line 2 of '{path}' is not a line of metrics, so nothing can be told"):
        read_metrics(path)


def test_steps_that_go_back_are_refused(tmp_path: Path, complains: Callable[..., Any]) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 5}\n{"step": 5}\n{"step": 4}\n')
    with complains("E068", f"line 3 of '{path}'"):
        read_metrics(path)
    with complains("E061", f"cannot read '{tmp_path / 'no'}'"):
        read_metrics(tmp_path / "no")
