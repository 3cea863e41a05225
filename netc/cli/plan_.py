"""`netc plan`: the plan as a page, as a picture, or as data for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from netc.api.plan import check_drawn
from netc.api.traces import load_trace
from netc.cli.arguments import spare
from netc.cli.common import plan
from netc.cli.output import json_line, note, say


def run(options: argparse.Namespace) -> int:
    """Compile, and write FILE.html, .svg, .pdf, .png, .dot or .json."""
    path, shown = Path(options.output), (options.phases, options.alternatives)
    check_drawn(path, options.goal, *shown, options.trace is not None)
    if options.trace is not None:
        spare(options.output, options.network, options.trace)
        load_trace(options.trace)
    notes = plan(options).draw(
        path, phases=options.phases, alternatives=options.alternatives, trace=options.trace
    )
    if options.json:
        json_line(event="result", written=str(path), bytes=path.stat().st_size)
    else:
        say(f"wrote {path}")
        for text in notes:
            note(text)
    return 0
