"""Checkpoints are written while the next steps run, and nothing else of them changes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_runs import SmallRuns, check_same_tensors

import netc_runtime.train.folder as folder_module
import netc_runtime.train.trainer as trainer
from netc_runtime.io import load, save
from netc_runtime.io.checkpoint import Position, is_due
from netc_runtime.io.problems import unwritable
from netc_runtime.io.tensors import write
from netc_runtime.train.evaluate import Evaluation
from netc_runtime.train.saving import Saver, exploded

LONG_SECONDS = 20.0
Write = Callable[[Path, Mapping[str, NDArray[Any]], Mapping[str, str]], None]
WRITE: Write = save


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> SmallRuns:
    return SmallRuns(tmp_path, capsys)


def writes(monkeypatch: pytest.MonkeyPatch, instead: Write) -> None:
    """Have checkpoints written otherwise."""
    monkeypatch.setattr(folder_module, "save", instead)


def step_of(path: Path) -> int:
    return int(path.stem.split("-")[1])


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_SECONDS
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


def test_steps_go_on_while_one_is_written(run: SmallRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write ends only when the next step was made; another one begins behind it."""
    under_way: list[int] = []

    def slow(path: Path, *what: Any) -> None:
        step = step_of(path)
        assert not under_way, "two at a time"
        under_way.append(step)
        if step < 12:
            wait_for(lambda: run.rows()[-1]["step"] > step)
        WRITE(path, *what)
        under_way.remove(step)

    writes(monkeypatch, slow)
    run("--save-every", 3, "--steps", 12)
    assert run.steps() == [6, 9, 12]
    monkeypatch.undo()
    run("--steps", 12, out="whole")
    assert run.steps("whole") == [12]
    run.check_same("whole")


