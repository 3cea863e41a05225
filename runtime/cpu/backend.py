"""The cpu backend: every device is a thread with an arena of its own, kernels are NumPy's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.program import (
    Collective,
    DeviceInstruction,
    DeviceProgram,
    Launch,
    Port,
    Program,
    View,
    accesses,
)
from netc.ir.types import ITEM_BYTES
from netc_kernels.cpu.threads import Pool
from netc_runtime.backend import StepReport, StepTimes, Timing
from netc_runtime.comm.inprocess import Counter, Rendezvous
from netc_runtime.comm.mpi import MpiCollective
from netc_runtime.cores import cores
from netc_runtime.cpu.bind import bind
from netc_runtime.executor import Executor, Task
from netc_runtime.launch.mpi import MpiRanks
from netc_runtime.memory import peak_bytes
from netc_runtime.ports import is_everywhere, own_views, region, unfilled
from netc_runtime.watch.process import leave, stall_seconds, watch_alone
from netc_runtime.watch.words import Report, WatchedProgram

Array = NDArray[Any]
ALIGNMENT_BYTES = 64
TOGETHER = 1 << 16
"""Numbers of a block that a thread copies or looks at at once: what is known of each stays in the
cache then."""
DTYPES: Mapping[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
    "i64": np.dtype(np.int64),
    "u8": np.dtype(np.uint8),
}


class CpuBackend:
    """Devices of one process. Kernels see only views of their own device's arena."""

    name = "cpu"

    def __init__(
        self,
        programs: Sequence[Program],
        poison: bool = False,
        ranks: MpiRanks | None = None,
        threads: int = 1,
        watched: bool = True,
    ) -> None:
        """One arena a device, large enough for every program, and `threads` for its kernels. With
        `watched`, the process ends where nothing moves.

        With `poison`, fresh bytes and those of ended values are NaN, so that a use of what is not
        there shows in the result. With `ranks`, this process has one device, the others the rest.
        """
        self.devices: Sequence[int] = (
            range(programs[0].mesh.size) if ranks is None else (ranks.rank,)
        )
        sizes = {d: max(p.arena_bytes[p.class_of[d]] for p in programs) for d in self.devices}
        self.arenas = {d: _aligned(-(-n // 8) * 8) for d, n in sizes.items()}
        self.poison, self.ranks = poison, ranks
        self.pools = {d: Pool(threads) for d in self.devices}
        self.watched: list[WatchedProgram] = []
        self.loaded: list[CpuExecutable] = []
        self.under_way: CpuExecutable | None = None
        self.runs = 0
        if poison:
            for arena in self.arenas.values():
                arena.view(np.float64).fill(np.nan)
        if ranks is not None:
            ranks.watch(self.report, self.watched)
        elif watched and len(self.devices) > 1:
            watch_alone(0, self.report, self.watched, leave, stall_seconds())

    def report(self) -> Report:
        """What this process is at; any thread may ask, whatever the others wait for."""
        running = self.under_way
        if running is None:
            return Report(runs=self.runs, by_host=True)
        words = running.executor.reached()
        return Report("running", self.runs, running.number, words, by_host=True)

    def load(self, program: Program) -> CpuExecutable:
        """Bind every instruction to its arrays."""
        self.loaded.append(CpuExecutable(program, self))
        return self.loaded[-1]

    def close(self) -> None:
        """End the threads, once what they are at has ended, and let the memory go."""
        for executable in self.loaded:
            executable.close()
        for pool in self.pools.values():
            pool.close()
        self.loaded, self.arenas = [], {}

    def taken_bytes(self) -> int:
        """The most memory that this process had: arenas, images and checkpoints on their way."""
        return peak_bytes()

    def describe(self) -> Mapping[str, object]:
        """Devices and versions."""
        place = "threads of one process" if self.ranks is None else "MPI ranks"
        return {"backend": self.name, "devices": place, "numpy": np.__version__,
                "cores": cores()}  # fmt: skip


class CpuExecutable:
    """A program bound to the arenas of a CpuBackend."""

    def __init__(self, program: Program, backend: CpuBackend) -> None:
        self.program, self.backend = program, backend
        self.number = len(backend.watched)
        backend.watched.append(WatchedProgram(program, 1))
        self.traffic = Counter()
        self.staged: dict[str, tuple[Port, Array]] = {}
        self.filled: set[str] = set()
        self.report = StepReport()
        self.meetings: dict[tuple[int, tuple[int, ...]], Rendezvous] = {}
        """By instruction and group of devices."""
        own = [program.of(d) for d in backend.devices]
        self.poisoner = _Poisoner(self, own) if backend.poison else None
        ended = self.poisoner.ended if self.poisoner else None
        polls = backend.ranks is not None
        self.exchanges = any(isinstance(i, Collective) for i in program.instructions)
        self.executor = Executor(own, self._task, ended, polls)

    def close(self) -> None:
        """Nothing runs any more."""
        self.executor.close()
        self.meetings = {}

    def run(self, times: StepTimes | None = None) -> StepReport:
        """Execute all instructions once, a thread each device; `times` takes their times."""
        lacking = unfilled(self.program, self.filled)
        assert not lacking, f"nobody wrote {lacking}"
        if self.poisoner:
            self.poisoner.restart()
        self.backend.runs += 1
        self.backend.under_way = self
        try:
            seconds = self.executor.run(times)
        finally:
            self.backend.under_way = None
        busy = min(sum(each.values()) for each in self.executor.seconds.values())
        exposed = seconds - busy if self.exchanges else 0.0
        return StepReport(seconds, exposed, self.traffic.take(), times)

    def stage(self, port: Port, value: Array) -> None:
        """Keep the next value of an input until `start`."""
        self.staged[port.name] = (port, value)

    def start(self, traced: bool = False) -> None:
        """Execute all instructions once; it is over when this returns."""
        for port, value in self.staged.values():
            self.write(port, value)
        self.staged = {}
        self.report = self.run(StepTimes() if traced else None)

    def finish(self) -> StepReport:
        """What the last run took."""
        return self.report

    def measure(self, repeats: int) -> Timing:
        """Execute all instructions so many times; launches are timed where they stand."""
        steps: list[float] = []
        launches: list[dict[int, float]] = []
        for _ in range(repeats):
            steps.append(self.run().seconds)
            launches.append(self.executor.seconds[self.backend.devices[0]])
        usual = {number: median(each[number] for each in launches) for number in launches[0]}
        rests = (whole - sum(each.values()) for whole, each in zip(steps, launches, strict=True))
        return Timing(tuple(steps), usual, median(rests) if self.exchanges else 0.0)

    def run_interleaved(self, seed: int, times: StepTimes | None = None) -> StepReport:
        """Execute all instructions once, in one of the orders that the waits allow."""
        if self.poisoner:
            self.poisoner.restart()
        self.executor.run_interleaved(seed, times)
        return StepReport(traffic=self.traffic.take(), times=times)

    def open(self, device: int, view: View) -> Array:
        """The array behind a device's view."""
        buffer = self.program.buffer[view.buffer]
        return self._array(device, buffer.offset, buffer.dtype, view)

    def write(self, port: Port, value: Array) -> None:
        """Put the blocks of a global tensor where the program reads them."""
        self.filled.add(port.name)
        with np.errstate(over="ignore"):  # what it becomes is looked at where it is used
            for device, view in own_views(self.program, port, self.backend.devices):
                self.open(device, view)[...] = value[region(view)]

    def read(self, port: Port, into: Array | None = None) -> Array:
        """The global tensor of a port, copied."""
        whole = np.empty(port.shape, DTYPES[port.dtype]) if into is None else into
        own = own_views(self.program, port, self.backend.devices)
        everywhere = is_everywhere(self.program, port)
        own = own[:1] if everywhere else own
        blocks = [(view, self.open(device, view)) for device, view in own]
        if self.backend.ranks is not None and not everywhere:
            blocks = self.backend.ranks.blocks(blocks)
        pool = self.backend.pools[self.backend.devices[0]]
        for view, block in blocks:
            if block.size < TOGETHER:
                whole[region(view)] = block
            else:
                rows = -(-TOGETHER * len(block) // block.size)
                pool.run(len(block), rows, _copy, whole[region(view)], block)
        return whole

    def is_finite(self, port: Port) -> bool:
        """Whether the blocks of a port on the devices here hold no NaN or infinity."""
        views = own_views(self.program, port, self.backend.devices)
        blocks = ((self.backend.pools[d], self.open(d, view).ravel("K")) for d, view in views)
        bad: list[int] = []
        for pool, block in blocks:
            pool.run(block.size, TOGETHER, _look, block, bad)
        return not bad

    def _array(self, device: int, offset: int, dtype: str, view: View) -> Array:
        start = offset + view.start * ITEM_BYTES[dtype]
        shape = view.shape
        if view.format == "nhwc":
            n, c, h, w = shape
            stored: Array = np.ndarray(
                (n, h, w, c), DTYPES[dtype], self.backend.arenas[device], start
            )
            return stored.transpose(0, 3, 1, 2)
        return np.ndarray(shape, DTYPES[dtype], self.backend.arenas[device], start)

    def _task(self, number: int, instruction: DeviceInstruction, device: int) -> Task:
        if isinstance(instruction, Launch):
            return self._kernel(instruction, device)
        if self.backend.ranks is not None:
            ranks = self.backend.ranks
            return MpiCollective(number, instruction, self.open, ranks, self.traffic).advance
        key = number, instruction.devices
        if key not in self.meetings:
            self.meetings[key] = Rendezvous(
                instruction, self.open, self.traffic, lambda: self.executor.notify()
            )
        position = instruction.devices.index(device)
        return functools.partial(self.meetings[key].advance, position)

    def _kernel(self, launch: Launch, device: int) -> Task:
        writes, reads = (
            [self.open(device, view) for view in views] for views in (launch.writes, launch.reads)
        )
        pool = self.backend.pools[device]
        return quiet(bind(launch.steps, launch.joined, writes, reads, pool))


def quiet(call: Callable[[], None]) -> Task:
    """A launch as a task that warns of nothing."""

    def task() -> bool:
        # A training that explodes is told by its loss, not by a warning of every kernel.
        with np.errstate(over="ignore", invalid="ignore"):
            call()
        return True

    return task


def _copy(target: Array, source: Array, thread: int, start: int, stop: int) -> None:
    """Copy some rows."""
    target[start:stop] = source[start:stop]


def _look(numbers: Array, bad: list[int], thread: int, start: int, stop: int) -> None:
    """Note where some of the numbers are not finite."""
    if not np.isfinite(numbers[start:stop]).all():
        bad.append(start)


def _aligned(nbytes: int) -> NDArray[np.uint8]:
    """Fresh bytes that begin at a multiple of a cache line, as offsets in programs do."""
    whole = np.empty(nbytes + ALIGNMENT_BYTES, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT_BYTES
    return whole[start : start + nbytes]


class _Poisoner:
    """Overwrites temporary bytes with NaN when the last access to them has ended."""

    def __init__(self, executable: CpuExecutable, programs: Sequence[DeviceProgram]) -> None:
        self.executable = executable
        self.program = executable.program
        kept = {v.buffer for port in self.program.outputs for v in port.views}
        self.total: dict[tuple[int, str], int] = {}
        self.touched: dict[tuple[int, int], set[str]] = {}
        for own in programs:
            class_ = self.program.class_of[own.device]
            for number in own.instructions:
                reads, writes = accesses(self.program.instructions[number], class_)
                names = {view.buffer for view in (*reads, *writes)} - kept
                buffers = [self.program.buffer[name] for name in names]
                touched = {b.name for b in buffers if b.kind == "temporary"}
                self.touched[number, own.device] = touched
                for name in touched:
                    self.total[own.device, name] = self.total.get((own.device, name), 0) + 1
        self.left: dict[tuple[int, str], int] = {}

    def restart(self) -> None:
        """A new step begins."""
        self.left = dict(self.total)

    def ended(self, number: int, device: int) -> None:
        """An instruction ended on a device."""
        class_ = self.program.class_of[device]
        _, writes = accesses(self.program.instructions[number], class_)
        written = [self.program.buffer[view.buffer] for view in writes]
        for name in self.touched[number, device]:
            self.left[device, name] -= 1
            buffer = self.program.buffer[name]
            alive = any(
                w.name != name
                and w.offset < buffer.offset + buffer.nbytes
                and buffer.offset < w.offset + w.nbytes
                for w in written
            )
            if not self.left[device, name] and not alive and buffer.nbytes:
                arena = self.executable.backend.arenas[device]
                arena[buffer.offset : buffer.offset + buffer.nbytes] = 255
