"""What a trace says: where the time of every device goes, who waits for whom, and where what was
measured is not what was predicted. Of several steps it is the mean. Times are seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from netc.ir.program import STREAMS
from netc.trace.intervals import Intervals, length, minus, union
from netc.trace.spans import MemoryLevel, StepTrace, TraceSpan

SECOND = 10**9
"""Nanoseconds."""
Key = tuple[int, int, int]
"""A step, a device, an instruction's number."""


@dataclass(frozen=True, slots=True)
class DeviceAccount:
    """Where a device's step goes; `computing` to `idle` add up to it."""

    device: int
    seconds: float
    """Of the step, until the last device has ended."""
    computing: float
    exchanging: float
    """It does not compute, and takes part in an exchange to which all have come."""
    waiting: float
    """It does neither, and has come to an exchange to which another has not."""
    idle: float
    """The rest: the device has nothing to do, or its host was not so fast."""
    hidden: float
    """Of `computing`, that in which it exchanges as well."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A device that does nothing because another has not come to an exchange."""

    step: int
    device: int
    other: int
    """Who came last."""
    number: int
    """The exchange's, in the program."""
    kind: str
    layer: str
    phase: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Difference:
    """What a device does on a stream, predicted and measured: the mean of all devices."""

    stream: str
    layer: str
    """Empty for all of the stream, as `phase`."""
    phase: str
    predicted: float
    measured: float

    @property
    def seconds(self) -> float:
        """By how much it took longer than predicted."""
        return self.measured - self.predicted


@dataclass(frozen=True, slots=True)
class MemoryPeak:
    """When a device has most bytes in use."""

    device: int
    peak_bytes: int
    seconds: float
    """From the start of the step, for the first time."""
    step: int
    layer: str
    """What runs then, or ran before; empty at the start."""
    phase: str


@dataclass(frozen=True, slots=True)
class _Sets:
    """When a device does what, in one step."""

    computing: Intervals
    exchanging: Intervals
    waiting: Intervals


