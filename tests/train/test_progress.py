"""Progress: silence, occasional lines, and a live line that stays readable."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import SmallRuns

from netc_runtime.memory import peak_bytes
from netc_runtime.train.augment import examples
from netc_runtime.train.progress import Progress, Standing


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def train(progress: Progress) -> None:
    with progress:
        progress.note("12 images are left out")
        for step in range(1, 1001):
            progress.update(Standing(step, step // 100, 1 / step, 5210.4, 0.01, 0.875))


LAST = (
    "step 1,000/1,000  epoch 10  loss 0.0010  accuracy 87.50 %  5,210 images/s  rate 0.01  "
    "0:00:00 left"
)


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_quiet(stream: io.StringIO) -> None:
    train(Progress(1000, quiet=True, stream=stream))
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("stream", "plain"), [(io.StringIO(), False), (Terminal(), True)])
def test_lines_are_occasional(
    stream: io.StringIO, plain: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
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
            progress.update(Standing(500, 5, 0.25, 100.0, 0.1))
            if problem is not None:
                raise problem
    except KeyboardInterrupt:
        pass
    shown = stream.getvalue()
    assert "[12] images" in shown
    assert shown.endswith("\n\x1b[?25h"), "the line is left, the cursor shown again"
    last = re.split(r"\x1b\[2K|\n", shown)[-2]
    assert last.startswith("step 500/1,000  epoch 5  loss 0.2500  100 images/s  rate 0.1")
    assert "━" in last, "the bar"


standings = st.builds(
    Standing,
    step=st.integers(2, 999_999),
    epoch=st.integers(1, 99),
    loss=st.floats(0, 1e9),
    images_per_second=st.floats(0.01, 9_999),
    rate=st.floats(1e-9, 1e3),
    accuracy=st.floats(0, 0.999),
    loading=st.booleans(),
)


@given(standings, st.integers(10**7, 10**12 - 10**9), st.floats(0, 1e4))
def test_all_is_on_one_line_of_80_columns(now: Standing, taken: int, a_step: float) -> None:
    """Also where the numbers are long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        seconds = [0.0]
        patch.setattr(time, "monotonic", lambda: seconds[0])
        stream = io.StringIO()
        with Progress(999_999, stream=stream, interval_seconds=0.0, memory=lambda: taken) as shown:
            shown.update(Standing(1, 1, now.loss, now.images_per_second, now.rate))
            seconds[0] = a_step * (now.step - 1)
            shown.update(now)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and max(map(len, lines)) <= 80, lines
    left = r"(\d:\d\d:\d\d|\d+h\d\dm|\d+d\d\dh|1000d\+)"
    assert re.search(r"loss \S+ acc(uracy)? .*/s .*(lr|rate) .*B .*" + left, lines[1]), lines


def test_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left takes what was made in this run took, with all that was between."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress(110, stream=stream, interval_seconds=0.0) as progress:
        for step, seconds in ((100, 0.0), (101, 10.0), (104, 100.0), (110, 110.0)):
            now[0] = seconds
            progress.update(Standing(step, 1, 1.0, 1.0, 0.1))
    ends = [line.split("  ")[-1] for line in stream.getvalue().splitlines()]
    assert ends == ["rate 0.1", "0:01:30 left", "0:02:30 left", "0:00:00 left"]


def test_a_training_says_all_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is the most that the process had; the accuracy that of the last epoch."""
    monkeypatch.delenv("COLUMNS", raising=False)
    run = SmallRuns(tmp_path, capsys)
    shown = run("--epochs", 2).splitlines()
    last = next(line for line in reversed(shown) if line.startswith("step 28/28"))
    accuracy = run.rows()[-1]["test_accuracy"]
    for part in ("epoch 2", "loss ", f"accuracy {100 * accuracy:.2f} %", " images/s", "rate 0.01"):
        assert part in last
    assert re.search(r"  [\d.]+ [MG]B  0:00:00 left$", last), last
    assert peak_bytes() > 10**7


@pytest.mark.parametrize("slow", [False, True])
def test_loading_is_said_where_steps_wait_for_it(
    slow: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the steps waited for, not by what loading takes beside them."""
    import netc_runtime.train.trainer as trainer
    from netc_runtime.session import Session

    results = Session.results

    def late(*of: Any) -> Any:
        time.sleep(0.02 if slow else 0.0)
        return examples(*of)

    def worked(self: Session) -> Any:
        time.sleep(0.0 if slow else 0.02)
        return results(self)

    monkeypatch.setattr(trainer, "examples", late)
    monkeypatch.setattr(Session, "results", worked)
    shown = SmallRuns(tmp_path, capsys)("--steps", 9).splitlines()
    last = next(line for line in reversed(shown) if line.startswith("step 9/"))
    assert ("  loading " in last) == slow, last


@pytest.mark.parametrize(
    ("loss", "said"),
    [(0.0, "0.0000"), (0.25, "0.2500"), (99_999.0, "99999.0000"), (1.2345e-5, "1.234e-05"),
     (12643940264050688.0, "1.264e+16"), (-2e9, "-2e+09")],
)  # fmt: skip
def test_a_loss_of_any_size_is_short(loss: float, said: str) -> None:
    words = list(Standing(1, 1, loss, 10.0, 0.1).words(2))
    assert words[2] == f"loss {said}"
