"""Progress words: what streams say of themselves, and what is made of it when nothing moves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cuda_cases import target
from harness import compiled, data, options, session, tiny
from hypothesis import given
from pretend import pretended
from pretend.streams import WORLD
from random_networks import Case, cases, free_cases

from netc.errors import DeviceError
from netc.ir.program import Collective, Instruction, Launch, Program
from netc_kernels import cuda
from netc_runtime.cuda.backend import CudaBackend, CudaExecutable
from netc_runtime.watch.process import stall_seconds
from netc_runtime.watch.standstill import has_lost, stands_still
from netc_runtime.watch.words import Report, StallTimer, WatchedProgram

HANG = Path(__file__).with_name("hang.py")
needs_gpus = [
    pytest.mark.multi_gpu,
    pytest.mark.skipif(cuda.found()[0] < 2, reason="there are fewer than two GPUs"),
]
needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(cuda.available()), reason=cuda.available() or "a GPU is here"),
]


def opened(case: Case, graph: bool) -> tuple[Any, CudaBackend]:
    asked = options(case.network, case.mesh, case.batch, pins=case.pins, precision="fp32")
    bundle, _ = compiled(case.network, replace(asked, target=target("fp32", "native")))
    backend = CudaBackend(bundle.programs, "fp32", graph=graph)
    return session(bundle, backend), backend


def train(made: Any, case: Case, step: int) -> None:
    rows = next(p.shape[0] for p in made.bundle.train.inputs if p.name == "labels")
    made.step(*data(case.network, rows, step), step=step, seed=0, learning_rate=0.01)


def devices_of(program: Program, instruction: Instruction) -> list[int]:
    return [d for d, class_ in enumerate(program.class_of) if class_ in instruction.classes]


class Witness:
    """Notes what of a run has ended on every stream, besides what streams write themselves."""

    def __init__(self, executable: CudaExecutable) -> None:
        self.executable = executable
        self.lanes: dict[tuple[int, str], list[int]] = {}
        for item in executable.items:
            for device in item.waits:
                self.lanes.setdefault((device, item.instruction.stream), []).append(item.number)
        self.cleared = executable.words.clear
        self.clear()
        executable.words.clear = self.clear  # type: ignore[method-assign]
        executable.work = [self.noting(place, start) for place, start in enumerate(executable.work)]

    def clear(self) -> None:
        self.cleared()
        self.ended = dict.fromkeys(self.lanes, 0)
        self.named = dict.fromkeys(self.lanes, 0)

    def noting(self, place: int, start: Callable[[int], None]) -> Callable[[int], None]:
        def run(stream: int) -> None:
            start(stream)
            WORLD.put(stream, work)

        def work() -> bool:
            self.end(place)
            return True

        return run

    def end(self, place: int) -> None:
        item, marked = self.executable.items[place], self.executable.words.watched.marked
        number = item.number
        for lane in [(device, item.instruction.stream) for device in item.waits]:
            assert self.lanes[lane][self.ended[lane]] == number
            self.ended[lane] += 1
            if number in marked:
                self.named[lane] = number + 1

    def check(self) -> None:
        """What a word names may be under way; all before it has ended, and nothing that writes
        has ended after it.
        """
        for lane, word in self.executable.words.read():
            numbers = self.lanes[lane]
            assert self.named[lane] <= word <= numbers[min(self.ended[lane], len(numbers) - 1)] + 1


@pytest.mark.parametrize("graph", [True, False])
@cases(10)
@given(case=free_cases())
def test_words_name_what_streams_have_reached(case: Case, graph: bool) -> None:
    with pretended(case.seed):
        made, _ = opened(case, graph)
        witness = Witness(made.train)
        WORLD.watch = witness.check
        for step in range(3):
            train(made, case, step)
            assert all(
                len(numbers) == witness.ended[lane] for lane, numbers in witness.lanes.items()
            )
        check_last(made.train)


def check_last(executable: CudaExecutable) -> None:
    """After a step the words name the last instructions that write any."""
    assert executable.words.has_ended
    last: dict[tuple[int, str], int] = {}
    for number in sorted(executable.words.watched.marked):
        each = executable.program.instructions[number]
        here = devices_of(executable.program, each)
        last |= dict.fromkeys(((device, each.stream) for device in here), number + 1)
    assert dict(executable.words.read()) == last


def program_of(devices: int) -> Program:
    asked = options(tiny(), devices, 12, precision="fp32", strategy="hybrid")
    return compiled(tiny(), replace(asked, target=target("fp32", "native")))[0].train


def words_before(program: Program, device: int, number: int) -> Mapping[tuple[int, str], int]:
    """The words of a device that does an instruction, and has done all before it."""
    words: dict[tuple[int, str], int] = {}
    for index, each in enumerate(program.instructions):
        if program.class_of[device] in each.classes:
            words.setdefault((device, each.stream), 0)
            if index <= number:
                words[device, each.stream] = index + 1
    return words


def at(program: Program, device: int, number: int, **more: Any) -> Report:
    words = tuple(words_before(program, device, number).items())
    return replace(Report("running", 4, 0, words), **more)


def launch_before(program: Program, device: int, number: int) -> int:
    """The last launch of a device before an instruction."""
    return next(
        index for index in reversed(range(number))
        if isinstance(each := program.instructions[index], Launch)
        and device in devices_of(program, each)
    )  # fmt: skip


PROGRAM = program_of(3)
LAUNCHES = [
    n for n, each in enumerate(PROGRAM.instructions)
    if isinstance(each, Launch) and 1 in devices_of(PROGRAM, each)
]  # fmt: skip
COLLECTIVES = [
    n for n, each in enumerate(PROGRAM.instructions)
    if n > LAUNCHES[0] and isinstance(each, Collective)
]  # fmt: skip


@pytest.mark.parametrize("number", COLLECTIVES)
def test_the_device_that_does_not_come_is_named(number: int) -> None:
    """Devices 0 and 2 wait in any collective, device 1 has not got so far."""
    collective, programs = PROGRAM.instructions[number], [WatchedProgram(PROGRAM, 1)]
    assert isinstance(collective, Collective)
    assert devices_of(PROGRAM, collective) == [0, 1, 2]
    waits = f"device 0 waits in the {collective.kind} of layer {collective.layer} "
    before = launch_before(PROGRAM, 1, number)
    ready = {device: at(PROGRAM, device, number) for device in (0, 2)}
    launch = PROGRAM.instructions[before]
    place = f"it is at {launch.layer} ({launch.phase}); {waits}({collective.phase})."
    said = {
        "device 1 has not moved for 7 s: " + place: at(PROGRAM, 1, before),
        "device 1 has not moved for 7 s: it is between two steps; " + waits: Report("meeting", 3),
        "the process of device 1 has been stopped for 7 s; " + waits: Report("gone", 3),
    }
    for message, report in said.items():
        found = stands_still(programs, {**ready, 1: report}, 7.0)
        assert found.message.startswith(message)
    lost = has_lost(programs, {**ready, 1: at(PROGRAM, 1, before)}, 1, " (signal 9)")
    assert lost.message.startswith(f"the process of device 1 ended (signal 9); {waits}")


def test_a_device_that_waits_itself_is_not_blamed() -> None:
    """Device 2 waits for 1, and 1 for 0."""
    first, second = COLLECTIVES[:2]
    reports = {
        0: at(PROGRAM, 0, launch_before(PROGRAM, 0, first)),
        1: at(PROGRAM, 1, first), 2: at(PROGRAM, 2, second),
    }  # fmt: skip
    found = stands_still([WatchedProgram(PROGRAM, 1)], reports, 10.0)
    assert found.message.startswith("device 0 has not moved for 10 s: it is at ")
    assert len(found.notes) == 3


def test_a_device_that_ended_the_step_is_waited_for_by_nobody() -> None:
    number = COLLECTIVES[0]
    reports = {0: at(PROGRAM, 0, number), 1: Report("meeting", 4), 2: Report("meeting", 4)}
    found = stands_still([WatchedProgram(PROGRAM, 1)], reports, 10.0)
    assert found.message.startswith("device 0 has not moved for 10 s")


def test_patience_ends_where_nothing_moves_and_nobody_works() -> None:
    still = {0: at(PROGRAM, 0, 5), 1: Report("meeting", 3)}
    timer = StallTimer(1.0)
    assert not any(timer.is_over(still, 0.25) for _ in range(4))
    assert timer.is_over(still, 0.25)
    assert not timer.is_over({**still, 0: at(PROGRAM, 0, LAUNCHES[-1])}, 0.25)
    busy = {**still, 1: Report("busy", 3)}
    assert not any(timer.is_over(busy, 0.25) for _ in range(99))
    assert not any(timer.is_over(still, 0.25) for _ in range(4))


@pytest.mark.parametrize("told", ["soon", "0", "-1", "nan"])
def test_the_limit_is_a_number(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_STALL_SECONDS", told)
    with pytest.raises(DeviceError, match="NETC_STALL_SECONDS"):
        stall_seconds()


SAID = {
    "killed": r"the process of device 1 ended \(signal 9\); device 0 waits in the all_reduce of ",
    "stopped": r"the process of device 1 has been stopped for \d s; device 0 waits in the ",
    "absent": r"device 1 has not moved for \d s: it is between two steps; device 0 waits in the ",
    "spins": r"device 1 has not moved for \d s: it is at conv2 \(backward\); device 0 waits in ",
    "first": r"the process of device 0 has been stopped for \d s; device 1 waits in the ",
    "alone": r"device 0 has not moved for \d s: it is at conv2 \(backward\)\.",
}
"""What becomes of a process, and the message."""


def check_hang(how: str, seconds: str, *more: str) -> None:
    """A run in which a device does not come ends, and says which and where the others wait."""
    environment = {**os.environ, "NETC_STALL_SECONDS": seconds}
    asked = [sys.executable, str(HANG), how, *more]
    with subprocess.Popen(asked, stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stderr is not None
        try:
            first = next(line for line in run.stderr if "E070" in line)
            run.wait(40)
        finally:
            run.kill()
        # What is stopped cannot end by itself.
        code = -signal.SIGKILL if how == "first" else 6
        assert run.returncode == code, run.stderr.read()
    assert re.search(SAID[how], first)
    assert how == "alone" or re.search(r"of layer \w+ \((forward|backward|update)\)\.", first)


@pytest.mark.parametrize("how", SAID)
def test_a_hang_ends_and_is_told(how: str) -> None:
    check_hang(how, "1", "pretended")


@pytest.mark.parametrize("how", [*(pytest.param(h, marks=needs_gpus) for h in SAID if h != "alone"),
                                 pytest.param("alone", marks=needs_gpu)])  # fmt: skip
def test_a_hang_of_a_gpu_ends_and_is_told(how: str) -> None:
    check_hang(how, "3")


@pytest.mark.parametrize("graph", [pytest.param(g, marks=needs_gpu) for g in (True, False)])
def test_a_gpu_writes_words(graph: bool) -> None:
    asked = options(tiny(), 1, 12, precision="fp32")
    bundle, _ = compiled(tiny(), replace(asked, target=target("fp32", "native")))
    backend = CudaBackend(bundle.programs, "fp32", graph=graph)
    made = session(bundle, backend)
    assert isinstance(made.train, CudaExecutable)
    for step in range(3):
        made.step(*data(tiny(), 12, step), step=step, seed=0, learning_rate=0.01)
        check_last(made.train)
        made.train.words.clear()
    made.close()
