"""`netc plan`: the plan as a picture, or as data for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from netc.cli.common import build, request
from netc.cli.output import json_line, note
from netc.export import PlanFacts, write_plan
from netc.ir.clock import simulate
from netc.ir.facts import REPLICATED
from netc.report import memory_use


def run(options: argparse.Namespace) -> int:
    """Compile, and write FILE.svg, .pdf, .png, .dot or .json."""
    asked = request(options)
    _, compiled = build(asked, options)
    facts = PlanFacts(
        strategy=Path(asked.strategy).stem,
        scheme=compiled.scheme,
        updates=asked.options.updates or REPLICATED,
        cluster=asked.options.cluster.name,
        notes=compiled.notes,
        memory_bytes=tuple(use.peak for use in memory_use(compiled.program)),
        step_seconds=simulate(compiled.program).seconds,
    )
    path = Path(options.output)
    write_plan(path, compiled.plan, asked.network, facts)
    if options.json:
        json_line(event="result", written=str(path), bytes=path.stat().st_size)
    else:
        print(f"wrote {path}")
        for text in compiled.notes:
            note(text)
    return 0
