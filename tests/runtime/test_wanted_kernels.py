"""Before a program runs, all kernels of its launches are known and compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import typeof
from random_networks import OPTIMIZERS, SGD

import netc_clusters
import netc_models
from netc.cost import read_cluster
from netc.ir.optimizers import Chosen
from netc.ir.program import Bundle
from netc.ir.types import line_mesh
from netc.passes.assign_formats import Target
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.syntax import parse_text
from netc_kernels.cpu.ahead import Counted, NotingPool, Wanted
from netc_kernels.cpu.ranges import signatures
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import name_of
from netc_runtime.cpu import ahead
from netc_runtime.cpu.backend import CpuBackend
from netc_runtime.cpu.kernels import CpuKernels
from netc_runtime.making import MadeSoFar
from netc_runtime.session import Session

THREADS = 2
CLUSTER = read_cluster(Path(netc_clusters.__file__).parent / "local.toml")
MIXED = """net mixed(classes = 7)
include "blocks/resnet.net"
input image 3x23x21
conv 5x5 18 /2 pad=2 bias=false | bn | relu | lrn 5 | maxpool 3x3 /2 ceil=true
bottleneck(8, project=true)
conv 3x3 20 pad=same groups=2 | relu | gelu
conv 1x1 24 | relu | avgpool 3x3 /1 pad=1
concat { conv 1x1 8 | relu ; maxpool 2x2 /1 pad=1 | conv 2x2 8 bias=false ; conv 3x3 32 pad=1 }
bn | dropout 0.3
fc 40 | relu | dropout 0.5
fc classes | softmax_loss
"""
POOLED = """net pooled(classes = 7)
input image 8x20x24
conv 3x3 32 pad=1 | relu | maxpool 2x2
conv 3x3 48 pad=1 bias=false | maxpool 2x2
fc 40 | relu
fc classes | softmax_loss
"""


def compiled(
    text: str,
    devices: int = 1,
    fast: bool = True,
    optimizer: Chosen = SGD,
    strategy: str = "hybrid",
) -> Bundle:
    """A program with fast kernels, or with the reference's."""
    net = parse_text(text, str(Path(netc_models.__file__).parent / "mixed.net"))
    target = Target("cpu", "nhwc", choose=CpuKernels(THREADS).choose) if fast else Target("cpu")
    chosen = Options(line_mesh(devices), 6, CLUSTER, strategy, optimizer=optimizer, target=target)
    return compile_network(net, chosen)[0]


def wanted_by(bundle: Any, devices: int, monkeypatch: pytest.MonkeyPatch) -> set[Wanted]:
    """What is compiled ahead."""
    found: list[Wanted] = []
    monkeypatch.setattr(
        "netc_kernels.cpu.ahead.compile_all", lambda wanted, *others: found.extend(wanted)
    )
    ahead.compile_ahead(bundle.programs, range(devices), THREADS, lambda text: None, alone=True)
    return set(found)


def called_by(step: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> set[Wanted]:
    """The kernels that pools share out meanwhile."""
    found: set[Wanted] = set()
    run = Pool._run_kernel

    def noted(self: Pool, count: int, grain: int, part: Any, arguments: tuple[Any, ...]) -> None:
        if not isinstance(self, NotingPool):
            kinds = tuple(map(typeof, arguments))
            found.add((name_of(part), signatures(kinds)[0]))
        run(self, count, grain, part, arguments)

    with monkeypatch.context() as watched:
        watched.setattr(Pool, "_run_kernel", noted)
        step()
    return found


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("text", [MIXED, POOLED], ids=["mixed", "pooled"])
def test_what_a_step_calls_was_compiled_ahead(
    text: str, devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(compiled(text, devices), devices, monkeypatch)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_what_an_optimizer_calls_was_compiled_ahead(
    optimizer: Chosen, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(compiled(POOLED, optimizer=optimizer), 1, monkeypatch)


def check(bundle: Any, devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = wanted_by(bundle, devices, monkeypatch)
    session = Session(bundle, CpuBackend(bundle.programs, threads=THREADS))
    rng = np.random.default_rng(1)
    pixels = int(np.prod(session.images[0].shape[1:]))
    images = rng.random((6, pixels), np.float32)
    labels = rng.integers(7, size=6)

    def step() -> None:
        session.initialize(3)
        session.step(images, labels, step=0, seed=0, learning_rate=0.1)
        session.evaluate(images, labels, 6)

    called = called_by(step, monkeypatch)
    session.close()
    assert called and called <= wanted


@pytest.mark.parametrize(("devices", "alone"), [(1, True), (2, True), (1, False)])
def test_how_many_processes_compile(
    devices: int, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []
    monkeypatch.setattr(ahead, "cores", lambda: 5)
    monkeypatch.setattr(
        "netc_kernels.cpu.ahead.compile_all",
        lambda wanted, processes, told: found.append(processes),
    )
    bundle = compiled(POOLED, devices)
    ahead.compile_ahead(bundle.programs, range(devices), THREADS, lambda text: None, alone)
    assert found == [5 if alone else 1]


def test_without_fast_kernels_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "NotingPool", None, raising=False)
    bundle = compiled(POOLED, fast=False)
    ahead.compile_ahead(bundle.programs, range(1), 0, lambda text: None, alone=True)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [([0.5, 1.9, 1.9, 1.9], []), ([0.5, 2.0, 3.0, 4.0], [2]), ([0.5, 1.0, 1.5, 4.0], [])],
)
def test_what_takes_long_is_told_once(
    seconds: list[float], told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, heard = iter([0.0, *seconds]), list[str]()
    monkeypatch.setattr("netc_runtime.making.time.monotonic", lambda: next(clock))
    counter: Counted = MadeSoFar("plans are made", heard.append)
    for done in range(1, len(seconds) + 1):
        counter(done, len(seconds))
    assert heard == [
        f"plans are made now, once: {done} of {len(seconds)} in 2 s so far." for done in told
    ]


def test_launches_are_those_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where dropout begins is another place on each device."""
    text = POOLED.replace("fc 40 | relu", "fc 40 | relu | dropout 0.5")
    bundle = compiled(text, 2, strategy="data")
    assert len(set(bundle.train.class_of)) == 1
    check(bundle, 2, monkeypatch)