class Accounts:
    """What the measured spans of a trace say, or the predicted ones."""

    def __init__(self, trace: StepTrace, measured: bool) -> None:
        self.trace, self.measured = trace, measured
        self.spans = [span for span in trace.spans if span.measured == measured]
        self.came = {_key(s): s.start for s in self.spans} if measured else dict(self._ready())
        """When a device had come to an instruction: nothing on it was to end before."""
        self.last = dict(self._last())
        """By exchange who came last, and when."""
        self.own: dict[tuple[int, int], list[TraceSpan]] = defaultdict(list)
        """By step and device."""
        for span in self.spans:
            self.own[span.step, span.device].append(span)

    def _ready(self) -> Iterator[tuple[Key, int]]:
        """A predicted exchange begins when all can: when each could is known from what it needs."""
        ends = {_key(span): span.end for span in self.spans}
        begun = {step.step: step.begun for step in self.trace.steps}
        before: dict[tuple[int, int, str], int] = {}
        for span in self.spans:
            lane = span.step, span.device, span.stream
            needed = [ends[span.step, span.device, wait] for wait in span.waits]
            yield _key(span), max(before.get(lane, begun[span.step]), *needed, 0)
            before[lane] = span.end

    def _last(self) -> Iterator[tuple[Key, tuple[int, int]]]:
        for span in self.spans:
            if span.devices:
                came = ((self.came[span.step, d, span.number], -d) for d in span.devices)
                when, device = max(came)
                yield _key(span), (-device, when)

    def working(self, span: TraceSpan) -> tuple[int, int]:
        """When an instruction computes, or exchanges and waits for nobody any more."""
        begun = self.last[_key(span)][1] if span.devices else span.start
        # Clocks of different devices agree only so far.
        return min(max(begun, span.start), span.end), span.end

    def devices(self) -> list[DeviceAccount]:
        """Where the time goes, by device."""
        return [self._account(device) for device in range(self.trace.devices)]

    def _account(self, device: int) -> DeviceAccount:
        whole = computing = exchanging = waiting = hidden = 0
        for step in self.trace.steps:
            sets = self._sets(step.step, device)
            alone = length(minus(sets.exchanging, sets.computing))
            whole += (step.measured if self.measured else step.predicted) or 0
            computing += length(sets.computing)
            exchanging += alone
            hidden += length(sets.exchanging) - alone
            waiting += length(self._nothing_else(sets, sets.waiting))
        idle = max(whole - computing - exchanging - waiting, 0)
        figures = (whole, computing, exchanging, waiting, idle, hidden)
        return DeviceAccount(device, *(f / len(self.trace.steps) / SECOND for f in figures))

    def _sets(self, step: int, device: int) -> _Sets:
        own = self.own[step, device]
        moving = [span for span in own if span.devices]
        return _Sets(
            union((s.start, s.end) for s in own if not s.devices),
            union(self.working(s) for s in moving),
            union((self.came[_key(s)], self.working(s)[0]) for s in moving),
        )

    def _nothing_else(self, sets: _Sets, moments: Intervals) -> Intervals:
        """Of some moments those in which a device neither computes nor exchanges."""
        return minus(minus(moments, sets.computing), sets.exchanging)

    def peaks(self) -> list[MemoryPeak]:
        """Where each device's memory is fullest; nothing where the trace does not say it."""
        most: dict[int, MemoryLevel] = {}
        for level in self.trace.memory:
            if level.measured == self.measured:
                known = most.setdefault(level.device, level)
                most[level.device] = level if level.nbytes > known.nbytes else known
        return [self._peak(most[device]) for device in sorted(most)]

    def _peak(self, level: MemoryLevel) -> MemoryPeak:
        begun = [step for step in self.trace.steps if step.begun <= level.start]
        step = begun[-1] if begun else self.trace.steps[0]
        over = (s for s in self.own[step.step, level.device] if s.start <= level.start)
        # What computes says more than what is exchanged beside it.
        last = max(over, key=lambda s: (s.end > level.start, not s.devices, s.start), default=None)
        during = (last.layer, last.phase) if last is not None else ("", "")
        seconds = (level.start - step.begun) / SECOND
        return MemoryPeak(level.device, level.nbytes, seconds, step.step, *during)

    def waits(self) -> list[Wait]:
        """Who does nothing because whom it waits for, the longest first."""
        found = [wait for (step, device) in self.own for wait in self._waits(step, device)]
        return sorted(found, key=lambda w: (-w.seconds, w.step, w.device, w.number))

    def _waits(self, step: int, device: int) -> Iterator[Wait]:
        sets = self._sets(step, device)
        for span in self.own[step, device]:
            if not span.devices or self.last[_key(span)][0] == device:
                continue
            moments = union([(self.came[_key(span)], self.working(span)[0])])
            waited = length(self._nothing_else(sets, moments))
            if waited:
                other = self.last[_key(span)][0]
                yield Wait(step, device, other, span.number, span.kind, span.layer, span.phase,
                           waited / SECOND)  # fmt: skip


def waits_by_pair(waits: list[Wait], steps: int) -> list[tuple[int, int, float]]:
    """Who waits for whom, and how long in a step, the longest first."""
    sums: dict[tuple[int, int], float] = defaultdict(float)
    for wait in waits:
        sums[wait.device, wait.other] += wait.seconds
    pairs = ((device, other, seconds / steps) for (device, other), seconds in sums.items())
    return sorted(pairs, key=lambda each: (-each[2], *each[:2]))


def by_stream(predicted: Accounts, measured: Accounts) -> list[Difference]:
    """What every stream does, predicted and measured."""
    found = _differences(predicted, measured, lambda span: (span.stream, "", ""))
    return sorted(found, key=lambda each: STREAMS.index(each.stream))


def by_layer(predicted: Accounts, measured: Accounts) -> list[Difference]:
    """What every layer does in each phase on each stream, the largest difference first."""
    found = _differences(predicted, measured, lambda span: (span.stream, span.layer, span.phase))
    return sorted(found, key=lambda each: -abs(each.seconds))


def _differences(
    predicted: Accounts, measured: Accounts, part: Callable[[TraceSpan], tuple[str, str, str]]
) -> list[Difference]:
    sums: dict[tuple[str, str, str], list[int]] = {}
    for place, accounts in enumerate((predicted, measured)):
        for span in accounts.spans:
            begun, end = accounts.working(span)
            sums.setdefault(part(span), [0, 0])[place] += end - begun
    shares = predicted.trace.devices * len(predicted.trace.steps)
    return [
        Difference(*key, *(each / shares / SECOND for each in figures))
        for key, figures in sums.items()
    ]


def _key(span: TraceSpan) -> Key:
    return span.step, span.device, span.number
