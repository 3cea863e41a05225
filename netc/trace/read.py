"""Reading traces: only what `netc.trace.write` writes, whole, or an error with its place."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from netc.errors import DataError, Diagnostic, Source, Span, clip, escaped
from netc.ir.program import STREAMS
from netc.numbers import MOST_DEVICES
from netc.text import Unreadable, line_span, read_text, shown_name
from netc.trace.spans import MemoryLevel, StepTrace, TracedStep, TraceSpan, in_lanes
from netc.trace.write import FORMAT, MOST_SPANS, counter_of, process_of, thread_of

LIMIT_BYTES = 2**30
"""How long a trace may be; what writes them writes none that is longer."""
MOST_BYTES = 2**60
"""Bytes that a device may have in use."""
LONGEST = 10**15
"""Microseconds that a time may be."""
PHASES = ("forward", "backward", "update")
WRITE = "write one with 'netc run NET --trace FILE.json'."


class _Wrong(Exception):  # noqa: N818 - a reason, which the reader makes a diagnostic of
    """A value that is no trace's: where it is in the file, and what is wrong."""


def read_trace(path: Path) -> StepTrace:
    """The trace in a file.

    Raises DataError: E061 where the file cannot be read, E084 where it is no trace of netc, or a
    damaged one; the message names the place.
    """
    try:
        source = Source(shown_name(path), read_text(path, LIMIT_BYTES))
    except Unreadable as problem:
        message = f"cannot read '{escaped(str(path))}': {problem.reason}."
        raise DataError(Diagnostic("E061", message, help=problem.help or WRITE)) from None
    content = _json(source)
    try:
        return _trace(content)
    except _Wrong as problem:
        _refuse(source.name, str(problem))


def _refuse(name: str, reason: str, span: Span | None = None) -> NoReturn:
    message = f"'{clip(name, 200)}' is no whole trace of netc: {reason}."
    raise DataError(Diagnostic("E084", message, span, help=WRITE)) from None


def _json(source: Source) -> Any:
    """What strict JSON says."""
    try:
        return json.loads(source.text, parse_constant=_constant)
    except json.JSONDecodeError as problem:
        where = line_span(source, problem.lineno)
        _refuse(source.name, f"it is not valid JSON: {problem.msg}", where)
    except RecursionError:
        _refuse(source.name, "it nests too deeply")
    except ValueError as problem:
        _refuse(source.name, clip(str(problem), 200))


def _constant(word: str) -> NoReturn:
    raise ValueError(f"it has the number {word}, which JSON has not")


def _trace(content: Any) -> StepTrace:
    about = _of(content, "", "otherData", dict)
    if about.get("format") != FORMAT:
        raise _Wrong(f"otherData.format is not '{FORMAT}'")
    said = {
        name: _of(about, "otherData.", name, str)
        for name in ("network", "strategy", "scheme", "precision", "backend", "prices")
    }
    devices = _whole(about, "otherData.", "devices", 1, MOST_DEVICES)
    batch = _whole(about, "otherData.", "batch", 1, 10**12)
    steps = tuple(_steps(_of(about, "otherData.", "steps", list)))
    events = _of(content, "", "traceEvents", list)
    spans = list(_spans(events, devices, {each.step for each in steps}))
    trace = StepTrace(
        **said, batch=batch, devices=devices, exact=_nano(about, "otherData.", "exact"),
        steps=steps, spans=tuple(in_lanes(iter(spans))), memory=tuple(_levels(events, devices)),
    )  # fmt: skip
    _check_whole(trace)
    return trace


def _steps(rows: list[Any]) -> Iterator[TracedStep]:
    if not rows:
        raise _Wrong("otherData.steps is empty")
    for number, row in enumerate(rows):
        at = f"otherData.steps[{number}]."
        measured = None
        if _field(row, at, "measured") is not None:
            measured = _nano(row, at, "measured")
        step, begun = _whole(row, at, "step", 0, 10**15), _nano(row, at, "begun")
        yield TracedStep(step, begun, _nano(row, at, "predicted"), measured)


def _spans(events: list[Any], devices: int, steps: Collection[int]) -> Iterator[TraceSpan]:
    """The complete events; names and arrows are a viewer's."""
    seen: set[tuple[int, bool, int, int]] = set()
    for number, event in enumerate(events):
        at = f"traceEvents[{number}]."
        if _of(event, at, "ph", str) != "X":
            continue
        span = _span(event, at, devices)
        key = span.step, span.measured, span.device, span.number
        if key in seen:
            raise _Wrong(f"{at}args.instruction is there twice on that device")
        if span.step not in steps:
            raise _Wrong(f"{at}args.step is none of otherData.steps")
        seen.add(key)
        if len(seen) > MOST_SPANS:
            raise _Wrong(f"it has more than {MOST_SPANS:,} instructions")
        yield span


