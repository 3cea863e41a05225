"""The cuda backend: devices are GPUs, a step is one CUDA graph.

Every device has one arena, taken once, and a CUDA stream for each of the program's streams. The
instructions are issued in the program's order, each after the events of what it waits for. The
first run of a program issues them one by one; the second records them into a graph, which is
replayed from then on. Streams tell what they have reached in words that a thread of the host reads,
so that a run that hangs ends with the layer and the device that it waits for.

A process drives one GPU as one device of a run over several processes, or all devices of the
program on one GPU: slow, but the same program.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.program import (
    Collective,
    DeviceInstruction,
    GroupCollective,
    Launch,
    Port,
    Program,
    View,
)
from netc.ir.traffic import Traffic, summed
from netc.ir.types import ITEM_BYTES
from netc.stages import staged
from netc_kernels.cuda.clock import elapsed
from netc_kernels.cuda.tensor import Tensor
from netc_runtime.backend import StepReport, Timing
from netc_runtime.comm.device_copies import SharedGpu
from netc_runtime.comm.inprocess import Counter
from netc_runtime.comm.reach import PAGE_BYTES
from netc_runtime.cuda.clocks import Clock, StepClock, WaitClock
from netc_runtime.cuda.kernels import LaunchBinder, Start
from netc_runtime.cuda.plans import Plans
from netc_runtime.cuda.ports import PortWriter, is_finite, read
from netc_runtime.cuda.problems import explained
from netc_runtime.cuda.timing import LaunchClock
from netc_runtime.cuda.words import CudaWords
from netc_runtime.launch.ranks import Ranks
from netc_runtime.ports import is_everywhere, own_views, region, unfilled
from netc_runtime.watch.process import leave, stall_seconds, watch_alone
from netc_runtime.watch.words import Report, WatchedProgram

Array = NDArray[Any]
EAGER_RUNS = 1
"""Runs before a program is recorded: they load what must not be loaded while recording."""
MARKED_LAUNCHES = 8
"""Launches from one that writes its progress word to the next, in a graph: a word takes about as
long as a launch that has nothing to do."""


class CudaBackend:
    """Devices on this process's GPU."""

    name = "cuda"

    def __init__(
        self,
        programs: Sequence[Program],
        precision: str,
        ranks: Ranks | None = None,
        graph: bool = True,
        plans: Plans | None = None,
        watched: bool = True,
    ) -> None:
        """Take the memory of all devices here; `plans` names the vendor's plans known so far. With
        `watched`, the process ends where nothing moves.

        With `ranks`, this process has one device, the others the rest.
        """
        import cupy

        self.devices: Sequence[int] = (
            range(programs[0].mesh.size) if ranks is None else (ranks.rank,)
        )
        self.ranks, self.graph, self.precision = ranks, graph, precision
        self.plans = Plans() if plans is None else plans
        needed = {d: max(p.arena_bytes[p.class_of[d]] for p in programs) for d in self.devices}
        sizes = {d: max(-(-n // PAGE_BYTES), 1) * PAGE_BYTES for d, n in needed.items()}
        self.arenas = {d: cupy.cuda.runtime.malloc(n) for d, n in sizes.items()}
        for d, nbytes in sizes.items():
            cupy.cuda.runtime.memset(self.arenas[d], 255, nbytes)
        # Streams of programs do not wait for the one that this went to.
        cupy.cuda.runtime.deviceSynchronize()
        self.streams: dict[tuple[int, str], Any] = {}
        # The library's handle has memory of its own, which two streams must not use at once.
        self.binders = {d: LaunchBinder(precision, self.plans) for d in self.devices}
        self.loaded: list[CudaExecutable] = []
        self.watched: list[WatchedProgram] = []
        self.under_way: CudaExecutable | None = None
        self.runs = 0
        self.collectives: Any = None
        self.places = dict(self.arenas)
        """The arenas that this process's work may touch, by device."""
        if ranks is not None:
            from netc_runtime.comm.gpus import GpuGroups

            self.collectives = GpuGroups(ranks, self.arenas[ranks.rank])
            self.places |= self.collectives.arenas
            ranks.watch(self.report, self.watched)
        elif watched:
            watch_alone(0, self.report, self.watched, leave, stall_seconds())

    def report(self) -> Report:
        """What this process is at; any thread may ask, whatever the others wait for."""
        running = self.under_way
        if running is None or running.words.has_ended:
            return Report(runs=self.runs)
        return Report("running", self.runs, running.number, running.words.read())

    def stream(self, device: int, kind: str) -> Any:
        """The CUDA stream of a kind of stream."""
        import cupy

        if (device, kind) not in self.streams:
            self.streams[device, kind] = cupy.cuda.Stream(non_blocking=True)
        return self.streams[device, kind]

    def block(self, program: Program, device: int, view: View) -> Tensor:
        """The memory behind a program's view of a device, of this process or of one whose memory
        its GPU reaches.
        """
        buffer = program.buffer[view.buffer]
        start = buffer.offset + view.start * ITEM_BYTES[buffer.dtype]
        pointer = self.places[device] + start
        return Tensor(pointer, view.shape, buffer.dtype, view.format == "nhwc")

    def load(self, program: Program) -> CudaExecutable:
        """Bind every instruction to its memory and kernels."""
        made = CudaExecutable(program, self)
        self.loaded.append(made)
        return made

    def taken_bytes(self) -> int:
        """What is taken of the GPU now, by whomever."""
        import cupy

        free, whole = cupy.cuda.runtime.memGetInfo()
        return int(whole - free)

    def describe(self) -> Mapping[str, object]:
        """The GPU, versions, and how many GPUs of other processes it reaches."""
        import cupy

        from netc_kernels.cuda.conv import vendor

        found = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        return {"backend": self.name, "gpu": found["name"].decode(), "cupy": cupy.__version__,
                "cuda": cupy.cuda.runtime.runtimeGetVersion(),
                "reached_gpus": len(self.places) - len(self.arenas),
                "cudnn": None if vendor.missing() else vendor.version()}  # fmt: skip

    def close(self) -> None:
        """Leave the other processes, or where there are none give the memory back: else others may
        have it open.
        """
        import cupy

        cupy.cuda.runtime.deviceSynchronize()
        for executable in self.loaded:
            # A graph that holds collectives must go before their communicators.
            executable.recorded = executable.traced = None
            executable.writer.close()
        if self.collectives is not None:
            self.collectives.close()
        else:
            for pointer in self.arenas.values():
                cupy.cuda.runtime.free(pointer)
        self.arenas = self.places = {}


@dataclass(frozen=True, slots=True)
class _Item:
    """An instruction as some devices of this process do it together."""

    number: int
    """In the program."""
    instruction: DeviceInstruction
    waits: dict[int, tuple[int, ...]]
    """By device of this process what it waits for."""


class CudaExecutable:
    """A program bound to the arenas of a CudaBackend."""

    def __init__(self, program: Program, backend: CudaBackend) -> None:
        import cupy

        self.program, self.backend = program, backend
        self.number = len(backend.watched)
        backend.watched.append(WatchedProgram(program, MARKED_LAUNCHES if backend.graph else 1))
        self.words = CudaWords(backend.watched[-1], backend.devices)
        waited = {w for i in program.instructions for w in i.waits}
        self.events: dict[tuple[int, int], Any] = {
            (number, d): cupy.cuda.Event(disable_timing=True)
            for number in waited
            for d in backend.devices
            if program.class_of[d] in program.instructions[number].classes
        }
        if backend.collectives is not None:
            found = (i for i in program.instructions if isinstance(i, Collective))
            every = [program.in_group(i, group) for i in found for group in program.groups(i)]
            backend.collectives.prepare(every)
        self.items = self._items()
        used = {i.stream for i in program.instructions} | {"compute"}
        self.streams = [backend.stream(d, kind) for d in backend.devices for kind in sorted(used)]
        self.origin = backend.stream(backend.devices[0], "compute")
        with explained("made ready"):
            self.work = self._bind_all()
        self.moved = self._moved()
        self.runs = 0
        self.recorded: Any = None
        self.traced: tuple[StepClock, Any] | None = None
        """The clock of a traced run that is under way, and its graph."""
        self.filled: set[str] = set()
        self.writer = PortWriter(self.origin)

    def _items(self) -> list[_Item]:
        """What this process's devices do, in the program's order."""
        items: dict[tuple[int, tuple[int, ...]], _Item] = {}
        for device in self.backend.devices:
            for number, instruction in self.program.of(device).instructions.items():
                devices = (device,) if isinstance(instruction, Launch) else instruction.devices
                item = items.setdefault((number, devices), _Item(number, instruction, {}))
                item.waits[device] = instruction.waits
        return [items[key] for key in sorted(items)]

    def _bind_all(self) -> list[Start]:
        """Bind every instruction; all processes take the same kernels for the same products.

        Values that each of them computes for itself must stay equal to the bit.
        """
        made = self._bind_each()
        ranks, plans = self.backend.ranks, self.backend.plans
        if ranks is None:
            return made
        agreed: dict[str, str] = {}
        for each in reversed(ranks.allgather(dict(plans))):
            agreed |= each
        changed = {key: name for key, name in agreed.items() if plans.get(key, name) != name}
        plans.update(agreed)
        if not changed:
            return made
        return self._bind_each()

    def _bind_each(self) -> list[Start]:
        return [self._bound(item) for item in self.items]

    def _moved(self) -> Traffic:
        """Bytes that a run copies from one device to another, by both, over all processes."""
        counter = Counter()
        for start in self.work:
            for giver, taker, nbytes in getattr(start, "moved", ()):
                counter.count(giver, taker, nbytes)
        moved, ranks = counter.take(), self.backend.ranks
        return summed([moved] if ranks is None else ranks.allgather(moved))

    def run(self) -> StepReport:
        """Execute all instructions once and wait for the end."""
        self.start()
        return self.finish()

    def start(self, traced: bool = False) -> None:
        """Execute all instructions once, without waiting for them."""
        try:
            with explained("run"):
                self._begin(traced)
        except BaseException:
            # Nobody is to wait for what has not begun.
            self.backend.under_way = None
            raise

    def _begin(self, traced: bool) -> None:
        lacking = unfilled(self.program, self.filled)
        assert not lacking, f"nobody wrote {lacking}"
        backend = self.backend
        if backend.graph and self.runs == EAGER_RUNS:
            self.recorded = self._record()
        if traced:
            self._prepare_trace()
        if backend.under_way is None:
            self.words.clear()
        backend.runs += 1
        # The first run loads kernels and joins other GPUs, for as long as that takes.
        backend.under_way = self if self.runs else None
        self.runs += 1
        self.writer.place()
        self.began = time.perf_counter()
        if self.traced is not None:
            self._trace(*self.traced)
        elif self.recorded is not None:
            self.recorded.launch(self.origin)
        else:
            self._issue()
        backend.under_way = self

    def _prepare_trace(self) -> None:
        """A run as it usually is, with the clock read around every instruction."""
        places = ((item.number, device) for item in self.items for device in item.waits)
        clock = StepClock(places, self.origin)
        graph = self._record(clock) if self.recorded is not None else None
        self.traced = clock, graph

    def _trace(self, clock: StepClock, graph: Any) -> None:
        clock.start(self.origin)
        if graph is None:
            self._issue(clock=clock)
        else:
            graph.launch(self.origin)

    def finish(self) -> StepReport:
        """Wait for what `start` began."""
        try:
            with explained("run"):
                self.origin.synchronize()
        finally:
            self.backend.under_way = None
        seconds = time.perf_counter() - self.began
        traced, self.traced = self.traced, None
        times = None if traced is None else traced[0].times()
        return StepReport(seconds, None, dict(self.moved), times)

    def measure(self, repeats: int) -> Timing:
        """Execute all instructions `repeats` times, again with the clock read around waits for
        exchanges, and again with launches alone and repeated.

        Those that overwrite what they read come last: what others make of that means nothing.
        """
        steps = elapsed(self.start, self.origin, repeats)
        exposed = self._exposed(repeats)
        clock = LaunchClock(repeats, self.backend.graph)
        for overwriting in (False, True):
            self._issue(self._timed(clock, overwriting))
            self.finish()
        return Timing(steps, clock.seconds, exposed)

    def _exposed(self, repeats: int) -> float:
        """Usual seconds in which the first device's computing waits for exchanges."""
        if not any(isinstance(each, Collective) for each in self.program.instructions):
            return 0.0  # and so in all processes
        clock = WaitClock(self.program, self.backend.devices[0], self.origin)
        go = partial(self._issue, clock=clock)
        if self.backend.graph:
            go = partial(self._record(clock).launch, self.origin)
        found = []
        for _ in range(repeats):
            go()
            self.finish()
            found.append(clock.seconds())
        return median(found)

    def block(self, device: int, view: View) -> Tensor:
        """The memory behind a view of a device."""
        return self.backend.block(self.program, device, view)

    def write(self, port: Port, value: Array) -> None:
        """Put the blocks of a global tensor where the program reads them."""
        self.filled.add(port.name)
        for device, view in own_views(self.program, port, self.backend.devices):
            self.writer.write(self.block(device, view), np.asarray(value)[region(view)])

    def stage(self, port: Port, value: Array) -> None:
        """Bring the blocks of a global tensor to the devices; `start` puts them in place."""
        self.filled.add(port.name)
        for device, view in own_views(self.program, port, self.backend.devices):
            self.writer.stage(self.block(device, view), np.asarray(value)[region(view)])

    def read(self, port: Port, into: Array | None = None) -> Array:
        """The global tensor of a port, copied; bfloat16 comes as float32."""
        self.origin.synchronize()
        own = own_views(self.program, port, self.backend.devices)
        everywhere = is_everywhere(self.program, port)
        own = own[:1] if everywhere else own
        blocks = [(view, read(self.block(device, view))) for device, view in own]
        if self.backend.ranks is not None and not everywhere:
            blocks = self.backend.ranks.blocks(blocks)
        dtype = np.int64 if port.dtype == "i64" else np.float32
        whole = np.empty(port.shape, dtype) if into is None else into
        for view, block in blocks:
            whole[region(view)] = block
        return whole

    def is_finite(self, port: Port) -> bool:
        """Whether the blocks of a port on the devices here hold no NaN or infinity."""
        self.origin.synchronize()
        views = own_views(self.program, port, self.backend.devices)
        return all(is_finite(self.block(device, view), self.origin) for device, view in views)

    def _bound(self, item: _Item) -> Start:
        """What an instruction starts on this process's devices."""
        instruction = item.instruction
        if isinstance(instruction, Launch):
            (device,) = item.waits
            writes, reads = (
                [self.block(device, view) for view in views]
                for views in (instruction.writes, instruction.reads)
            )
            return self.backend.binders[device].bind(
                instruction.steps, instruction.joined, writes, reads
            )
        return self._communicator()(instruction, self.block)

    def _communicator(self) -> Callable[[GroupCollective, Callable[[int, View], Tensor]], Start]:
        """What makes collectives, between processes or inside one."""
        backend = self.backend
        if backend.ranks is None:
            return SharedGpu
        made: Callable[[GroupCollective, Callable[[int, View], Tensor]], Start]
        made = backend.collectives.collective
        return made

    @staged("record")
    def _record(self, clock: Clock | None = None) -> Any:
        """The step as a CUDA graph, with a clock read in it if asked."""
        import cupy

        self.origin.begin_capture(cupy.cuda.runtime.streamCaptureModeThreadLocal)
        try:
            self._issue(clock=clock)
        finally:
            graph = self.origin.end_capture()
        return graph

    def _timed(self, clock: LaunchClock, overwriting: bool) -> list[Start]:
        """The work, where the first device's launches of one sort are timed."""
        work, first = list(self.work), self.backend.devices[0]
        for place, item in enumerate(self.items):
            launch = item.instruction
            if not isinstance(launch, Launch) or first not in item.waits:
                continue
            written = {self.block(first, view).pointer for view in launch.writes}
            over = any(self.block(first, view).pointer in written for view in launch.reads)
            if over == overwriting:
                work[place] = clock.timed(item.number, work[place], self.origin)
        return work

    def _issue(self, work: Sequence[Start] | None = None, clock: Clock | None = None) -> None:
        """Start every instruction, or `work` for it, on its stream, after what it waits for."""
        import cupy

        work = self.work if work is None else work
        others = [stream for stream in self.streams if stream is not self.origin]
        fork = cupy.cuda.Event(disable_timing=True)
        fork.record(self.origin)
        for stream in others:
            stream.wait_event(fork)
        for item, start in zip(self.items, work, strict=True):
            self._start(item, start, clock)
        for stream in others:
            join = cupy.cuda.Event(disable_timing=True)
            join.record(stream)
            self.origin.wait_event(join)
        self.words.end(self.origin.ptr)

    def _start(self, item: _Item, start: Start, clock: Clock | None) -> None:
        import cupy

        number, here = item.number, list(item.waits)
        streams = [self.backend.stream(d, item.instruction.stream) for d in here]
        for device, stream in zip(here, streams, strict=True):
            if clock is not None:
                clock.mark("came", number, device, stream.ptr)
            for wait in item.waits[device]:
                stream.wait_event(self.events[wait, device])
            if clock is not None:
                clock.mark("begun", number, device, stream.ptr)
            self.words.mark(number, device, stream.ptr)
        lead = streams[0]
        for stream in streams[1:]:
            came = cupy.cuda.Event(disable_timing=True)
            came.record(stream)
            lead.wait_event(came)
        start(lead.ptr)
        for stream in streams[1:]:
            ended = cupy.cuda.Event(disable_timing=True)
            ended.record(lead)
            stream.wait_event(ended)
        for device, stream in zip(here, streams, strict=True):
            if clock is not None:
                clock.mark("ended", number, device, stream.ptr)
            if (number, device) in self.events:
                self.events[number, device].record(stream)
