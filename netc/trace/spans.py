"""The values of a trace: what ran on a device, from when to when. Times are whole nanoseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from netc.ir.clock import Timeline
from netc.ir.program import Program

Place = tuple[int, int]
"""An instruction's number, and a device that does it."""


@dataclass(frozen=True, slots=True)
class StepSpans:
    """A step that was run, on the clock of the first device's process."""

    step: int
    """How many steps the training had done after it."""
    begun: int
    """When the first device began."""
    spans: Mapping[Place, tuple[int, int]]
    """By instruction and device when it began, once all that it waits for there had ended, and
    when it ended."""


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """An instruction on one device, in one step."""

    step: int
    measured: bool
    """Else predicted."""
    device: int
    number: int
    """The instruction's, in the program."""
    start: int
    """From the start of the first step. A measured exchange begins when this device has come to
    it, a predicted one when all have."""
    end: int
    stream: str
    layer: str
    phase: str
    kind: str
    """What it does: "conv + relu", "all_reduce"."""
    waits: tuple[int, ...] = ()
    """Instructions that must have ended on this device."""
    devices: tuple[int, ...] = ()
    """Those that do an exchange together; empty where it computes."""

    @property
    def lane(self) -> tuple[int, bool, str]:
        """Where nothing else runs at the same time, within a step."""
        return self.device, self.measured, self.stream


@dataclass(frozen=True, slots=True)
class MemoryLevel:
    """Bytes that a device has in use from a moment on."""

    measured: bool
    """By when instructions ran; else by when they are predicted to."""
    device: int
    start: int
    """From the start of the first step."""
    nbytes: int


@dataclass(frozen=True, slots=True)
class TracedStep:
    """A step of a trace."""

    step: int
    """How many steps the training had done after it; 0 where none was run."""
    begun: int
    predicted: int
    """Nanoseconds that it was predicted to take."""
    measured: int | None
    """Nanoseconds that it took, from the first instruction's start to the last one's end; None
    where it was not run."""


@dataclass(frozen=True, slots=True)
class StepTrace:
    """Steps of a training, in order."""

    network: str
    strategy: str
    scheme: str
    batch: int
    precision: str
    backend: str
    prices: str
    """The machine that the prediction is for."""
    devices: int
    exact: int
    """Nanoseconds by which times of different devices may be off beside each other."""
    steps: tuple[TracedStep, ...]
    spans: tuple[TraceSpan, ...]
    memory: tuple[MemoryLevel, ...] = ()
    """In order of time on every device; empty where a trace has no counters."""

    @property
    def is_measured(self) -> bool:
        """Whether its steps were run."""
        return all(step.measured is not None for step in self.steps)


def nanoseconds(seconds: float) -> int:
    """Whole nanoseconds."""
    return round(seconds * 1e9)


def predicted_spans(program: Program, line: Timeline) -> dict[Place, tuple[int, int]]:
    """When every instruction runs on every device, by the clock."""
    times = [class_times(program, line, class_) for class_ in range(len(program.classes))]
    return {
        (number, device): span
        for device, class_ in enumerate(program.class_of)
        for number, span in times[class_].items()
    }


def class_times(program: Program, line: Timeline, class_: int) -> dict[int, tuple[int, int]]:
    """When every instruction of a class of devices runs, by the clock."""
    return {
        number: (nanoseconds(line.starts[number, class_]), nanoseconds(line.ends[number, class_]))
        for number in program.numbers[class_]
    }


def last_end(spans: Mapping[Place, tuple[int, int]]) -> int:
    """When the last of them ended; 0 without any."""
    return max((end for _, end in spans.values()), default=0)


def in_lanes(spans: Iterator[TraceSpan]) -> list[TraceSpan]:
    """In the order of steps, devices and lanes, and of time within them."""
    return sorted(spans, key=lambda s: (s.step, s.device, s.stream, s.measured, s.start, s.number))
