"""Work in processes of their own: what it tells, how it ends; programs do there what they do here.

Several GPUs have a process each. Where there are none, a program for the CPU is run in one other
process, and processes that start by their own command compute nothing.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import apart_work
import numpy as np
import pytest
from api_cases import ARRAYS, IMAGES, refused, tiny

import netc
from netc.api.apart import Apart

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each device had a process of its own."""
    monkeypatch.setattr("netc.api.program.several", lambda *_: True)


def lives(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def ended(pid: int) -> bool:
    return not lives(pid)


def soon(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def test_values_come_and_are_answered() -> None:
    apart = Apart(apart_work.echo, 3, np.arange(3))
    number, array = apart.next()
    assert number == 3 and array.tolist() == [0, 1, 2]
    assert [apart.next(each) for each in ("a", b"\n", 2)] == ["a", b"\n", 2]
    assert apart.next() is None
    apart.close()
    assert apart.closed


def test_its_errors_are_those_of_the_work() -> None:
    apart = Apart(apart_work.refuse)
    pid = apart.next()
    assert "look elsewhere" in refused(apart.next, "E061")
    assert apart.closed and soon(partial(ended, pid))
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        Apart(apart_work.fail).next()


def test_a_process_that_is_lost_is_told() -> None:
    apart = Apart(apart_work.lose)
    assert apart.next() == 1
    said = refused(apart.next, "E070")
    assert "(signal 9)" in said and "= the last words" in said
    assert apart.closed


def test_who_lets_go_ends_it(tmp_path: Path) -> None:
    for number, let_go in enumerate((Apart.close, lambda _: None)):
        file = tmp_path / str(number)
        apart = Apart(apart_work.mark, str(file))
        pid = apart.next()
        let_go(apart)
        del apart
        assert soon(file.exists) and soon(partial(ended, pid))


def test_processes_start_by_their_own_command() -> None:
    apart = Apart(apart_work.together, 3)
    found = apart.next()
    assert [rank for rank, _ in found] == [0, 1, 2]
    pids = {pid for _, pid in found}
    assert len(pids) == 3 and os.getpid() not in pids
    assert apart.next() == [0, 10, 20]
    assert apart.next() is None
    assert soon(lambda: not any(map(lives, pids)))


def test_all_end_where_one_lets_go() -> None:
    apart = Apart(apart_work.together, 3)
    pids = [pid for _, pid in apart.next()]
    apart.close()
    assert soon(lambda: not any(map(lives, pids)))


@pytest.mark.usefixtures("elsewhere")
def test_a_training_there_is_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words: dict[str, Any] = {"data": ARRAYS, "epochs": 2, "devices": 2, "strategy": "data"}
    there_told: list[Any] = []
    there = tiny().run(**words, callbacks=[there_told.append], out=tmp_path / "there")
    monkeypatch.undo()
    here_told: list[Any] = []
    here = tiny().run(**words, callbacks=[here_told.append])
    assert [type(each) for each in there_told] == [type(each) for each in here_told]
    losses = [
        [each.loss for each in told if isinstance(each, netc.StepDone)]
        for told in (there_told, here_told)
    ]
    assert losses[0] == losses[1]
    assert here.weights().keys() == there.weights().keys()
    for name, value in here.weights().items():
        assert np.array_equal(there.weights()[name], value), name
    assert there.accuracy == here.accuracy and there.steps == 10
    assert there.checkpoint is not None and there.checkpoint.is_file()
    assert there.checkpoint.parent == tmp_path / "there"


@pytest.mark.usefixtures("elsewhere")
def test_it_ends_in_order_and_at_once(tmp_path: Path) -> None:
    plan = tiny().plan(devices=2)
    with plan.train(data=ARRAYS, epochs=4) as training:
        for event in training:
            if isinstance(event, netc.StepDone) and event.step == 3:
                refused(training.weights, "E051")
                training.stop()
    assert training.result.steps == 3 and training.result.weights()
    done = plan.run(data=ARRAYS, epochs=4, callbacks=[lambda event: event.step == 2])
    assert done.steps == 2
    out = tmp_path / "run"
    with plan.train(data=ARRAYS, epochs=10**6, out=out) as training:
        next(training)
    refused(lambda: training.result, "E051")
    # The folder is free again.
    assert plan.run(data=ARRAYS, epochs=1, out=out, replace=True).steps == 5


@pytest.mark.usefixtures("elsewhere")
def test_what_is_wrong_is_told_when_it_begins() -> None:
    plan = tiny().plan(devices=2)
    refused(lambda: plan.train(data="nowhere"), "E061")
    refused(lambda: plan.train(data=(*ARRAYS[:3], ARRAYS[3][:5])), "E063")
    refused(lambda: plan.run(data=ARRAYS, lr=1e30, epochs=3), "E075")


@pytest.mark.usefixtures("elsewhere")
def test_images_are_judged_there(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny().plan(devices=2, strategy="data")
    shares, weights = plan.predict(IMAGES[:20]), plan.weights()
    score = plan.evaluate(data=ARRAYS)
    timed = plan.profile(steps=2)
    assert len(timed.timing.steps) == 2 and "conv1" in repr(timed)
    monkeypatch.undo()
    assert np.array_equal(shares, plan.predict(IMAGES[:20]))
    other = plan.evaluate(data=ARRAYS)
    assert (score.loss, score.accuracy) == (other.loss, other.accuracy)
    for name, value in plan.weights().items():
        assert np.array_equal(weights[name], value), name
