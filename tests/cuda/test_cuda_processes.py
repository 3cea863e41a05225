"""One process a GPU, started by the command line; they stop together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved import newest

import netc
from netc_kernels import cuda
from netc_runtime.io.checkpoint import load

pytestmark = [
    pytest.mark.multi_gpu,
    pytest.mark.skipif(cuda.found()[0] < 2, reason="there are fewer than two GPUs"),
]
MAIN = "import sys; from netc.cli.main import main; sys.exit(main(sys.argv[1:]))"


def command(*more: str) -> list[str]:
    return [sys.executable, "-c", MAIN, "run", "digits", "--devices", "2", "--json", *more]


@pytest.mark.parametrize("strategy", ["data", "hybrid", "model"])
def test_two_gpus_train_as_two_threads_do(tmp_path: Path, strategy: str) -> None:
    found = {}
    for backend in ("cuda", "cpu"):
        out = str(tmp_path / backend)
        asked = command("--backend", backend, "--strategy", strategy, "--steps", "6", "--out", out)
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        found[backend] = load(newest(tmp_path / backend))[0], result["test_loss"]
    gpus, threads = found["cuda"], found["cpu"]
    assert gpus[1] == pytest.approx(threads[1], rel=1e-2)
    for name, value in threads[0].items():
        assert np.linalg.norm(gpus[0][name] - value) <= 1e-2 * np.linalg.norm(value) + 1e-4, name


def test_python_starts_a_process_a_gpu(tmp_path: Path) -> None:
    words: dict[str, Any] = {"devices": 2, "strategy": "hybrid", "steps": 6, "data": "digits"}
    network = netc.load("digits")
    with network.train(backend="cuda", **words) as training:
        events = [event for event in training if isinstance(event, netc.StepDone)]
    gpus, threads = training.result, network.run(backend="cpu", **words)
    assert len(events) == 6
    assert gpus.loss == pytest.approx(threads.loss, rel=1e-2)
    for name, value in threads.weights().items():
        assert np.linalg.norm(gpus.weights()[name] - value) <= 1e-2 * np.linalg.norm(value) + 1e-4
    assert gpus.evaluate().loss == pytest.approx(gpus.loss, rel=1e-3)
    images = np.zeros((5, 1, 8, 8), np.uint8)
    assert np.allclose(gpus.predict(images), threads.predict(images), atol=1e-2)
    assert gpus.profile(steps=2).timing.launches


def test_all_stop_when_one_process_is_killed(tmp_path: Path) -> None:
    asked = command("--backend", "cuda", "--epochs", "100000", "--out", str(tmp_path))
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        while '"epoch"' not in run.stdout.readline():
            assert run.poll() is None
        (child,) = _children(run.pid)
        os.kill(child, signal.SIGKILL)
        began = time.perf_counter()
        _, said = run.communicate(timeout=30)
    assert run.returncode == 6
    assert time.perf_counter() - began < 10
    assert "the process of device 1 ended (signal 9)" in said


def _children(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(task) for task in tasks]
