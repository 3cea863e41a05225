"""A traced step on a GPU that is none: the clock is read where instructions begin and end, in the
order that its events allow, and nothing else changes.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cuda_cases import Threads, target
from harness import Array, compiled, data, options, session, tiny
from pretend import pretended

from netc.ir.program import Bundle, Collective, Program
from netc_kernels import cuda
from netc_runtime.backend import StepTimes
from netc_runtime.cuda.backend import CudaBackend
from netc_runtime.launch.ranks import Ranks

STEPS, TRACED = 5, (0, 1, 3)
"""Steps before a program is recorded, when it is, and later are traced."""


def asked(devices: int, scheme: str | None = None) -> Bundle:
    network = tiny()
    chosen = options(
        network, devices, 4 * devices**2, precision="fp32", strategy="hybrid", scheme=scheme
    )
    return compiled(network, replace(chosen, target=target("fp32", "native")))[0]


def steps(
    bundle: Bundle, traced: tuple[int, ...], graph: bool, ranks: Ranks | None = None
) -> tuple[dict[str, Array], dict[int, StepTimes]]:
    """Results of all steps and the state after them, and the times of some."""
    backend = CudaBackend(bundle.programs, "fp32", ranks, graph=graph)
    made, found = session(bundle, backend), dict[str, Array]()
    times: dict[int, StepTimes] = {}
    for step in range(STEPS):
        made.stage(*data(tiny(), made.batch, step), step=step)
        made.begin(step=step, seed=1, learning_rate=0.1, traced=step in traced)
        found |= {f"{name} at {step}": value for name, value in made.results().items()}
        assert (made.last.times is not None) == (step in traced)
        if made.last.times is not None:
            times[step] = made.last.times
    return found | made.state(), times


def check(program: Program, devices: range | tuple[int, ...], times: StepTimes) -> None:
    wanted = {(n, d) for d in devices for n in program.numbers[program.class_of[d]]}
    assert set(times.starts) == set(times.ends) == wanted
    assert times.begun <= min(times.starts.values())
    for device in devices:
        last: dict[str, int] = {}
        for number, each in program.of(device).instructions.items():
            start, end = times.starts[number, device], times.ends[number, device]
            assert last.get(each.stream, 0) <= start <= end
            assert all(times.ends[wait, device] <= start for wait in each.waits)
            last[each.stream] = end


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize(("devices", "scheme"), [(1, None), (2, "b"), (3, "c")])
def test_all_instructions_of_all_devices(devices: int, scheme: str | None, graph: bool) -> None:
    bundle = asked(devices, scheme)
    with pretended(devices):
        plain, none = steps(bundle, (), graph)
    with pretended(devices + 7):
        found, times = steps(bundle, TRACED, graph)
    assert not none and set(times) == set(TRACED)
    assert found.keys() == plain.keys()
    for name, value in plain.items():
        assert np.array_equal(found[name], value), name
    for each in times.values():
        check(bundle.train, range(devices), each)
    # The pretended GPU's clock is the host's, and so is what comes of it, as exactly as is said.
    first, last = times[TRACED[0]], times[TRACED[-1]]
    assert max(first.ends.values()) < min(last.starts.values()) + 2 * max(first.exact, last.exact)


def test_every_process_traces_its_device() -> None:
    bundle = asked(3)
    board: list[Any] = [None] * 3
    barrier = threading.Barrier(3)

    def process(rank: int) -> Any:
        return steps(bundle, TRACED, True, Threads(rank, board, barrier))

    with pretended(5), ThreadPoolExecutor(3) as pool:
        runs = [each.result() for each in [pool.submit(process, rank) for rank in range(3)]]
    for rank, (_, times) in enumerate(runs):
        for each in times.values():
            check(bundle.train, (rank,), each)
    for number, each in enumerate(bundle.train.instructions):
        if isinstance(each, Collective):
            last = [times[3] for _, times in runs]
            came = max(t.starts[number, rank] - t.exact for rank, t in enumerate(last))
            assert all(t.ends[number, r] + t.exact >= came for r, t in enumerate(last))


@pytest.mark.gpu
@pytest.mark.skipif(bool(cuda.available()), reason=cuda.available() or "a GPU is here")
@pytest.mark.parametrize("graph", [True, False])
def test_on_a_gpu(graph: bool) -> None:
    bundle = asked(1)
    plain, _ = steps(bundle, (), graph)
    found, times = steps(bundle, TRACED, graph)
    for name, value in plain.items():
        np.testing.assert_allclose(found[name], value, 1e-4, 1e-5, err_msg=name)
    for each in times.values():
        check(bundle.train, (0,), each)
        # Others may have the GPU for some milliseconds between two readings of its clock.
        assert each.exact < 50_000_000
