"""The GPU's own clock, read by its streams in the middle of a step."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Literal, Protocol

import numpy as np

from netc.ir.program import Collective, Launch, Program
from netc_kernels.cuda import native
from netc_kernels.cuda.tensor import ITEM_BYTES, Tensor
from netc_runtime.backend import Place, StepTimes

Moment = Literal["came", "begun", "ended"]
"""A stream has come to an instruction; need wait no more for others of its device; is through."""
ALIGNMENTS = 5
"""How often the GPU's clock is read beside the host's; the closest counts."""


class Clock(Protocol):
    """Reads the time at some moments of some instructions."""

    def mark(self, moment: Moment, number: int, device: int, stream: int) -> None:
        """Have a stream of a device say when it is at this moment, if that is one to be known."""
        ...


class Stamps:
    """Places in the host's memory into which streams write the GPU's time, in nanoseconds."""

    def __init__(self, keys: Iterable[tuple[Any, ...]], stream: Any) -> None:
        """One place for each key; the stream is used to load what writes."""
        import cupy

        self.place = {key: place for place, key in enumerate(keys, 1)}
        size = len(self.place) + 1
        # With unified addresses a GPU writes pinned memory where the host has it.
        self.memory = cupy.cuda.alloc_pinned_memory(ITEM_BYTES["i64"] * size)
        self.times = np.frombuffer(self.memory, np.int64, size)
        # A kernel must be loaded before it is recorded.
        self.now(stream)

    def write(self, key: tuple[Any, ...], stream: int) -> None:
        """Have a stream write the time into a key's place, if that has one."""
        if key in self.place:
            self._write(self.place[key], stream)

    def read(self, key: tuple[Any, ...]) -> int:
        """What was written there last."""
        return int(self.times[self.place[key]])

    def now(self, stream: Any) -> int:
        """The GPU's time, once all that is on the stream has ended."""
        self._write(0, stream.ptr)
        stream.synchronize()
        return int(self.times[0])

    def _write(self, place: int, stream: int) -> None:
        pointer = self.times.ctypes.data + ITEM_BYTES["i64"] * place
        native.KERNELS["stamp"](Tensor(pointer, (), "i64"), stream=stream)


class WaitClock:
    """Reads the clock where a device's computing begins and ends to wait for exchanges."""

    def __init__(self, program: Program, device: int, stream: Any) -> None:
        self.device = device
        self.numbers = [
            number
            for number, each in enumerate(program.instructions)
            if isinstance(each, Launch)
            and each.class_ == program.class_of[device]
            and any(isinstance(program.instructions[w], Collective) for w in each.waits)
        ]
        keys = (("came", n) for n in self.numbers), (("begun", n) for n in self.numbers)
        self.stamps = Stamps((key for own in keys for key in own), stream)

    def mark(self, moment: Moment, number: int, device: int, stream: int) -> None:
        """Around the waits of the device's launches that wait for exchanges."""
        if device == self.device:
            self.stamps.write((moment, number), stream)

    def seconds(self) -> float:
        """All that was waited in the last run."""
        read = self.stamps.read
        return sum(read(("begun", n)) - read(("came", n)) for n in self.numbers) / 1e9


class StepClock:
    """Reads the clock where every instruction begins and ends, on every device of a process."""

    def __init__(self, places: Iterable[Place], stream: Any) -> None:
        """For a run that is to come; the stream is that at which runs begin and end."""
        self.places = list(places)
        moments: tuple[Moment, ...] = ("begun", "ended")
        self.stamps = Stamps(((m, *place) for m in moments for place in self.places), stream)
        self.begun, self.ahead, self.exact = 0, 0, 0
        """When the run is started, by the host's clock; how far that is ahead, and how exactly."""

    def start(self, stream: Any) -> None:
        """The run is started now; the GPU's clock is read beside the host's."""
        width, self.ahead = min(self._beside_host(stream) for _ in range(ALIGNMENTS))
        self.exact = -(-width // 2)
        self.begun = time.perf_counter_ns()

    def _beside_host(self, stream: Any) -> tuple[int, int]:
        """How long the GPU's time was asked for, and how far the host's is ahead of it."""
        stream.synchronize()
        before = time.perf_counter_ns()
        there = self.stamps.now(stream)
        after = time.perf_counter_ns()
        return after - before, (before + after) // 2 - there

    def mark(self, moment: Moment, number: int, device: int, stream: int) -> None:
        """Where the instruction begins and ends."""
        self.stamps.write((moment, number, device), stream)

    def times(self) -> StepTimes:
        """Those of the run that has ended, on the host's clock."""
        starts, ends = (
            {place: self.stamps.read((moment, *place)) + self.ahead for place in self.places}
            for moment in ("begun", "ended")
        )
        return StepTimes(min(self.begun, *starts.values()), starts, ends, self.exact)
