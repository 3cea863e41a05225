"""`netc compile`: the plan as a table, the values as text, the compiled program as a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from netc.api.choices import INFERENCE
from netc.api.plan import NetworkPlan
from netc.api.values import usage_all
from netc.api.watch import check_pass
from netc.api.written import write_text
from netc.cli.arguments import spare
from netc.cli.common import plan
from netc.cli.files import load_network
from netc.cli.output import json_line, note, say
from netc.cli.passes import Printer
from netc.errors import columns_of
from netc.ir.programs import EVAL, TRAIN
from netc.ir.text import bundle_text
from netc.syntax import network_text


def run(options: argparse.Namespace) -> int:
    """Compile and show."""
    planned = EVAL if options.goal == INFERENCE else TRAIN
    options.program = options.program or planned
    for name in options.print_after:
        check_pass(name, options.program)
    _check_shown(options, planned)
    spare(options.output, options.network, options.strategy, options.cluster)
    if options.emit == "network":
        print(network_text(load_network(options)), end="")
        return 0
    printer = Printer(options.print_after, options.program)
    made = plan(options, printer)
    if options.output:
        write_text(Path(options.output), bundle_text(made.bundle))
    if options.emit:
        named = options.program if options.emit == "program" else None
        print(made.emit(options.emit, program=named), end="")
    elif options.json:
        _show_json(made)
    elif options.time_passes:
        print(printer.times())
    elif not options.print_after:
        _show(made)
    return 0


def _check_shown(options: argparse.Namespace, planned: str) -> None:
    """Refuse what would be silently left out."""
    problems = []
    if options.emit == "network" and (options.output or options.save_strategy):
        problems.append("'--emit network' compiles nothing that a file could be written of.")
    if options.emit in ("graph", "plan") and options.program != planned:
        problems.append(
            f"'--emit {options.emit}' prints {options.goal}'s: '--print-after PASS --program "
            f"{options.program}' prints values of others."
        )
    if options.time_passes and (options.emit or options.json):
        problems.append("'--time-passes' prints a table of its own, in place of other values.")
    if options.json and (options.emit or options.print_after):
        problems.append("'--json' prints no values of passes, which are text.")
    if options.output and options.output == options.save_strategy:
        problems.append(f"'{options.output}' cannot be both program and strategy.")
    if problems:
        raise usage_all(problems)


def _show_json(made: NetworkPlan) -> None:
    for cost in made.layers:
        json_line(event="layer", layer=cost.layer, kind=cost.kind, split=list(cost.split),
                  shape=list(cost.shape), local_shape=list(cost.local_shape),
                  sent_bytes=cost.sent_bytes, weight_bytes=cost.weight_bytes)  # fmt: skip
    compiled = made.compiled
    json_line(
        event="result", network=made.name, devices=made.devices, batch=made.batch,
        strategy=made.strategy, scheme=made.scheme, notes=list(compiled.notes),
        instructions=len(compiled.program.instructions), sent_bytes=list(made.sent_bytes),
        memory_bytes=list(made.memory_bytes), step_seconds=made.step_seconds,
    )  # fmt: skip


def _show(made: NetworkPlan) -> None:
    say(made.heading)
    print(made.table(columns_of(sys.stdout)))
    print()
    say(made.footing)
    for text in made.compiled.notes:
        note(text)
