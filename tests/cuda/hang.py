"""Two processes, and a step that one of them does not end: a program that tests run.

`python hang.py HOW [pretended]`: HOW is what becomes of device 1, or of device 0 for `first`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "compiler")]

from cuda_cases import target  # noqa: E402
from harness import compiled, data, options, session, tiny  # noqa: E402
from pretend import pretended  # noqa: E402
from pretend.streams import WORLD  # noqa: E402

from netc.errors import NetError, render  # noqa: E402
from netc.ir.program import Bundle, Launch  # noqa: E402
from netc_runtime.cuda.backend import CudaBackend, CudaExecutable  # noqa: E402
from netc_runtime.launch.local import LocalRanks  # noqa: E402
from netc_runtime.launch.ranks import Ranks  # noqa: E402

BATCH, STEPS = 8, 3
BEFORE_SECONDS = 1.0
"""Until something happens to a process: the other one waits for it by then."""
SPIN = """extern "C" __global__ void spin(long long nanoseconds) {
    long long begin, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    do asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now)); while (now - begin < nanoseconds);
}"""
SPIN_SECONDS = 40
"""A kernel that takes so long hangs, for a test: it does end."""
STUCK = "conv2", "backward"
SECONDS_TO_BE_TOLD = 5.0


def bundle_of(devices: int) -> Bundle:
    network = tiny()
    asked = options(network, devices, BATCH, precision="fp32", strategy="data")
    return compiled(network, replace(asked, target=target("fp32", "native")))[0]


def stuck(executable: CudaExecutable, device: int) -> int:
    """The place of the launch that is made to hang."""
    return next(
        place for place, item in enumerate(executable.items)
        if isinstance(each := item.instruction, Launch)
        and (each.layer, each.phase) == STUCK
        and device in item.waits
    )  # fmt: skip


def spin(stream: int) -> None:
    """Keep a stream busy."""
    import cupy

    from netc_kernels.cuda.source import stream_of

    kernel = cupy.RawKernel(SPIN, "spin")
    with stream_of(stream):
        kernel((1,), (1,), (SPIN_SECONDS * 10**9,))


def never(stream: int) -> None:
    """The same on a GPU that is none."""
    WORLD.put(stream, lambda: False)


def open_backend(bundle: Bundle, ranks: Ranks | None, pretends: bool) -> CudaBackend:
    programs = bundle.programs
    if not pretends:
        from netc_runtime.cuda.device import open_cuda

        return open_cuda(False, programs, "fp32", ranks)
    return CudaBackend(programs, "fp32", ranks, graph=False)


def happen(how: str, ranks: LocalRanks | None, made: Any, pretends: bool) -> None:
    """What keeps this process from its next step."""
    device = ranks.rank if ranks is not None else 0
    if how == "spins":
        made.train.work[stuck(made.train, device)] = never if pretends else spin
        return
    time.sleep(BEFORE_SECONDS)
    if how in ("killed", "stopped", "first"):
        os.kill(os.getpid(), signal.SIGKILL if how == "killed" else signal.SIGSTOP)
    if how == "absent":
        assert ranks is not None
        ranks.allgather(None)


def main(how: str, pretends: bool) -> None:
    alone = how == "alone"
    bundle = bundle_of(1 if alone else 2)
    ranks = None if alone else LocalRanks(2)
    world: AbstractContextManager[Any] = pretended() if pretends else nullcontext()
    with world:
        made = session(bundle, open_backend(bundle, ranks, pretends))
        images, labels = data(tiny(), BATCH, 0)
        # Pretended processes cannot hear each other: they hang in their first step.
        for step in range(1 if pretends else STEPS):
            last = pretends or step == STEPS - 1
            if last and (ranks is None or ranks.rank == (how != "first")):
                happen("spins" if alone else how, ranks, made, pretends)
            made.step(images, labels, step=step, seed=0, learning_rate=0.0)
    # One that was stopped may find all it needs, sent before the other ended; it is told yet.
    time.sleep(SECONDS_TO_BE_TOLD)
    sys.exit("the step has ended")


if __name__ == "__main__":
    try:
        main(sys.argv[1], "pretended" in sys.argv[2:])
    except NetError as error:
        # As the command line does: a process that goes on may see first that the other has ended.
        print(render(error.diagnostics), file=sys.stderr)
        sys.exit(error.exit_code)
