"""Times of a training step and of its launches, beside what the machine reaches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from netc.ir.kernels import KernelCall
from netc.ir.program import Bundle
from netc.ir.step import NONE, Step
from netc.stages import staged
from netc_kernels.cpu.threads import Pool
from netc_runtime.backend import Ceilings, Timing
from netc_runtime.cores import cores
from netc_runtime.cpu.backend import DTYPES, quiet
from netc_runtime.cpu.bind import bind
from netc_runtime.cpu.kernels import CpuKernels
from netc_runtime.session import Session

WARM_UP, WARM_UP_OF_GPU = 1, 3
"""Steps before any is timed; on GPUs the second of them is recorded."""
SIDE, SIDE_OF_MANY, MANY_CORES = 1024, 2048, 8
"""Of the matrices whose product is timed, and of those that keep many cores at work for as long."""
COPIED_BYTES, COPIED_BY_MANY = 2**26, 2**27
"""Of a copy that is timed: more than stays in the caches of so many cores."""
CACHE_BYTES = 2**20
"""Written before a tiny launch: more than stays near a core."""
REPEATS, ENOUGH_SECONDS, TINY_REPEATS = 8, 0.1, 30


def measure_step(session: Session, steps: int) -> Timing:
    """Time training steps on synthetic images."""
    warm_up(session)
    with staged("measure"):
        return session.train.measure(steps)


def warm_up(session: Session) -> None:
    """Some training steps that move weights, on synthetic images, which stay where they are.

    The rate is zero, so that weights stay as they are and no number grows out of bounds.
    """
    facts, rng = session.bundle.facts, np.random.default_rng(0)
    session.initialize(0)
    pixels = sum(math.prod(port.shape[1:]) for port in session.images)
    images = rng.standard_normal((session.batch, pixels)).astype(session.dtype)
    labels = rng.integers(facts.classes, size=session.batch)
    for update in range(WARM_UP_OF_GPU if facts.target == "cuda" else WARM_UP):
        step = (update + 1) * facts.accumulate - 1
        session.step(images, labels, step=step, seed=0, learning_rate=0.0)


@staged("measure")
def measure_ceilings(bundle: Bundle) -> Ceilings:
    """What one device of the backend that a bundle was compiled for reaches, alone."""
    facts = bundle.facts
    each = max(1, cores() // bundle.train.mesh.size)
    return device_ceilings(facts.target, facts.precision, each, facts.threads)


def device_ceilings(target: str, precision: str, cores: int, threads: int) -> Ceilings:
    """What a GPU reaches, or so many cores; `threads` are the fast kernels', 0 for NumPy's."""
    if target == "cuda":
        from netc_runtime.cuda.timing import gpu_ceilings

        return gpu_ceilings(precision)
    with threadpool_limits(cores, "blas"):
        side = SIDE if cores <= MANY_CORES else SIDE_OF_MANY
        seconds = _product_seconds(side, DTYPES["f64" if precision == "fp64" else "f32"])
        products = 2 * side**3 / seconds
    with Pool(cores) as pool:
        nbytes = COPIED_BYTES if cores <= MANY_CORES else COPIED_BY_MANY
        copies = 2 * nbytes / _copy_seconds(nbytes, pool)
    with Pool(max(threads, 1)) as pool:
        return Ceilings(products, copies, _launch_seconds(threads, pool))


def _product_seconds(side: int, dtype: Any) -> float:
    rng = np.random.default_rng(0)
    a, b = (rng.random((side, side), dtype) for _ in range(2))
    out = np.empty_like(a)
    return _shortest(lambda: np.matmul(a, b, out=out))


def _copy_seconds(nbytes: int, pool: Pool) -> float:
    source = np.ones(nbytes, np.uint8)
    target = np.zeros_like(source)

    def part(thread: int, start: int, stop: int) -> None:
        target[start:stop] = source[start:stop]

    return _shortest(lambda: pool.split(nbytes, part))


def _launch_seconds(threads: int, pool: Pool) -> float:
    """Usual seconds of a relu of one number, by the kernel that programs take.

    The caches are used for something else before each, as they are inside a step.
    """
    relu = KernelCall("relu", "f32", (), (0,), ((1, 1),), (1, 1))
    choice = CpuKernels(threads).choose((relu,)) if threads else None
    step = Step("relu", (0,), NONE, (1, 1), (choice.variants[0] or "") if choice else "")
    out, x = (np.ones((1, 1), np.float32) for _ in range(2))
    call, others = quiet(bind([step], "", [out], [x], pool)), np.ones(CACHE_BYTES, np.uint8)
    return median(_timed(call, TINY_REPEATS, lambda: others.fill(0)))


def _shortest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs, few where each is long."""
    return min(_timed(run, REPEATS, enough=ENOUGH_SECONDS))


def _timed(
    run: Callable[[], object], repeats: int, before: Callable[[], object] = lambda: None,
    enough: float = math.inf,
) -> list[float]:  # fmt: skip
    """Seconds of runs, after one that does not count, until they took `enough` together."""
    run()
    times: list[float] = []
    while len(times) < repeats and sum(times) < enough:
        before()
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return times
