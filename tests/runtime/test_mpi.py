"""One process a device: the same program over MPI, bit for bit."""

import json
import os
import re
import select
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from saved import newest

import netc_models
from netc.cli.main import main
from netc.trace.read import read_trace
from netc_runtime.io.checkpoint import load
from netc_runtime.launch.mpi import wait_until_read

DIGITS = str(Path(netc_models.__file__).parent / "digits.net")
MPIEXEC = shutil.which("mpiexec") or str(Path(sys.executable).parent / "mpiexec")

pytest.importorskip("mpi4py", reason="mpi4py is not installed")
pytestmark = pytest.mark.skipif(not Path(MPIEXEC).exists(), reason="there is no mpiexec")


def mpirun(ranks, *arguments, verb="run"):
    command = [MPIEXEC, "-n", str(ranks), sys.executable, "-m", "netc.cli.main", verb, DIGITS]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True,
                          timeout=120, env=environment)  # fmt: skip


STRATEGIES = [
    ("data",),
    ("model",),
    ("hybrid", "--scheme", "b"),
    ("hybrid", "--scheme", "c", "--fc-update", "round"),
    ("spatial",),
    ("data", "--updates", "sharded"),
]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_processes_equal_threads_bit_for_bit(tmp_path, strategy):
    options = ("--strategy", *strategy, "--devices", 3, "--batch", 90, "--steps", 4, "--json")
    done = mpirun(3, *options, "--out", tmp_path / "ranks")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["event"] for e in events] == ["start", "result"]
    assert main(["run", DIGITS, *map(str, options), "--out", str(tmp_path / "threads")]) == 0
    ranks, _ = load(newest(tmp_path / "ranks"))
    threads, _ = load(newest(tmp_path / "threads"))
    assert set(ranks) == set(threads)
    for name, value in threads.items():
        assert np.array_equal(ranks[name], value), name


def test_ranks_and_devices_must_agree(tmp_path):
    done = mpirun(2, "--devices", 3, "--batch", 90, "--out", tmp_path)
    assert done.returncode != 0
    assert "2 ranks were started for 3 devices" in done.stderr
    assert "Traceback" not in done.stderr


def test_when_one_rank_fails_all_end(tmp_path):
    """A rank that cannot write its results ends the others too, and says why."""
    (tmp_path / "file").write_text("in the way")
    done = mpirun(2, "--devices", 2, "--steps", 50, "--out", tmp_path / "file")
    assert done.returncode != 0
    assert "is a file, not a folder" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what a pipe holds")
def test_what_was_said_is_read_before_an_abort():
    """mpiexec may hear of the abort first, and reads nothing after it."""
    reading, writing = os.pipe()
    os.write(writing, b"why")
    reader = threading.Timer(0.1, os.read, (reading, 3))
    reader.start()
    wait_until_read(writing)
    unread = select.select([reading], [], [], 0)[0]
    reader.join()
    assert not unread


def test_evaluation_and_prediction_by_processes(tmp_path, capsys):
    """Scores that are split by classes are put together from all processes."""
    assert main(["run", DIGITS, "--steps", "2", "--json", "--out", str(tmp_path)]) == 0
    Image.new("L", (8, 8), 90).save(tmp_path / "a.png")
    plan = ("--devices", "3", "--pin", "fc*=k", "--out", str(tmp_path), "--json")
    for verb, images in (("eval", ()), ("predict", (str(tmp_path / "a.png"),))):
        done = mpirun(3, *images, *plan, verb=verb)
        assert done.returncode == 0, done.stderr
        capsys.readouterr()
        assert main([verb, DIGITS, *images, *plan]) == 0
        untimed = [
            {k: v for k, v in json.loads(line).items() if k not in ("seconds", "images_per_second")}
            for line in (*done.stdout.splitlines(), *capsys.readouterr().out.splitlines())
        ]
        assert len(untimed) == 2
        assert untimed[0] == untimed[1]


def test_images_that_cannot_be_read_end_all_processes(tmp_path):
    """One met a training image before the held-out one, so for it alone they are too many."""
    for number in range(160):
        place = tmp_path / "p" / ("train" if number % 2 else "val") / str(number % 20 // 2)
        place.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(place / f"{number}.png")
    bad = [tmp_path / "p/train/0/1.png", tmp_path / "p/val/9/18.png"]
    for path in bad:
        path.write_text("no picture")
    options = ("--devices", 2, "--batch", 20, "--epochs", 1, "--data", tmp_path / "p", "--out")
    done = mpirun(2, *options, tmp_path / "few", "--skip-bad", 1)
    assert done.returncode == 5, done.stderr
    assert all(f"'{path}'" in done.stderr for path in bad) and "Traceback" not in done.stderr
    done = mpirun(2, *options, tmp_path / "out", "--skip-bad", 2, "--json")
    assert done.returncode == 0, done.stderr
    end = json.loads(done.stdout.splitlines()[-1])
    assert [str(path) in text for path, text in zip(bad, end["bad"], strict=True)] == [True] * 2


def test_one_trace_of_all_processes(tmp_path):
    """On one clock: no exchange ends before all have come to it, as exactly as is said."""
    out, file = tmp_path / "out", tmp_path / "t.json"
    done = mpirun(3, "--devices", 3, "--batch", 90, "--steps", 6, "--json", "--strategy", "hybrid",
                  "--trace", file, "--trace-steps", 2, "--out", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    trace = read_trace(file)
    assert [step.step for step in trace.steps] == [4, 5] and trace.exact < 1_000_000
    spans = {(s.step, s.device, s.number): s for s in trace.spans if s.measured}
    assert {device for _, device, _ in spans} == {0, 1, 2}
    for (step, _, number), span in spans.items():
        for device in span.devices:
            assert spans[step, device, number].start <= span.end + 2 * trace.exact
    assert any(span.devices for span in spans.values())


def test_the_first_rank_writes_the_page(tmp_path):
    done = mpirun(2, "--devices", 2, "--steps", 5, "--out", tmp_path, "--report", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["report"] == str(tmp_path / "report.html")
    cells = re.findall(r"<title>(\d) taken for (\d): (\d+), ", Path(result["report"]).read_text())
    assert sum(int(images) for *_, images in cells) == 360
    right = sum(int(images) for own, said, images in cells if own == said)
    assert right / 360 == result["test_accuracy"]