def test_what_is_written_is_the_state_of_its_step(
    run: SmallRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the state changes while it is written."""

    def late(path: Path, *what: Any) -> None:
        if step_of(path) == 5:
            wait_for(lambda: run.rows()[-1]["step"] >= 9)
        WRITE(path, *what)

    writes(monkeypatch, late)
    run("--save-every", 5, "--steps", 10)
    monkeypatch.undo()
    run("--steps", 5, out="five")
    check_same_tensors(run.files()[0], run.files("five")[-1])


def test_every_so_many_steps(run: SmallRuns) -> None:
    """Of epochs of 14 steps; a run that goes on keeps to the same steps."""
    run("--save-every", 5, "--epochs", 2, "--keep", 99)
    assert run.steps() == [5, 10, 14, 15, 20, 25, 28]
    run("--save-every", 5, "--steps", 32, "--resume", "--keep", 99)
    assert run.steps() == [5, 10, 14, 15, 20, 25, 28, 30, 32]
    places = [Position.from_meta(load(file)[1], file) for file in run.files()]
    wanted = [(0, 5), (0, 10), (1, 0), (1, 1), (1, 6), (1, 11), (2, 0), (2, 2), (2, 4)]
    assert [(place.epoch, place.place) for place in places] == wanted


def test_metrics_are_ahead_of_a_checkpoint(run: SmallRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is killed behind it goes on behind it: what is not there by then will never be."""
    begin, seen = Saver.begin, []

    def looked_at(self: Saver, step: int, *what: Any) -> None:
        seen.append((step, [row["step"] for row in run.rows() if "loss" in row][-1]))
        tests = [row["step"] for row in run.rows() if "test_loss" in row]
        assert tests == list(range(14, step + 1 - is_due(what[0]), 14))
        begin(self, step, *what)

    monkeypatch.setattr(Saver, "begin", looked_at)
    run("--save-every", 6, "--epochs", 2)
    assert seen == [(step, step) for step in (6, 12, 14, 14, 18, 24, 28, 28)]


def test_a_refused_write_ends_the_training(run: SmallRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was reached is saved, where that works the second time."""
    refused: list[int] = []

    def full(path: Path, *what: Any) -> None:
        if not refused:
            refused.append(step_of(path))
            raise unwritable(path, OSError(28, "No space left on device"))
        WRITE(path, *what)

    writes(monkeypatch, full)
    shown = run("--save-every", 4, code=5)
    assert "error[E069]" in shown and "No space left" in shown
    (reached,) = run.steps()
    assert refused == [4] and 4 <= reached <= 8  # where the next one waits for it
    assert f"saved up to step {reached}; '--resume' goes on" in shown
    assert run.rows()[-1]["step"] == reached


@pytest.mark.parametrize("steps", [4, 9])
def test_a_disk_that_stays_full(
    run: SmallRuns, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """At the last step and before it."""

    def full(path: Path, *what: Any) -> None:
        raise unwritable(path, OSError(28, "No space left on device"))

    writes(monkeypatch, full)
    shown = run("--save-every", 4, "--steps", steps, code=5)
    assert "error[E069]" in shown and "'--resume' goes on" not in shown
    assert "nothing of the training is saved" in shown
    assert run.steps() == [] and "test accuracy" not in shown


def test_a_disk_that_is_full_by_and_by(run: SmallRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what there is, and that works."""

    def full(path: Path, *what: Any) -> None:
        if step_of(path) > 8:
            raise unwritable(path, OSError(28, "No space left on device"))
        WRITE(path, *what)

    writes(monkeypatch, full)
    shown = run("--save-every", 4, code=5)
    assert "error[E069]" in shown and "saved up to step 8; '--resume' goes on" in shown
    monkeypatch.undo()
    assert "resumed at step 8" in run("--resume", "--steps", 9)


def test_a_folder_that_is_removed(run: SmallRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not made anew, without what was in it; whoever renames it has all that was saved."""
    step = trainer.Trainer._step

    def moves(self: trainer.Trainer, number: int, batches: Any) -> Any:
        if number == 20:
            self.saver.wait()
            (run.folder / "o").rename(run.folder / "p")
        return step(self, number, batches)

    monkeypatch.setattr(trainer.Trainer, "_step", moves)
    shown = " ".join(run(code=5).split())
    assert "error[E069]" in shown and "was removed, emptied or renamed while its" in shown
    assert "nothing of the training is saved" in shown
    assert not (run.folder / "o").exists()
    monkeypatch.undo()
    assert "resumed at step 14" in run("--resume", "--steps", 15, out="p")


@pytest.mark.parametrize("how", ["cut", "removed", "cut at the end"])
def test_metrics_that_others_change(
    run: SmallRuns, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    step, last = trainer.Trainer._step, how == "cut at the end"
    file = run.folder / "o" / "metrics.jsonl"

    def changes(self: trainer.Trainer, number: int, batches: Any) -> Any:
        if number == 20 and how == "removed":
            file.unlink()
        elif number == 20 and not last:
            os.truncate(file, 100)
        return step(self, number, batches)

    def ends(self: trainer.Trainer) -> tuple[float, float]:
        if last:
            os.truncate(file, 100)
        return 1.0, 0.5

    monkeypatch.setattr(trainer.Trainer, "_step", changes)
    monkeypatch.setattr(trainer.Trainer, "evaluate", ends)
    shown = " ".join(run("--steps", 13 if last else 30, code=5).split())
    assert f"metrics.jsonl' was {how.split()[0]}" in shown and "error[E069]" in shown
    assert f"saved up to step {13 if last else 21}; '--resume' goes on" in shown
    monkeypatch.undo()
    assert "resumed at step" in run("--resume", "--steps", 31)


def test_another_problem_is_not_lost(run: SmallRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours in the thread that writes ends the training with its traceback."""

    def wrong(path: Path, *what: Any) -> None:
        raise AssertionError("ours")

    writes(monkeypatch, wrong)
    with pytest.raises(AssertionError, match="ours"):
        run("--save-every", 4)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits(
    run: SmallRuns, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """That comes while a checkpoint is written, and none is lost."""
    told = threading.Event()

    def slow(path: Path, *what: Any) -> None:
        if not told.is_set():
            told.set()
            os.kill(os.getpid(), number)
            time.sleep(0.5)
        WRITE(path, *what)

    writes(monkeypatch, slow)
    shown = run("--save-every", 4, "--epochs", 90, code=code)
    last = run.steps()[-1]
    assert 4 <= last <= 8 and f"interrupted after step {last}" in shown
    assert run.steps() == sorted({4, last})
    assert f"step-{last:08d}.safetensors" in shown


def test_numbers_that_are_none_do_not_lose_what_is_being_written(
    run: SmallRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training ends with an error, behind the checkpoint that was begun before."""
    step = trainer.Trainer._step

    def explodes(self: trainer.Trainer, number: int, batches: Any) -> Any:
        if number == 4:
            raise exploded("the loss is not a finite number at step 5")
        return step(self, number, batches)

    def slow(path: Path, *what: Any) -> None:
        time.sleep(0.3)
        WRITE(path, *what)

    monkeypatch.setattr(trainer.Trainer, "_step", explodes)
    writes(monkeypatch, slow)
    assert "error[E075]" in run("--save-every", 4, code=5)
    assert run.steps() == [4]


def test_the_best_one_stays(run: SmallRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of 14 steps; the second one is the best, whatever is saved between and removed."""
    accuracies = iter([0.2, 0.7, 0.5, 0.5])
    monkeypatch.setattr(
        trainer, "evaluate", lambda *_: Evaluation(1.0, next(accuracies), None, 0.1)
    )
    shown = run("--save-every", 5, "--epochs", 3, "--keep", 2)
    assert run.steps() == [40, 42]
    assert "best      70.00 % after step 28" in shown
    meta = load(run.folder / "o" / "best.safetensors")[1]
    assert (meta["step"], meta["best"]) == ("28", "[28, 0.7]")


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 2048 * 4096, 3 * 2048 * 4096 + 17])
def test_files_are_the_same_past_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Where the system has no such way, or refuses it, the usual one is taken."""
    tensors = {"a": np.random.default_rng(size).integers(0, 256, size, np.uint8)}
    write(tmp_path / "direct", tensors, {"x": "1"})
    with monkeypatch.context() as patch:
        patch.setattr("netc_runtime.io.tensors._BLOCK_BYTES", 1)  # no disk takes such blocks
        patch.setattr("netc_runtime.io.tensors._ROOM_BYTES", 4099)
        write(tmp_path / "refused", tensors, {"x": "1"})
    monkeypatch.delattr(os, "O_DIRECT")
    write(tmp_path / "usual", tensors, {"x": "1"})
    files = [(tmp_path / name).read_bytes() for name in ("direct", "refused", "usual")]
    assert files[0] == files[1] == files[2]
    assert np.array_equal(load(tmp_path / "direct")[0]["a"], tensors["a"])
