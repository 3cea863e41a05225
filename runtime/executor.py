"""The executor: every device runs its streams in order, each instruction after its waits.

An instruction on a device is a task that is tried until it says it has ended: a launch ends at
once, a collective when all its devices came. One thread a device takes whatever stream can go on.
One thread can also interleave all tasks at random: results never change, which the tests use.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from netc.errors import DeviceError, Diagnostic
from netc.ir.program import STREAMS, DeviceInstruction, DeviceProgram, Launch
from netc_runtime.backend import StepTimes
from netc_runtime.watch.pause import Pause
from netc_runtime.watch.words import StreamKey

Task = Callable[[], bool]
"""Goes on with an instruction on a device; True once it has ended there."""
MakeTask = Callable[[int, DeviceInstruction, int], Task]
"""From an instruction's number, itself and a device to its task."""
Ended = Callable[[int, int], None]
"""Told the number of an instruction and the device on which it ended."""


@dataclass(slots=True)
class _Lane:
    """One stream of one device."""

    device: int
    stream: str
    numbers: tuple[int, ...]
    tasks: tuple[Task, ...]
    waits: tuple[tuple[int, ...], ...]
    """Waits of every task on this device."""
    computes: tuple[bool, ...]
    """Whether a task is a launch: the stream of computation has exchanges, too."""
    position: int = 0


class Executor:
    """Runs a program's tasks on some of its devices."""

    def __init__(
        self,
        programs: Sequence[DeviceProgram],
        make: MakeTask,
        ended: Ended | None = None,
        polls: bool = False,
    ) -> None:
        """A program as it is on each device; with `polls`, other devices are in other processes
        and wake nobody here.
        """
        self.polls, self.ended = polls, ended
        self.programs = {each.device: each for each in programs}
        self.devices = tuple(self.programs)
        self.lanes = {d: _lanes(each, make) for d, each in self.programs.items()}
        self.length = 1 + max((n for each in programs for n in each.instructions), default=-1)
        self.done = {d: bytearray(self.length) for d in self.devices}
        self.seconds: dict[int, dict[int, float]] = {d: {} for d in self.devices}
        """What the last run's launches took, by device and instruction."""
        self.changed = threading.Condition()
        self.version = 0
        self.times: StepTimes | None = None
        """What takes the times of the run that is under way, if it is traced."""
        self.failure: BaseException | None = None
        self.pause = Pause()
        self.pool: ThreadPoolExecutor | None = None

    def run(self, times: StepTimes | None = None) -> float:
        """All devices at once, a thread each; the seconds it took. `times` takes those of all
        instructions.

        Raises DeviceError naming device, instruction and layer where one failed.
        """
        self._restart(times)
        start = time.perf_counter()
        if len(self.devices) == 1:
            self._device(self.devices[0])
        else:
            self.pool = self.pool or ThreadPoolExecutor(len(self.devices), "netc-device")
            self._all_devices(self.pool)
        if self.failure is not None:
            raise self.failure
        return time.perf_counter() - start

    def close(self) -> None:
        """End the threads, once what they are at has ended; nothing runs any more."""
        if self.pool is not None:
            self.pool.shutdown()
        self.pool, self.lanes = None, {}

    def _all_devices(self, pool: ThreadPoolExecutor) -> None:
        try:
            for future in [pool.submit(self._device, d) for d in self.devices]:
                future.result()
        except BaseException as error:  # this thread was interrupted, and waits no more
            self._fail(error)

    def reached(self) -> tuple[tuple[StreamKey, int], ...]:
        """By stream 1 more than the number of the instruction that it has reached, 0 for none,
        without devices that have ended while others go on; any thread may ask.
        """
        lanes = [lane for each in self.lanes.values() for lane in each]
        open_ = {lane.device for lane in lanes if lane.position < len(lane.numbers)}
        return tuple(
            ((lane.device, lane.stream), self._reached(lane))
            for lane in lanes
            if lane.device in open_ or not open_
        )

    def _reached(self, lane: _Lane) -> int:
        position, done = lane.position, self.done[lane.device]
        if position == len(lane.numbers) or not all(done[w] for w in lane.waits[position]):
            position -= 1
        return lane.numbers[position] + 1 if position >= 0 else 0

    def run_interleaved(self, seed: int, times: StepTimes | None = None) -> None:
        """All devices in one thread, in a random order that the waits allow."""
        self._restart(times)
        choose = random.Random(seed)
        lanes = [lane for d in self.devices for lane in self.lanes[d]]
        while open_ := [lane for lane in lanes if lane.position < len(lane.numbers)]:
            seen = self.version
            went_on = False
            while open_ and not went_on:
                went_on = self._try(open_.pop(choose.randrange(len(open_))))
            assert went_on or self.version != seen, "the program cannot go on"

    def _restart(self, times: StepTimes | None) -> None:
        """The join that begins a step."""
        self.failure, self.times = None, times
        for device in self.devices:
            self.done[device] = bytearray(self.length)
            self.seconds[device] = {}
            for lane in self.lanes[device]:
                lane.position = 0
        if times is not None:
            times.begun = time.perf_counter_ns()

    def _device(self, device: int) -> None:
        """One device until all its streams have ended, or another failed."""
        open_ = list(self.lanes[device])
        while open_ and self.failure is None:
            seen = self.version
            progress = [self._guarded(lane) for lane in open_]
            open_ = [lane for lane in open_ if lane.position < len(lane.numbers)]
            if any(progress):
                self.pause.end()
            elif self.failure is None:
                self._await_change(seen)

    def _guarded(self, lane: _Lane) -> bool:
        try:
            return self._try(lane)
        except BaseException as error:  # whatever it is, the others must not wait for this device
            self._fail(_failed(self.programs[lane.device], lane, error))
            return False

    def _fail(self, error: BaseException) -> None:
        """All devices stop, before their next instruction."""
        with self.changed:
            self.failure = self.failure or error
            self.changed.notify_all()

    def _try(self, lane: _Lane) -> bool:
        """Go on with a stream's next instruction; True if it ended."""
        position = lane.position
        if position == len(lane.numbers):
            return False
        done = self.done[lane.device]
        for wait in lane.waits[position]:
            if not done[wait]:
                return False
        number, times = lane.numbers[position], self.times
        if times is not None:
            times.begin(number, lane.device)
        start = time.perf_counter()
        if not lane.tasks[position]():
            return False
        if times is not None:
            times.end(number, lane.device)
        if lane.computes[position]:
            self.seconds[lane.device][number] = time.perf_counter() - start
        done[number] = 1
        lane.position = position + 1
        if self.ended is not None:
            self.ended(number, lane.device)
        return True

    def notify(self) -> None:
        """Wake devices that wait: a collective went on."""
        with self.changed:
            self.version += 1
            self.changed.notify_all()

    def _await_change(self, seen: int) -> None:
        if self.polls:
            self.pause.sleep()
            return
        with self.changed:
            self.changed.wait_for(lambda: self.version != seen or self.failure is not None)


