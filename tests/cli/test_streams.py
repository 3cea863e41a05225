"""Standard streams that are closed, full, or cannot show a character."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import netc_models
from netc.cli.main import main
from netc.errors import is_live, wants_color
from netc_runtime.train.progress import Progress, Standing

DIGITS = str(Path(netc_models.__file__).parent / "digits.net")
NET = """net tiny
input image 1x8x8
fc 10 | softmax_loss
train { data digits() ; batch 96 ; sgd lr=0.01 ; epochs 400 }
"""
VERBS = {
    "check": ["check", DIGITS],
    "summary": ["summary", DIGITS],
    "compile": ["compile", DIGITS],
    "explain": ["explain", DIGITS],
    "doctor": ["doctor"],
    "json": ["check", DIGITS, "--json"],
    "error": ["check", "none.net", "--json"],
    "help": ["compile", "--help"],
}
verbs = pytest.mark.parametrize("arguments", VERBS.values(), ids=VERBS)


class Failing(io.StringIO):
    """A stream that takes some lines, then no more."""

    def __init__(self, number: int, lines: int = 0) -> None:
        super().__init__()
        self.number, self.lines = number, lines

    def write(self, text: str) -> int:
        self.lines -= text.count("\n")
        if self.lines < 0:
            raise OSError(self.number, os.strerror(self.number))
        return super().write(text)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@verbs
@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (Failing(errno.ENOSPC), "No space left on device"),
        (None, "it is closed"),
        (Failing(errno.EPIPE), ""),
    ],
)
def test_output_that_cannot_be_written(
    arguments: list[str], stream: io.StringIO | None, said: str,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(arguments) == 1
    assert sys.stdout is stream
    expected = f"error[E058]: cannot write to standard output: {said}.\n"
    assert capsys.readouterr().err == (expected if said else "")


@pytest.mark.parametrize("stream", [Failing(errno.ENOSPC), None])
def test_messages_that_cannot_be_written(
    stream: io.StringIO | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["check", "none.net"]) == 3
    assert main(["check", DIGITS]) == 0
    assert capsys.readouterr().out.endswith("no errors\n")


def test_a_training_that_cannot_say_more_ends_as_when_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.net").write_text(NET)
    monkeypatch.setattr(sys, "stdout", Failing(errno.ENOSPC, lines=7))
    asked = ("--kernels", "reference", "--plain", "--out", str(tmp_path))
    assert main(["run", str(tmp_path / "tiny.net"), *asked]) == 1
    assert "error[E058]" in capsys.readouterr().err
    (newest,) = sorted(tmp_path.glob("step-*"))[-1:]
    assert 0 < int(newest.stem.removeprefix("step-")) < 400 * 14


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_nothing_is_said_while_the_process_ends() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "netc.cli.main", "check", DIGITS]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    expected = "error[E058]: cannot write to standard output: No space left on device.\n"
    assert done.stderr == expected


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What a library prints to number 1 would else be in it."""
    code = (
        "import os, sys; from netc.cli.streams import standard_streams\n"
        "with standard_streams():\n"
        f"    file = os.open({str(tmp_path / 'x')!r}, os.O_CREAT)\n"
        "    sys.exit(file > 2)"
    )
    command = f"'{sys.executable}' -c \"$CODE\" <&- >&- 2>&-"
    assert subprocess.run(command, shell=True, env={**os.environ, "CODE": code}).returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [["check", "\udcff.net"], ["compile", DIGITS, "--pin", "\udcff=k"], ["check", "é\udcff"]],
)
def test_names_that_are_no_text(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    strict = io.TextIOWrapper(shown, encoding="ascii", errors="strict", write_through=True)
    monkeypatch.setattr(sys, "stderr", strict)
    assert main(arguments) in (2, 3, 4)
    assert b"error[E0" in shown.getvalue() and b"\\u" in shown.getvalue()


@pytest.mark.parametrize(
    ("stream", "environment", "live", "color"),
    [
        (Terminal(), {"TERM": "xterm"}, True, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        (Terminal(), {"TERM": "dumb"}, False, False),
        (io.StringIO(), {"TERM": "xterm"}, False, False),
    ],
)
def test_colors_and_cursor(
    stream: io.StringIO, environment: dict[str, str], live: bool, color: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream.seek(0)
    stream.truncate()
    assert (is_live(stream), wants_color(stream)) == (live, color)
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["check", "none.net"]) == 3
    assert ("\x1b[" in stream.getvalue()) == color
    with Progress(10, stream=stream) as progress:
        progress.update(Standing(1, 1, 0.5, 10.0, 0.1))
    assert ("\x1b[?25l" in stream.getvalue()) == live