def _span(event: Any, at: str, devices: int) -> TraceSpan:
    args, inside = _of(event, at, "args", dict), f"{at}args."
    number = _whole(args, inside, "instruction", 0, 10**9)
    device = _whole(event, at, "pid", 1, devices) - process_of(0)
    measured = not _of(args, inside, "predicted", bool)
    lanes = {thread_of(stream, measured): stream for stream in STREAMS}
    stream = lanes.get(_whole(event, at, "tid", 1, 10**9))
    if stream is None:
        raise _Wrong(f"{at}tid is no stream's")
    phase = _of(args, inside, "phase", str)
    if phase not in PHASES:
        raise _Wrong(f"{inside}phase is none of {', '.join(PHASES)}")
    start = _nano(event, at, "ts")
    group = _numbers(args, inside, "devices", devices) if "devices" in args else ()
    if group and device not in group:
        raise _Wrong(f"{inside}devices lacks the event's own")
    return TraceSpan(
        _whole(args, inside, "step", 0, 10**15), measured, device, number, start,
        start + _nano(event, at, "dur"), stream, _of(args, inside, "layer", str), phase,
        _of(args, inside, "kind", str), _numbers(args, inside, "waits", number), group,
    )  # fmt: skip


def _levels(events: list[Any], devices: int) -> Iterator[MemoryLevel]:
    """The counters of memory, in order of time on every device."""
    last: dict[tuple[int, bool], int] = {}
    names = {counter_of(measured): measured for measured in (True, False)}
    for number, event in enumerate(events):
        if event["ph"] != "C":
            continue
        at = f"traceEvents[{number}]."
        measured = names.get(_of(event, at, "name", str))
        if measured is None:
            raise _Wrong(f"{at}name is none of {', '.join(names)}")
        device = _whole(event, at, "pid", 1, devices) - process_of(0)
        start, args = _nano(event, at, "ts"), _of(event, at, "args", dict)
        if start < last.get((device, measured), 0):
            raise _Wrong(f"{at}ts is before that of the one in front of it")
        last[device, measured] = start
        nbytes = _whole(args, f"{at}args.", "bytes", 0, MOST_BYTES)
        yield MemoryLevel(measured, device, start, nbytes)


def _check_whole(trace: StepTrace) -> None:
    """Every step has all instructions that its exchanges and waits speak of, and no two at once on
    a stream.
    """
    has = {(s.step, s.measured, s.device, s.number) for s in trace.spans}
    last: dict[tuple[Any, ...], TraceSpan] = {}
    for span in trace.spans:
        name = f"instruction {span.number} of device {span.device} in step {span.step}"
        wanted = [(span.device, wait) for wait in span.waits]
        wanted += [(device, span.number) for device in span.devices]
        for device, number in wanted:
            if (span.step, span.measured, device, number) not in has:
                raise _Wrong(f"{name} needs instruction {number} of device {device}, which lacks")
        before = last.get((span.step, *span.lane))
        if before is not None and before.end > span.start:
            raise _Wrong(f"{name} begins before the one in front of it on its stream has ended")
        last[span.step, *span.lane] = span
    for step in trace.steps:
        for measured in (True, False) if step.measured is not None else (False,):
            if not any(s.step == step.step and s.measured == measured for s in trace.spans):
                raise _Wrong(f"step {step.step} has no instructions")


def _field(value: Any, at: str, name: str) -> Any:
    if not isinstance(value, Mapping) or name not in value:
        raise _Wrong(f"{at}{name} lacks")
    return value[name]


_KINDS: Mapping[type, str] = {
    dict: "an object", list: "a list", str: "a text", bool: "true or false",
}  # fmt: skip


def _of(value: Any, at: str, name: str, kind: type) -> Any:
    """A field of such a type."""
    found = _field(value, at, name)
    if type(found) is not kind:
        raise _Wrong(f"{at}{name} is not {_KINDS[kind]}")
    return found


def _whole(value: Any, at: str, name: str, least: int, most: int) -> int:
    found = _field(value, at, name)
    if type(found) is int and least <= found <= most:
        return found
    raise _Wrong(f"{at}{name} is no whole number from {least} to {most}")


def _nano(value: Any, at: str, name: str) -> int:
    """A time in microseconds, as whole nanoseconds."""
    found = _field(value, at, name)
    if isinstance(found, int | float) and type(found) is not bool and 0 <= found <= LONGEST:
        return round(found * 1000)
    raise _Wrong(f"{at}{name} is no time in microseconds")


def _numbers(value: Any, at: str, name: str, limit: int) -> tuple[int, ...]:
    """Different whole numbers below a limit."""
    found = _of(value, at, name, list)
    right = all(type(each) is int and 0 <= each < limit for each in found)
    if not right or len(set(found)) < len(found):
        raise _Wrong(f"{at}{name} is no list of different whole numbers below {limit}")
    return tuple(found)
