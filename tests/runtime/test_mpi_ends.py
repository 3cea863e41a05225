"""Processes of mpiexec end together, whatever becomes of one of them, and one says why."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

import netc_models
from netc_runtime.io.checkpoint import latest
from netc_runtime.watch.process import process_state

DIGITS = str(Path(netc_models.__file__).parent / "digits.net")
MPIEXEC = shutil.which("mpiexec") or str(Path(sys.executable).parent / "mpiexec")
FORKER = f"{MPIEXEC}.gforker"
STALL_SECONDS = 1
SLACK_SECONDS = 10
"""What a busy machine may take to do what takes next to no time."""

pytest.importorskip("mpi4py", reason="mpi4py is not installed")
pytestmark = [
    pytest.mark.skipif(not Path(MPIEXEC).exists(), reason="there is no mpiexec"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what processes are at"),
]
TRAINS = ("-m", "netc.cli.main", "run", DIGITS, "--batch", "90", "--epochs", "100000", "--plain")


@contextmanager
def started(
    ranks: int,
    folder: Path,
    *arguments: str,
    stall: str = str(STALL_SECONDS),
    mpiexec: str = MPIEXEC,
) -> Iterator[subprocess.Popen[str]]:
    """Processes of which each has the folder's name in its command; none is left at the end."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "NETC_STALL_SECONDS": stall}
    command = [mpiexec, "-n", str(ranks), sys.executable, *arguments]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield run
        deadline = time.monotonic() + SLACK_SECONDS
        while (left := pids_of(folder)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, f"processes are left: {left}"
    finally:
        run.kill()
        for pid in pids_of(folder).values():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        run.communicate()


def pids_of(folder: Path) -> dict[int, int]:
    """The living processes of a run by rank."""
    found = {}
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(folder) in (each / "cmdline").read_text(errors="replace"):
                rank = re.search(
                    r"\0PMI_RANK=(\d+)", (each / "environ").read_text(errors="replace")
                )
                if rank and process_state(int(each.name))[0] != "Z":
                    found[int(rank[1])] = int(each.name)
    return found


def train(ranks: int, folder: Path) -> list[str]:
    return [*TRAINS, "--devices", str(ranks), "--out", str(folder)]


def await_steps(run: subprocess.Popen[str]) -> None:
    assert run.stdout is not None
    line = next((line for line in run.stdout if line.startswith("step")), None)
    assert line is not None, run.communicate()[1]


def ended(run: subprocess.Popen[str], seconds: float = STALL_SECONDS) -> str:
    """What was said when all had ended, soon enough."""
    began = time.monotonic()
    _, said = run.communicate(timeout=60)
    assert time.monotonic() - began < seconds + SLACK_SECONDS, said
    return said


def check_told(said: str, pattern: str) -> None:
    """Exactly one error, which says that."""
    assert said.count("error[") == 1, said
    assert re.search(pattern, said), said
    assert "Traceback" not in said


HOST = os.uname().nodename


@pytest.mark.parametrize("rank", [0, 2])
def test_all_end_when_one_is_stopped_and_it_is_named(tmp_path: Path, rank: int) -> None:
    with started(3, tmp_path, *train(3, tmp_path)) as run:
        await_steps(run)
        os.kill(pids_of(tmp_path)[rank], signal.SIGSTOP)
        said = ended(run)
        assert run.returncode == 6, said
        check_told(
            said,
            rf"the process of device {rank} on {HOST} has been stopped for {STALL_SECONDS} s; "
            r"device \d waits (in the \w+ of layer \w+ \(\w+\)|for all to agree)\.",
        )


@pytest.mark.skipif(not Path(FORKER).exists(), reason="there is no mpiexec that leaves the others")
@pytest.mark.parametrize("rank", [0, 1])
def test_all_end_when_one_is_killed_and_it_is_named(tmp_path: Path, rank: int) -> None:
    with started(3, tmp_path, *train(3, tmp_path), mpiexec=FORKER) as run:
        await_steps(run)
        os.kill(pids_of(tmp_path)[rank], signal.SIGKILL)
        check_told(ended(run), rf"the process of device {rank} on {HOST} ended; ")


def test_all_end_when_mpiexec_ends_them(tmp_path: Path) -> None:
    with started(2, tmp_path, *train(2, tmp_path)) as run:
        await_steps(run)
        os.kill(pids_of(tmp_path)[1], signal.SIGKILL)
        assert ended(run).count("error[") <= 1
        assert run.returncode != 0


@pytest.mark.parametrize("above", [0, 1])
def test_all_end_without_what_started_them(tmp_path: Path, above: int) -> None:
    """mpiexec, or the process of it that has started ours on this machine."""
    with started(2, tmp_path, *train(2, tmp_path)) as run:
        await_steps(run)
        parents = (run.pid, process_state(pids_of(tmp_path)[0])[1])
        os.kill(parents[above], signal.SIGKILL)
        assert ended(run).count("error[") <= 1


def test_the_first_sigterm_ends_a_training_with_a_checkpoint(tmp_path: Path) -> None:
    with started(2, tmp_path, *train(2, tmp_path)) as run:
        await_steps(run)
        run.send_signal(signal.SIGTERM)
        assert ended(run) == ""
        assert run.returncode == 143
        assert latest(tmp_path) is not None


def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    with started(2, tmp_path, *train(2, tmp_path), stall="inf") as run:
        await_steps(run)
        os.kill(pids_of(tmp_path)[1], signal.SIGSTOP)
        for _ in range(2):
            run.send_signal(signal.SIGTERM)
            time.sleep(0.5)
        assert "Traceback" not in ended(run)


SCRIPT = """
import os, signal, sys, time
folder, how, *who = sys.argv[1:]
here = os.environ["PMI_RANK"] in who
def stop(): os.kill(os.getpid(), signal.SIGSTOP)

if how == "load" and here: stop()
from netc.cli.main import main
from netc_runtime.launch import mpi, ranks
from netc_runtime.session import Session
from netc_runtime.train import trainer

def before(owner, name, what):
    inner = getattr(owner, name)
    def wrapped(*given, **named):
        if here: what()
        return inner(*given, **named)
    setattr(owner, name, wrapped)

def fail(): raise ValueError("no luck")
def explode(): raise trainer.exploded("the loss is no number")
def interrupt(): os.kill(os.getpid(), signal.SIGINT)
MEANS = {
    "join": (mpi, "siblings", stop),
    "agree": (ranks.Ranks, "agree", stop),
    "begin": (Session, "initialize", stop),
    "save": (trainer.Trainer, "_save", stop),
    "leave": (mpi.MpiRanks, "close", stop),
    "works": (trainer.Trainer, "evaluate", lambda: time.sleep(3)),
    "fails": (trainer.Trainer, "evaluate", fail),
    "explodes": (trainer.Trainer, "evaluate", explode),
    "interrupted": (trainer.Trainer, "initialize", interrupt),
}
if how == "end":
    closes = lambda: sys._getframe(3).f_code.co_name == "close"
    MEANS["end"] = (mpi.Lines, "meeting", lambda: closes() and stop())
if how in MEANS: before(*MEANS[how])
size = os.environ["PMI_SIZE"]
options = ["--devices", size, "--batch", "90", "--steps", "5", "--out", folder]
sys.exit(main(["run", "digits", *options]))
"""


def script(
    ranks: int, folder: Path, how: str, *who: str
) -> AbstractContextManager[subprocess.Popen[str]]:
    return started(ranks, folder, "-c", SCRIPT, str(folder), how, *who)


@pytest.mark.parametrize("how", ["load", "join", "agree", "begin", "save", "leave", "end"])
def test_a_rank_that_is_stopped_outside_a_step_is_named(tmp_path: Path, how: str) -> None:
    with script(3, tmp_path, how, "1") as run:
        check_told(ended(run, 10), rf"the process of device 1 on {HOST} has been stopped for ")
        assert run.returncode == 6


def test_a_rank_that_works_for_long_is_waited_for(tmp_path: Path) -> None:
    with script(2, tmp_path, "works", "1") as run:
        assert ended(run, 20) == ""
        assert run.returncode == 0


FAILURES = {
    "fails": (1, "ValueError: no luck"),
    "explodes": (5, r"error\[E075\]: the loss is no number"),
    "interrupted": (130, "^$"),
}


@pytest.mark.parametrize(
    ("how", "who"),
    [
        ("fails", ("0",)),
        ("fails", ("1",)),
        ("explodes", ("1",)),
        ("explodes", ("0", "1", "2")),
        ("interrupted", ("0", "1", "2")),
    ],
)
def test_one_speaks_when_some_fail(tmp_path: Path, how: str, who: tuple[str, ...]) -> None:
    code, said = FAILURES[how]
    with script(3, tmp_path, how, *who) as run:
        told = ended(run, 10)
        assert run.returncode == code, told
        assert len(re.findall(said, told)) == 1, told
        assert (f"rank 1 on {HOST}: " in told) == (who == ("1",) and how != "interrupted")


@pytest.mark.parametrize(
    ("arguments", "code"), [(("check", "nosuch.net"), 3), (("run", "--nosuch"), 2)]
)
def test_one_speaks_when_all_fail_before_they_meet(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    with started(3, tmp_path, "-m", "netc.cli.main", *arguments) as run:
        said = ended(run, 10)
        assert run.returncode == code
        assert len(re.findall(r"(?m)error[:\[]", said)) == 1, said


def test_waiting_takes_next_to_no_time_of_the_processor(tmp_path: Path) -> None:
    with started(2, tmp_path, *train(2, tmp_path), stall="inf") as run:
        await_steps(run)
        waits, stopped = (pids_of(tmp_path)[rank] for rank in (0, 1))
        os.kill(stopped, signal.SIGSTOP)
        time.sleep(1)
        before = processor_seconds(waits)
        time.sleep(3)
        # Looking again every few milliseconds takes 1 to 4 %, more on a busy machine; a loop
        # that does not sleep takes all that it gets.
        assert processor_seconds(waits) - before < 0.1 * 3
        for each in (waits, stopped):
            os.kill(each, signal.SIGKILL)
        ended(run)


def processor_seconds(pid: int) -> float:
    """Of all threads of a process so far, as the scheduler counts them: not in ticks of 10 ms."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
