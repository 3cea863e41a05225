"""How the cuda backend measures, on a GPU that is none and on one."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cuda_cases import target
from harness import compiled, data, options, session, tiny
from pretend import pretended

from netc.ir.program import Launch, Program
from netc_kernels import cuda
from netc_runtime.backend import Timing
from netc_runtime.cuda.backend import CudaBackend

STEPS = 3


def measured(devices: int, graph: bool, kernels: str) -> tuple[Program, Timing]:
    network = tiny()
    asked = options(network, devices, 12, precision="fp32", strategy="hybrid")
    bundle, _ = compiled(network, replace(asked, target=target("fp32", kernels)))
    programs = bundle.programs
    made = session(bundle, CudaBackend(programs, "fp32", graph=graph))
    images, labels = data(network, 12, 0)
    for step in range(2):
        made.step(images, labels, step=step, seed=0, learning_rate=0.0)
    return bundle.train, made.train.measure(STEPS)


def timed(program: Program) -> set[int]:
    return {
        number for number, instruction in enumerate(program.instructions)
        if isinstance(instruction, Launch) and instruction.class_ == 0
    }  # fmt: skip


@pytest.mark.parametrize("devices", [1, 3])
@pytest.mark.parametrize("graph", [True, False])
def test_every_launch_of_the_first_device_is_timed(devices: int, graph: bool) -> None:
    def apart(first: Any, second: Any) -> float:
        return float(second.token - first.token)

    with pretended(devices):
        sys.modules["cupy"].cuda.get_elapsed_time = apart
        program, timing = measured(devices, graph, "native")
    assert set(timing.launches) == timed(program)
    assert len(timing.steps) == STEPS
    assert (timing.exposed_seconds > 0) == (devices > 1)


@pytest.mark.gpu
@pytest.mark.skipif(bool(cuda.available()), reason=cuda.available() or "a GPU is here")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_no_launch_is_faster_than_the_machine(precision: str) -> None:
    from netc_runtime.cuda.timing import gpu_ceilings

    ceilings = gpu_ceilings(precision)
    assert ceilings.flops_per_second > 1e12
    assert ceilings.bytes_per_second > 1e11
    assert 1e-7 < ceilings.launch_seconds < 1e-4
    program, timing = measured(1, True, "auto")
    assert set(timing.launches) == timed(program)
    launches = np.array(list(timing.launches.values()))
    assert (launches > 0.3 * ceilings.launch_seconds).all()
    assert launches.sum() < 2 * np.median(timing.steps)
