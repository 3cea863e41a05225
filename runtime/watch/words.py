"""Progress words: how far every stream of a step has come.

Work on a stream writes the number of the instruction that it has reached into a word of memory.
A thread that waits for nothing reads the words of all processes, which tell, where none of them
changes any more, who waits for whom and in which layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from netc.ir.program import Collective, Instruction, Program

HOST_SECONDS = 600.0
"""How long a host may compute, or carry messages, without a change that is seen."""
ProcessState = Literal["busy", "meeting", "running", "gone"]
"""Of a process: its host is at work, which takes as long as it takes; it waits for the others to
agree; a step is under way on its devices; it was stopped, or has ended."""
StreamKey = tuple[int, str]
"""A stream: its device and kind."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a process is at."""

    state: ProcessState = "busy"
    runs: int = 0
    """Programs that it has started so far."""
    program: int = -1
    """Which one is under way, in the order of loading; -1 for none."""
    words: tuple[tuple[StreamKey, int], ...] = ()
    """By stream of this process's devices: 0, or 1 more than the number of the instruction that it
    has reached. All earlier ones of that stream have ended."""
    messages: int = 0
    """Sent to other processes and got from them so far: what is long takes a while."""
    by_host: bool = False
    """Whether the host computes and carries messages itself, which may take minutes."""

    def reached(self, lane: StreamKey) -> int:
        """The instruction that a stream has reached; -1 for none."""
        return dict(self.words).get(lane, 0) - 1


@dataclass(frozen=True)
class WatchedProgram:
    """A program, and which of its instructions write a word. Not slotted: it caches them."""

    program: Program
    every: int
    """Launches of a stream from one that writes to the next, at least."""

    @cached_property
    def marked(self) -> frozenset[int]:
        """The instructions that write: collectives, and launches of another layer or phase."""
        found: set[int] = set()
        since: dict[tuple[int, str], tuple[int, tuple[str, str]]] = {}
        for number, instruction in enumerate(self.program.instructions):
            if isinstance(instruction, Collective):
                found.add(number)
                continue
            lane = instruction.class_, instruction.stream
            count, last = since.get(lane, (self.every, ("", "")))
            if count >= self.every and _layer(instruction) != last:
                found.add(number)
                count, last = 0, _layer(instruction)
            since[lane] = count + 1, last
        return frozenset(found)

    def place(self, lane: StreamKey, number: int) -> str:
        """Where a stream is, in words."""
        if number < 0:
            return "at the start of its step"
        instruction = self.program.instructions[number]
        if isinstance(instruction, Collective):
            return f"in the {instruction.kind} of layer {instruction.layer} ({instruction.phase})"
        layers = [_layer(each) for each in self._silent(lane, number)]
        (first, phase), (last, end) = layers[0], layers[-1]
        if (first, phase) == (last, end):
            return f"at {first} ({phase})"
        same = phase == end
        return (
            f"at {first} to {last} ({end})" if same else f"at {first} ({phase}) to {last} ({end})"
        )

    def has_ended(self, device: int, number: int, report: Report) -> bool:
        """Whether it is known of an instruction that it has ended on a device, because one that
        waits for it has begun.
        """
        return any(
            number in later.waits
            and self.program.class_of[device] in later.classes
            and report.reached((device, later.stream)) >= number + 1 + index
            for index, later in enumerate(self.program.instructions[number + 1 :])
        )

    def _silent(self, lane: StreamKey, number: int) -> Iterator[Instruction]:
        """An instruction and those after it on its stream, up to the next that writes."""
        class_ = self.program.class_of[lane[0]]
        for later, instruction in enumerate(self.program.instructions[number:], number):
            if instruction.stream == lane[1] and class_ in instruction.classes:
                if later > number and later in self.marked:
                    return
                yield instruction


def _layer(instruction: Instruction) -> tuple[str, str]:
    return instruction.layer, instruction.phase


class StallTimer:
    """How long nothing has moved."""

    def __init__(self, seconds: float) -> None:
        """So many seconds of standstill are too long, and so many for which a process is gone."""
        self.seconds, self.still, self.missed = seconds, 0.0, 0.0
        self.before: dict[int, Report] = {}

    def is_over(self, reports: Mapping[int, Report], period: float) -> bool:
        """Take what each process is at; to be called every `period` seconds.

        These are counted and not read from a clock, as all processes may be suspended together.
        """
        states = {report.state for report in reports.values()}
        still = "busy" not in states and reports == self.before
        self.still = self.still + period if still else 0.0
        self.missed = self.missed + period if "gone" in states else 0.0
        self.before = dict(reports)
        waits = "running" in states or "meeting" in states
        return self.still >= self.limit(reports) or (waits and self.missed >= self.seconds)

    def limit(self, reports: Mapping[int, Report]) -> float:
        """Seconds that are too long, as things are."""
        gone = any(report.state == "gone" for report in reports.values())
        slow = any(report.by_host for report in reports.values())
        return max(self.seconds, HOST_SECONDS) if slow and not gone else self.seconds
