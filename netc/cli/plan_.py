"""`netc plan`: the plan as a page, as a picture, or as data for other programs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from netc.api.pictures import page_facts
from netc.cli.arguments import spare
from netc.cli.common import plan
from netc.cli.output import json_line, note, say
from netc.errors import Diagnostic, UsageError
from netc.export import write_plan
from netc.export.write import DRAWN, PAGE, check_plan
from netc.trace.read import read_trace
from netc.trace.same import check_same
from netc.trace.spans import StepTrace


def run(options: argparse.Namespace) -> int:
    """Compile, and write FILE.html, .svg, .pdf, .png, .dot or .json."""
    path = Path(options.output)
    check_plan(path)
    check_alternatives(options, path)
    _check_phases(options, path)
    trace = _trace(options, path)
    made = plan(options)
    asked, compiled = made.asked, made.compiled
    facts = replace(made.facts(), phases=options.phases)
    if trace is not None:
        check_same(trace, compiled.program)
        facts = replace(facts, trace=trace)
    if path.suffix.lower() == PAGE:
        facts = page_facts(facts, asked, compiled, options.alternatives)
    write_plan(path, compiled.plan, asked.network, facts)
    if options.json:
        json_line(event="result", written=str(path), bytes=path.stat().st_size)
    else:
        say(f"wrote {path}")
        for text in facts.notes:
            note(text)
    return 0


def _trace(options: argparse.Namespace, path: Path) -> StepTrace | None:
    """The step that was measured; refused where no page is drawn."""
    if options.trace is None:
        return None
    _needs_page(path, "'--trace' draws what was measured on a page")
    spare(options.output, options.network, options.trace)
    return read_trace(Path(options.trace))


def check_alternatives(options: argparse.Namespace, path: Path | None) -> None:
    """Refuse to price for a page where none is written."""
    if options.alternatives:
        _needs_page(path, "'--alternatives' prices other splits for a page")


def _needs_page(path: Path | None, what: str) -> None:
    if path is None or path.suffix.lower() != PAGE:
        message = f"{what}, and none is written."
        raise UsageError(Diagnostic("E051", message, help="write one, with '-o FILE.html'."))


def _check_phases(options: argparse.Namespace, path: Path) -> None:
    """Refuse lanes where they are not drawn, and where there is one only."""
    if not options.phases:
        return
    if path.suffix.lower() not in DRAWN:
        message = "'--phases' draws forward and backward pass as two lanes, in a picture only."
        raise UsageError(Diagnostic("E051", message, help=f"write {', '.join(DRAWN)}."))
    if options.goal == "inference":
        message = "'--phases' draws the backward pass, and inference has none."
        raise UsageError(Diagnostic("E051", message, help="leave out '--goal' or '--phases'."))
