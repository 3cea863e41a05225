"""Kernels of programs compiled, and cuDNN's plans made ready, side by side before they run.

Each launch is gone through once with nothing started: kernels are compiled by threads, since the
compiler lets others run meanwhile, plans by other processes, since cuDNN's front end does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from netc.ir.program import Launch, Program
from netc.stages import staged
from netc_kernels.cuda.conv.apart import helpers_for, make_plans
from netc_kernels.cuda.conv.ready import WantedPlan
from netc_kernels.cuda.source import only_compiling
from netc_kernels.cuda.tensor import Tensor
from netc_runtime.cores import cores
from netc_runtime.cuda.backend import CudaBackend
from netc_runtime.cuda.kernels import LaunchBinder, Start
from netc_runtime.cuda.problems import explained
from netc_runtime.launch.ranks import Ranks
from netc_runtime.making import MadeSoFar

Memory = tuple[list[Tensor], list[Tensor]]
"""What a launch writes and reads."""
MOST_THREADS = 16
MADE = "kernels are compiled and cuDNN's plans made ready for this GPU"


@staged("kernels")
def make_ahead(
    backend: CudaBackend, programs: Sequence[Program], told: Callable[[str], None]
) -> None:
    """Compile what launches of programs want, and make the plans that are not kept; what takes long
    is `told` once. Raises DeviceError where that cannot be done.
    """
    import cupy

    device, stream = cupy.cuda.runtime.getDevice(), backend.stream(backend.devices[0], "compute")
    pool = ThreadPoolExecutor(min(cores(), MOST_THREADS), "netc-compile")
    compiling = _Compiling(pool, device, stream.ptr, MadeSoFar(MADE, told))
    try:
        with explained("made ready"):
            waiting: list[tuple[LaunchBinder, Launch, Memory]] = []
            wanted: dict[WantedPlan, None] = {}
            for device, launch, memory in _kinds(backend, programs):
                binder = backend.binders[device]
                plans, start = binder.wanted(launch.steps, launch.joined, *memory)
                if plans:
                    waiting.append((binder, launch, memory))
                    wanted |= dict.fromkeys(plans)
                else:
                    compiling.start(start)
            with staged("plans"):
                _make(backend, [*wanted], compiling)
            for binder, launch, memory in waiting:
                compiling.start(binder.bind(launch.steps, launch.joined, *memory))
            compiling.finish()
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Compiling:
    """Threads that compile what launches want, on one GPU."""

    pool: ThreadPoolExecutor
    device: int
    stream: int
    progress: MadeSoFar
    each: list[Future[None]] = field(default_factory=list)

    def start(self, start: Start) -> None:
        """Begin to compile what a launch wants."""
        self.each.append(self.pool.submit(self._compile, start))

    def finish(self) -> None:
        """Wait for all; raises what the compiler says."""
        for number, each in enumerate(self.each, 1):
            each.result()
            self.progress(number, len(self.each))

    def tell(self, plans: int, count: int) -> None:
        """So many plans of a number are made."""
        kernels = sum(each.done() for each in self.each)
        self.progress(kernels + plans, len(self.each) + count)

    def _compile(self, start: Start) -> None:
        import cupy

        # A thread begins with the first GPU.
        with cupy.cuda.Device(self.device), only_compiling():
            start(self.stream)


def _kinds(
    backend: CudaBackend, programs: Sequence[Program]
) -> Iterator[tuple[int, Launch, Memory]]:
    """The launches of this process's devices, each kind of them once."""
    seen: set[Any] = set()
    for program in programs:
        # devices of a class are equal
        for device in {program.class_of[each]: each for each in backend.devices}.values():
            for launch in program.of(device).instructions.values():
                if not isinstance(launch, Launch):
                    continue
                views = launch.writes, launch.reads
                writes, reads = ([backend.block(program, device, v) for v in own] for own in views)
                types = [(b.shape, b.dtype, b.nhwc, b.pointer % 16) for b in (*writes, *reads)]
                kind = launch.joined, launch.steps, len(writes), *types
                if kind not in seen:
                    seen.add(kind)
                    yield device, launch, (writes, reads)


def _make(backend: CudaBackend, wanted: Sequence[WantedPlan], compiling: _Compiling) -> None:
    """Have other processes make the plans that are not kept, where that pays. Those that run on
    this machine share them out.
    """
    import cupy

    place, ranks = backend.plans.place, backend.ranks
    missing = [each for each in wanted if place and not place.holds(each)]
    own, sharing = shared(ranks, missing)
    if place and place.takes_files():
        free, _ = cupy.cuda.runtime.memGetInfo()
        helpers = helpers_for(len(own), cores() // sharing, free)
        make_plans(
            own, place, compiling.device, helpers, lambda done: compiling.tell(done, len(own))
        )
    if ranks is not None:
        ranks.allgather(None)


def shared(ranks: Ranks | None, missing: list[WantedPlan]) -> tuple[list[WantedPlan], int]:
    """The part of what is missing on this machine that falls to this process; how many share it."""
    if ranks is None:
        return missing, 1
    told = ranks.allgather((ranks.host, missing))
    here = [rank for rank, (host, _) in enumerate(told) if host == ranks.host]
    every = dict.fromkeys(each for rank in here for each in told[rank][1])
    return [*every][here.index(ranks.rank) :: len(here)], len(here)