def _lanes(program: DeviceProgram, make: MakeTask) -> list[_Lane]:
    """The device's streams, communication before computation so that nobody waits for it long."""
    lanes = []
    for stream in (*STREAMS[1:], STREAMS[0]):
        mine = [
            (number, instruction)
            for number, instruction in program.instructions.items()
            if instruction.stream == stream
        ]
        if mine:
            lanes.append(
                _Lane(
                    program.device,
                    stream,
                    tuple(number for number, _ in mine),
                    tuple(
                        make(number, instruction, program.device) for number, instruction in mine
                    ),
                    tuple(i.waits for _, i in mine),
                    tuple(isinstance(i, Launch) for _, i in mine),
                )
            )
    return lanes


def _failed(program: DeviceProgram, lane: _Lane, error: BaseException) -> BaseException:
    """The error with its place; an interruption is nobody's error."""
    if not isinstance(error, Exception):
        return error
    number = lane.numbers[min(lane.position, len(lane.numbers) - 1)]
    instruction = program.instructions[number]
    kind = instruction.name if isinstance(instruction, Launch) else instruction.kind
    message = (
        f"device {lane.device} failed in instruction {number} ({kind} '{instruction.node}', "
        f"layer '{instruction.layer}'): {type(error).__name__}: {error}."
    )
    failure = DeviceError(Diagnostic("E070", message))
    failure.__cause__ = error
    return failure
