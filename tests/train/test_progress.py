"""Progress: silence, occasional lines, and a live line that stays readable."""

from __future__ import annotations

import io
import re

import pytest

from netc_runtime.train.progress import Progress


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def train(progress: Progress) -> None:
    with progress:
        progress.note("12 images are left out")
        for step in range(1, 1001):
            progress.update(step, step // 100, 1 / step, 5210.4, learning_rate=0.01)


LAST = "step 1,000/1,000  epoch 10  loss 0.0010  5,210 images/s  learning rate 0.01"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_quiet(stream: io.StringIO) -> None:
    train(Progress(1000, quiet=True, stream=stream))
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("stream", "plain"), [(io.StringIO(), False), (Terminal(), True)])
def test_lines_are_occasional(stream: io.StringIO, plain: bool) -> None:
    train(Progress(1000, plain=plain, stream=stream))
    note, first, last = stream.getvalue().splitlines()
    assert note == "12 images are left out"
    assert first.startswith("step 1/1,000  epoch 0  loss 1.0000")
    assert last == LAST


def test_every_update_is_a_line_without_an_interval() -> None:
    stream = io.StringIO()
    train(Progress(1000, stream=stream, interval_seconds=0.0))
    assert len(stream.getvalue().splitlines()) == 1001


def test_the_standard_output_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    train(Progress(1000))
    assert capsys.readouterr().out.endswith(LAST + "\n")


@pytest.mark.parametrize("problem", [None, KeyboardInterrupt])
def test_live(monkeypatch: pytest.MonkeyPatch, problem: type[BaseException] | None) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    try:
        with Progress(1000, stream=stream) as progress:
            progress.note("[12] images")
            progress.update(500, 5, 0.25, 100.0)
            if problem is not None:
                raise problem
    except KeyboardInterrupt:
        pass
    shown = stream.getvalue()
    assert "[12] images" in shown
    assert shown.endswith("\n\x1b[?25h"), "the line is left, the cursor shown again"
    last = re.split(r"\x1b\[2K|\n", shown)[-2]
    assert last.startswith("step 500/1,000  epoch 5  loss 0.2500  100 images/s")
