"""Evaluations take long: what was trained is saved before them, and they are made up for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import SmallRuns

import netc_runtime.train.trainer as trainer
from netc_runtime.io import load
from netc_runtime.io.checkpoint import is_due
from netc_runtime.session import Session
from netc_runtime.train.evaluate import Evaluation
from netc_runtime.train.progress import Progress, Standing
from netc_runtime.train.saving import Saver


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> SmallRuns:
    return SmallRuns(tmp_path, capsys)


class KilledError(BaseException):
    """In place of the end of a process."""


def within_evaluation(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> list[int]:
    """Let something happen within each batch of an evaluation; the batches are counted."""
    evaluate, batches = Session.evaluate, []

    def evaluated(self: Session, *what: Any) -> tuple[float, float]:
        batches.append(1)
        happens()
        return evaluate(self, *what)

    monkeypatch.setattr(Session, "evaluate", evaluated)
    return batches


@pytest.mark.parametrize("options", [(), ("--save-every", 7), ("--save-every", 5, "--keep", 1)])
def test_whoever_is_killed_within_an_evaluation_loses_nothing(
    run: SmallRuns, monkeypatch: pytest.MonkeyPatch, options: tuple[object, ...]
) -> None:
    def kill() -> None:
        raise KilledError

    run(*options, out="whole")
    within_evaluation(monkeypatch, kill)
    for steps in (14, 28, 42):
        with pytest.raises(KilledError):
            run(*options, "--resume", "auto")
        assert run.steps()[-1] == steps and is_due(load(run.files()[-1])[1])
        monkeypatch.undo()
        if steps < 42:
            within_evaluation(monkeypatch, kill)
            assert len(run.steps()) <= 4
            with pytest.raises(KilledError):  # again, within the same one
                run(*options, "--resume", "auto")
            assert run.steps()[-1] == steps
            monkeypatch.undo()
            shown = run(*options, "--resume", "auto", "--steps", steps)
            assert f"resumed at step {steps}, which is evaluated first" in " ".join(shown.split())
            within_evaluation(monkeypatch, kill)
    run(*options, "--resume", "auto")
    run.check_same("whole")
    assert run.steps() == run.steps("whole")
    assert not is_due(load(run.files()[-1])[1])


def test_killed_behind_the_line_of_an_evaluation(
    run: SmallRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line is there once, and the best one is kept."""
    run("--epochs", 2, out="whole")
    begin = Saver.begin

    def killed(self: Saver, step: int, *what: Any) -> None:
        if not is_due(what[0]) and step == 14:
            raise KilledError
        begin(self, step, *what)

    monkeypatch.setattr(Saver, "begin", killed)
    with pytest.raises(KilledError):
        run("--epochs", 2)
    assert "test_loss" in run.rows()[-1] and run.rows()[-1]["step"] == 14
    monkeypatch.undo()
    run("--epochs", 2, "--resume")
    run.check_same("whole")
    best = [load(run.folder / out / "best.safetensors")[1]["best"] for out in ("o", "whole")]
    assert best[0] == best[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("steps", [28, 20])
def test_a_signal_ends_an_evaluation(
    run: SmallRuns, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int, steps: int
) -> None:
    """At the next of its batches: behind an epoch, and behind the last step within one."""

    def happens() -> None:
        if run.rows()[-1]["step"] == steps:
            os.kill(os.getpid(), number)
            time.sleep(0.01)

    batches = within_evaluation(monkeypatch, happens)
    shown = " ".join(run("--steps", steps, code=code).split())
    assert f"interrupted after step {steps}, which was not evaluated; '--resume' goes on" in shown
    assert "test accuracy" not in shown.partition("interrupted")[2]
    assert len(batches) == 4 + 1  # 360 images in batches of 96, and one
    assert run.steps()[-1] == steps
    monkeypatch.undo()
    run("--resume")
    run(out="whole")
    assert run.curves() == run.curves("whole")


def test_what_held_out_images_make_infinite_is_withdrawn(
    run: SmallRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run that goes on, at a smaller rate, would begin there and end at once."""
    losses = iter([1.0, float("inf")])
    monkeypatch.setattr(trainer, "evaluate", lambda *_: Evaluation(next(losses), 0.5, None, 0.1))
    assert "error[E075]" in run("--keep", 1, code=5)
    assert run.steps() == [14]
    monkeypatch.undo()
    assert "resumed at step 14" in run("--resume", "--steps", 15)


def test_it_is_said_that_it_evaluates(run: SmallRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Standing] = []
    monkeypatch.setattr(Progress, "update", lambda self, now: seen.append(now))
    run("--steps", 16)
    assert [now.step for now in seen if now.evaluating] == [14, 16]
    assert not seen[-1].evaluating
    for words in (" ".join(seen[14].words(16)), " ".join(seen[14].short_words(16))):
        assert "eval" in words and "/s" not in words
