"""A training that goes on is the one that never stopped; elsewhere it goes on where it stood."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pretend import pretended
from small_runs import SmallRuns

import netc.cli.run_ as run_module
from netc.cli.main import main
from netc_runtime.choose import BackendChoice
from netc_runtime.cuda.backend import CudaBackend
from netc_runtime.io import load
from netc_runtime.session import Session

NETWORK = """
net going(classes = 10)
input image 1x8x8
conv 3x3 16 pad=1 bias=false | bn | relu | maxpool 2
fc 32 | relu | dropout 0.5
fc classes
softmax_loss
train {
  data digits() ; batch 96 ; epochs 9
  augment shift(1) flip()
  OPTIMIZER
  schedule cosine(warmup=1ep)
}
"""
SGD = "sgd lr=0.02 momentum=0.9 decay=1e-4"
IMAGES, RATE, EPOCHS = 1437, 0.02, 9


class Goings(SmallRuns):
    """With all that a step depends on: statistics, dropout, augmentation, momentum, a schedule."""

    def __post_init__(self) -> None:
        self.write(SGD)

    def write(self, optimizer: str) -> None:
        """Train by this one."""
        (self.folder / "n.net").write_text(NETWORK.replace("OPTIMIZER", optimizer))


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Goings:
    return Goings(tmp_path, capsys)


@pytest.mark.parametrize("kernels", ["reference", "fast"])
@pytest.mark.parametrize("optimizer", [SGD, "adam lr=0.002", "rmsprop lr=0.002 momentum=0.5"])
def test_a_hundred_steps(run: Goings, optimizer: str, kernels: str) -> None:
    """Are 50, and 50 after those, to the bit; within an epoch, of 14 steps."""
    run.write(optimizer)
    how = ("--kernels", kernels)
    run(*how, "--steps", 100, out="whole")
    run(*how, "--steps", 50)
    run(*how, "--steps", 100, "--resume")
    run.check_same("whole")
    assert [row["step"] for row in run.rows() if "loss" in row] == list(range(1, 101))


def rate(place: int, steps: int) -> float:
    """Of a step of an epoch of so many steps, by docs/training.md."""
    if place < steps:
        return RATE * (place + 1) / steps
    return RATE * (1 + math.cos(math.pi * (place - steps) / ((EPOCHS - 1) * steps))) / 2


def check_goes_on(run: Goings, done: int, batch: int, count: int) -> None:
    """Assert that steps after `done` of 96 images, of so many images now, are in the right epoch
    and at the right rate.
    """
    epoch, place = divmod(done, IMAGES // 96)
    steps = IMAGES // batch
    first = epoch * steps + place * 96 // batch
    rows = [row for row in run.rows() if "loss" in row][done:]
    assert [row["step"] for row in rows] == list(range(done + 1, done + count + 1))
    assert [row["epoch"] for row in rows] == [(first + n) // steps + 1 for n in range(count)]
    wanted = [rate(first + n, steps) for n in range(count)]
    np.testing.assert_allclose([row["learning_rate"] for row in rows], wanted, rtol=1e-9)


def check_near(run: Goings, straight: str, tolerance: float) -> None:
    found, wanted = load(run.files()[-1])[0], load(run.files(straight)[-1])[0]
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("done", [7, 14, 20])
@pytest.mark.parametrize(
    "way",
    [
        "--devices 2 --strategy data",
        "--devices 3 --strategy model",
        "--devices 4 --strategy hybrid --scheme b",
        "--devices 2 --strategy spatial",
        "--devices 2 --strategy data --updates sharded",
        "--mesh 2x2 --strategy data",
    ],
)
def test_other_devices_and_strategies(run: Goings, way: str, done: int) -> None:
    """Within an epoch, at its end, and in the second one: as one device would, to rounding."""
    common = ("--precision", "fp64", "--batch", 96)
    run(*common, "--steps", done)
    shown = run(*common, *way.split(), "--steps", done + 9, "--resume", "auto")
    assert f"resumed at step {done}" in shown
    run(*common, "--steps", done + 9, out="straight")
    check_goes_on(run, done, 96, 9)
    check_near(run, "straight", 1e-8)


@pytest.mark.parametrize(("done", "batch"), [(7, 48), (8, 32), (14, 100), (16, 24)])
def test_another_batch(run: Goings, done: int, batch: int) -> None:
    run("--steps", done)
    run("--batch", batch, "--steps", done + 40, "--resume", "auto")
    check_goes_on(run, done, batch, 40)


def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs take a GPU that is none."""

    def opened(choice: object, bundle: Any, ranks: object, told: object) -> Session:
        backend = CudaBackend([bundle.init, bundle.train, bundle.eval], "fp32")
        assert backend.taken_bytes() == 2**30, "as the pretended one says"
        return Session(bundle, backend)

    choice = BackendChoice("cuda", "pretended")
    monkeypatch.setattr(run_module, "choose", lambda *_: choice)
    monkeypatch.setattr("netc.api.training.open_session", opened)
    monkeypatch.setattr(run_module, "on_ranks", lambda bundle, _, work: work(None, bundle))


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("first", ["cpu", "cuda"])
def test_another_backend(
    run: Goings, monkeypatch: pytest.MonkeyPatch, first: str, devices: int
) -> None:
    """From the CPU to GPUs and back, to float32's rounding, from within an epoch."""
    network, program = str(run.folder / "n.net"), str(run.folder / "gpu.netc")
    plan = ("--backend", "cuda", "--kernels", "native", "--devices", str(devices))
    assert main(["compile", network, *plan, "--strategy", "data", "-o", program]) == 0
    run("--steps", 26, out="straight")

    def train(backend: str, *options: object) -> None:
        if backend == "cpu":
            run(*options)
            return
        with pretended(), monkeypatch.context() as patch:
            gpu(patch)
            given = ["run", program, "--plain", "--out", run.folder / "o", *options]
            assert main([*map(str, given)]) == 0

    train(first, "--steps", 20)
    train("cuda" if first == "cpu" else "cpu", "--steps", 26, "--resume", "auto")
    check_goes_on(run, 20, 96, 6)
    check_near(run, "straight", 2e-3)
