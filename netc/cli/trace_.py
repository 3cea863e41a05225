"""`netc trace`: where the time of a traced step goes, who waits for whom, what was predicted."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from netc.api.figures import seconds_text
from netc.cli.output import json_line, table
from netc.errors import clip
from netc.export.words import amount, plural
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


def run(options: argparse.Namespace) -> int:
    """Read a trace and say what it shows; of several steps the mean."""
    trace = read_trace(Path(options.file))
    predicted = Accounts(trace, measured=False)
    measured = Accounts(trace, measured=True) if trace.is_measured else None
    (_json if options.json else _show)(trace, predicted, measured, options.top)
    return 0


def _json(trace: StepTrace, predicted: Accounts, measured: Accounts | None, top: int) -> None:
    shown = measured or predicted
    for account in shown.devices():
        json_line(event="device", **asdict(account))
    for peak in shown.peaks():
        json_line(event="memory", **asdict(peak))
    for wait in shown.waits()[:top]:
        json_line(event="wait", **asdict(wait))
    if measured is not None:
        for each in (*by_stream(predicted, measured), *by_layer(predicted, measured)[:top]):
            kind = "layer" if each.layer else "stream"
            json_line(event=kind, **{k: v for k, v in asdict(each).items() if v != ""})
    json_line(
        event="result", network=trace.network, devices=trace.devices, strategy=trace.strategy,
        scheme=trace.scheme, batch=trace.batch, precision=trace.precision, backend=trace.backend,
        prices=trace.prices,
        measured=trace.is_measured, steps=[step.step for step in trace.steps],
        step_seconds=_mean([step.measured for step in trace.steps]),
        predicted_seconds=_mean([step.predicted for step in trace.steps]),
        exact_seconds=trace.exact / SECOND,
    )  # fmt: skip


def _show(trace: StepTrace, predicted: Accounts, measured: Accounts | None, top: int) -> None:
    shown = measured or predicted
    print(_about(trace))
    print(table(("device", "computes", "exchanges", "waits", "idle", "hidden"),
                _device_rows(shown.devices())))  # fmt: skip
    if peaks := shown.peaks():
        header = ("device", "memory", "after", "in step", "layer", "phase")
        print("\n" + table(header, map(_peak_row, peaks), left=1))
    if waits := shown.waits():
        _show_waits(waits, len(trace.steps), top)
    if measured is not None:
        _show_differences(predicted, measured, top)


def _show_waits(waits: list[Wait], steps: int, top: int) -> None:
    pairs = waits_by_pair(waits, steps)[:top]
    rows = ((f"{device}", f"{other}", seconds_text(seconds)) for device, other, seconds in pairs)
    print("\n" + table(("device", "waits for", "a step"), rows))
    header = ("longest waits", "phase", "exchange", "device", "for", "step", "time")
    print("\n" + table(header, (_wait_row(each) for each in waits[:top]), left=3))


def _show_differences(predicted: Accounts, measured: Accounts, top: int) -> None:
    figures = ("predicted", "measured", "difference", "of it")
    streams = ((d.stream, *_figures(d)) for d in by_stream(predicted, measured))
    print("\n" + table(("stream", *figures), streams))
    found = by_layer(predicted, measured)[:top]
    layers = ((_name(d.layer), d.phase, d.stream, *_figures(d)) for d in found)
    print("\n" + table(("largest differences", "phase", "stream", *figures), layers, left=3))


def _about(trace: StepTrace) -> str:
    scheme = f", scheme {trace.scheme}" if trace.scheme else ""
    how = f"strategy {trace.strategy}{scheme}, batch {trace.batch:,}, {trace.precision}"
    lines = [f"network   {_name(trace.network)}: {plural(trace.devices, 'device')}, {how}",
             f"backend   {_name(trace.backend)}"]  # fmt: skip
    machine = _name(trace.prices)
    before = _mean([step.predicted for step in trace.steps])
    took = _mean([step.measured for step in trace.steps])
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
    return "\n".join(lines) + "\n"


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
