"""What a trace of a run says: where the time goes, who waits for whom, what was predicted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from netc.api.calls import checked_call, checked_calls
from netc.api.choices import number
from netc.api.figures import seconds_text, table, terminal_columns
from netc.api.values import path_text
from netc.errors import clip
from netc.export.words import amount, plural
from netc.numbers import COUNT
from netc.trace.account import (
    SECOND,
    Accounts,
    DeviceAccount,
    Difference,
    MemoryPeak,
    Wait,
    by_layer,
    by_stream,
    waits_by_pair,
)
from netc.trace.read import read_trace
from netc.trace.spans import StepTrace

NAME_LIMIT = 60
"""Characters of a name that are shown."""
TOP = 10
"""So many waits, and layers, are shown where nothing is said."""
_DEVICES = ("device", "computes", "exchanges", "waits", "idle", "hidden")
_MEMORY = ("device", "memory", "after", "in step", "layer", "phase")
_WAITS = ("longest waits", "phase", "exchange", "device", "for", "step", "time")
_FIGURES = ("predicted", "measured", "difference", "of it")


@checked_calls
@dataclass(frozen=True, eq=False, repr=False)
class TraceAnalysis:
    """What a trace says; tables of that. Of several steps it is the mean; times are seconds."""

    trace: StepTrace
    """What the file has."""

    @cached_property
    def predicted(self) -> Accounts:
        """By the prices of the program."""
        return Accounts(self.trace, measured=False)

    @cached_property
    def measured(self) -> Accounts | None:
        """By the clock; None where the step was only predicted."""
        return Accounts(self.trace, measured=True) if self.trace.is_measured else None

    @property
    def devices(self) -> tuple[DeviceAccount, ...]:
        """Where each device's step goes: as measured, or else as predicted."""
        return tuple(self._shown.devices())

    @property
    def peaks(self) -> tuple[MemoryPeak, ...]:
        """When each device has most bytes in use."""
        return tuple(self._shown.peaks())

    @property
    def waits(self) -> tuple[Wait, ...]:
        """Who waited for whom, the longest first."""
        return tuple(self._shown.waits())

    @property
    def streams(self) -> tuple[Difference, ...]:
        """By stream what was predicted and measured; nothing where nothing was measured."""
        return () if self.measured is None else tuple(by_stream(self.predicted, self.measured))

    @property
    def layers(self) -> tuple[Difference, ...]:
        """The same by layer and pass, the largest difference first."""
        return () if self.measured is None else tuple(by_layer(self.predicted, self.measured))

    @property
    def step_seconds(self) -> float | None:
        """Of a step, as measured."""
        return _mean([step.measured for step in self.trace.steps])

    @property
    def predicted_seconds(self) -> float | None:
        """Of a step, by the prices of the program."""
        return _mean([step.predicted for step in self.trace.steps])

    def table(self, columns: int | None = None, top: int = TOP) -> str:
        """All tables, with the `top` longest waits and largest differences, as wide as so many
        columns.
        """
        most = int(number(COUNT)("top", top))
        parts = [
            _about(self),
            table(_DEVICES, _device_rows(self.devices), columns=columns),
        ]
        if self.peaks:
            parts.append(table(_MEMORY, map(_peak_row, self.peaks), columns=columns))
        if self.waits:
            pairs = waits_by_pair(list(self.waits), len(self.trace.steps))[:most]
            rows = ((f"{d}", f"{other}", seconds_text(seconds)) for d, other, seconds in pairs)
            parts.append(table(("device", "waits for", "a step"), rows, columns=columns))
            longest = map(_wait_row, self.waits[:most])
            parts.append(table(_WAITS, longest, 3, columns=columns))
        if self.measured is not None:
            streams = ((d.stream, *_figures(d)) for d in self.streams)
            parts.append(table(("stream", *_FIGURES), streams, columns=columns))
            header = ("largest differences", "phase", "stream", *_FIGURES)
            found = self.layers[:most]
            layers = ((_name(d.layer), d.phase, d.stream, *_figures(d)) for d in found)
            parts.append(table(header, layers, 3, columns=columns))
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        """All tables, as wide as the terminal."""
        return self.table(terminal_columns())

    @property
    def _shown(self) -> Accounts:
        return self.measured or self.predicted


@checked_call
def load_trace(path: str | os.PathLike[str]) -> TraceAnalysis:
    """Read a trace, X.json: what `run(trace=...)` or `netc run --trace` wrote.

    Raises DataError where it cannot be read, or is none.
    """
    return TraceAnalysis(read_trace(Path(path_text("path", path))))


def _about(found: TraceAnalysis) -> str:
    trace = found.trace
    scheme = f", scheme {trace.scheme}" if trace.scheme else ""
    how = f"strategy {trace.strategy}{scheme}, batch {trace.batch:,}, {trace.precision}"
    lines = [f"network   {_name(trace.network)}: {plural(trace.devices, 'device')}, {how}",
             f"backend   {_name(trace.backend)}"]  # fmt: skip
    machine = _name(trace.prices)
    before, took = found.predicted_seconds, found.step_seconds
    if took is None:
        lines.append(f"step      {seconds_text(before or 0.0)} predicted for {machine}; nothing is "
                     "measured")  # fmt: skip
    else:
        numbers = [f"{step.step}" for step in trace.steps]
        which = f"step {numbers[0]}" if len(numbers) == 1 else f"mean of steps {_span(numbers)}"
        lines.append(f"step      {seconds_text(took)} measured ({which}), "
                     f"{seconds_text(before or 0.0)} predicted for {machine}")  # fmt: skip
    if trace.exact:
        lines.append(f"clocks    agree to {seconds_text(trace.exact / SECOND)}")
    return "\n".join(lines)


def _span(numbers: Sequence[str]) -> str:
    return f"{numbers[0]} to {numbers[-1]}"


def _name(text: str) -> str:
    return clip(text, NAME_LIMIT)


def _mean(nanoseconds: Sequence[int | None]) -> float | None:
    known = [each for each in nanoseconds if each is not None]
    return sum(known) / len(known) / SECOND if known else None


def _device_rows(accounts: Sequence[DeviceAccount]) -> Iterator[tuple[str, ...]]:
    for each in accounts:
        parts = (each.computing, each.exchanging, each.waiting, each.idle, each.hidden)
        yield (f"{each.device}", *(_share(part, each.seconds) for part in parts))


def _share(seconds: float, whole: float) -> str:
    """A time, and the part of the step that it is."""
    return f"{seconds_text(seconds)} {100 * seconds / whole:3.0f} %" if seconds and whole else "-"


def _peak_row(peak: MemoryPeak) -> tuple[str, ...]:
    nbytes, after = amount(peak.peak_bytes, "B"), seconds_text(peak.seconds)
    return (f"{peak.device}", nbytes, after, f"{peak.step}", _name(peak.layer), peak.phase)


def _wait_row(wait: Wait) -> tuple[str, ...]:
    return (_name(wait.layer), wait.phase, _name(wait.kind), f"{wait.device}", f"{wait.other}",
            f"{wait.step}", seconds_text(wait.seconds))  # fmt: skip


def _figures(each: Difference) -> tuple[str, ...]:
    off = f"{100 * each.seconds / each.predicted:+.0f} %" if each.predicted else "-"
    difference = f"{'-' if each.seconds < 0 else '+'}{seconds_text(abs(each.seconds))}"
    return seconds_text(each.predicted), seconds_text(each.measured), difference, off
