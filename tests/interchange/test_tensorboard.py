"""Metrics of a training as event files, read back byte by byte."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.cli.main import main
from netc.errors import DataError, UsageError
from netc.interchange.tensorboard import TAGS, check_events, write_events
from netc_runtime.train.metrics import Metrics, read_metrics

TIME = 1_700_000_000.25


@pytest.fixture
def library() -> Any:
    return pytest.importorskip(
        "tensorboardX", reason="tensorboardX is not installed ('netc[tensorboard]')"
    )


def events(path: Path) -> Iterator[Any]:
    """What a file of records says: of each its length, a checksum, itself, and another one."""
    from tensorboardX.proto.event_pb2 import Event

    data, at = path.read_bytes(), 0
    while at < len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        yield Event.FromString(data[at + 12 : at + 12 + size])
        at += size + 16
    assert at == len(data)


def test_every_value_is_there(library: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with Metrics(tmp_path / "metrics.jsonl") as metrics:
        for step in range(1, 21):
            metrics.write(step, epoch=1, loss=rng.random(), learning_rate=0.1,
                          images_per_second=float("nan") if step == 3 else 100.0)  # fmt: skip
        metrics.write(20, epoch=1, test_loss=0.5, test_accuracy=0.75)
    lines = read_metrics(tmp_path / "metrics.jsonl")
    path = write_events(tmp_path / "new" / "board", lines, TIME)
    assert [path] == list((tmp_path / "new" / "board").iterdir())
    first, *found = events(path)
    assert first.file_version == "brain.Event:2" and len(found) == len(lines) == 21
    for event, line in zip(found, lines, strict=True):
        assert (event.step, event.wall_time) == (line["step"], TIME)
        told = {value.tag: value.simple_value for value in event.summary.value}
        wanted = {TAGS[name]: value for name, value in line.items()
                  if name != "step" and value is not None}  # fmt: skip
        assert told == pytest.approx(wanted, rel=1e-6)


def test_a_folder_has_one_training(library: Any, tmp_path: Path) -> None:
    write_events(tmp_path, [{"step": 1, "loss": 1.0}], TIME)
    before = [file.read_bytes() for file in tmp_path.iterdir()]
    with pytest.raises(DataError) as caught:
        write_events(tmp_path, [{"step": 1, "loss": 2.0}], TIME)
    (problem,) = caught.value.diagnostics
    assert problem.code == "E098" and "has event files already, such as 'events" in problem.message
    assert "name another folder" in problem.help
    assert [file.read_bytes() for file in tmp_path.iterdir()] == before


def test_what_is_no_folder_is_said(library: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "inner"):
        with pytest.raises(UsageError) as caught:
            write_events(place, [], TIME)
        assert caught.value.diagnostics[0].code == "E056"


def test_without_the_library_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(DataError) as caught:
        check_events(tmp_path)
    (problem,) = caught.value.diagnostics
    assert problem.code == "E097" and problem.help == "pip install 'netc[tensorboard]'"


def test_the_verb(library: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, board = str(tmp_path / "run"), str(tmp_path / "board")
    assert main(["run", "digits", "--steps", "3", "--out", run, "--json"]) == 0
    options = ["--no-evaluation", "--tensorboard", board]
    assert main(["report", run, *options]) == 0
    (file,) = Path(board).iterdir()
    assert capsys.readouterr().out.endswith(f"wrote {run}/report.html\nwrote {file}\n")
    steps = [event.step for event in events(file)]
    assert steps == [0, 1, 2, 3]
    (tmp_path / "run" / "report.html").unlink()
    assert main(["report", run, *options]) == 5
    assert "error[E098]" in capsys.readouterr().err
    assert not (tmp_path / "run" / "report.html").exists()
