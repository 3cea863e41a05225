"""`netc trace`: where the time of a traced step goes, who waits for whom, what was predicted."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from netc.api.traces import TraceAnalysis, load_trace
from netc.cli.output import json_line
from netc.errors import columns_of
from netc.trace.account import SECOND


def run(options: argparse.Namespace) -> int:
    """Read a trace and say what it shows; of several steps the mean."""
    found = load_trace(options.file)
    if options.json:
        _json(found, options.top)
    else:
        print(found.table(columns_of(sys.stdout), options.top))
    return 0


def _json(found: TraceAnalysis, top: int) -> None:
    trace = found.trace
    for account in found.devices:
        json_line(event="device", **asdict(account))
    for peak in found.peaks:
        json_line(event="memory", **asdict(peak))
    for wait in found.waits[:top]:
        json_line(event="wait", **asdict(wait))
    for each in (*found.streams, *found.layers[:top]):
        kind = "layer" if each.layer else "stream"
        json_line(event=kind, **{k: v for k, v in asdict(each).items() if v != ""})
    json_line(
        event="result", network=trace.network, devices=trace.devices, strategy=trace.strategy,
        scheme=trace.scheme, batch=trace.batch, precision=trace.precision, backend=trace.backend,
        prices=trace.prices,
        measured=trace.is_measured, steps=[step.step for step in trace.steps],
        step_seconds=found.step_seconds, predicted_seconds=found.predicted_seconds,
        exact_seconds=trace.exact / SECOND,
    )  # fmt: skip
