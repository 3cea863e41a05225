"""Where the time before a first step goes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from netc.api.listener import Listener
from netc.cli.main import main
from netc.cli.speaker import Speaker
from netc.stages import STAGES, stage_seconds, staged, timed_stages

NET = """net tiny(classes = 3)
input image 1x8x8
conv 3x3 4 pad=1 | relu
fc classes | softmax_loss
train { data synthetic() ; batch 8 ; sgd lr=0.05 ; epochs 1 }
"""


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("netc.stages.time.monotonic", lambda: self.now)

    def work(self, seconds: float) -> None:
        self.now += seconds


def test_a_stage_within_another_counts_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with timed_stages() as found:
        with staged("compile"):
            clock.work(1.0)
            with staged("parse"):
                clock.work(2.0)
                with staged("data"):
                    clock.work(4.0)
            clock.work(8.0)
            with staged("parse"):
                clock.work(16.0)
        clock.work(32.0)
        with staged("compile"):
            clock.work(64.0)
        assert stage_seconds() == found.seconds
    with staged("compile"):
        clock.work(128.0)
    assert {name: s for name, s in found.seconds.items() if s} == {
        "parse": 18, "compile": 73, "data": 4
    }  # fmt: skip


def test_a_stage_that_fails_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    @staged("kernels")
    def fail() -> None:
        clock.work(2.0)
        raise KeyError

    with timed_stages() as found:
        for _ in range(2):
            with pytest.raises(KeyError):
                fail()
    assert found.seconds["kernels"] == 4


@pytest.mark.parametrize("kernels", ["reference", "fast"])
def test_a_run_tells_them(
    kernels: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.net").write_text(NET)
    began = time.monotonic()
    asked = ["run", "tiny.net", "--json", "--steps", "1", "--kernels", kernels]
    assert main([*asked, "--cluster", "local"]) == 0
    took = time.monotonic() - began
    *_, result = map(json.loads, capsys.readouterr().out.splitlines())
    stages = result["stages"]
    assert tuple(stages) == STAGES and sum(stages.values()) < took
    assert all(
        stages[name] > 0 for name in ("import", "parse", "compile", "kernels", "data", "weights")
    )
    assert stages["plans"] == stages["tune"] == stages["record"] == stages["measure"] == 0


def test_what_is_waited_for_is_told_where_notes_are_and_not_quietly(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for speaker in (Listener(), Speaker(notes=False), Speaker(quiet=True)):
        speaker.wait("a while")
        assert not capsys.readouterr().err
    Speaker().wait("a while")
    assert capsys.readouterr().err == "note: a while\n"
