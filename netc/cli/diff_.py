"""`netc diff`: two plans of one network, layer by layer where they differ, and what each costs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from netc.api.difference import PlanDifference, difference
from netc.api.plan import check_alternatives
from netc.cli.arguments import spare
from netc.cli.common import plan_choices
from netc.cli.files import defines, load_network
from netc.cli.output import json_line, say
from netc.cli.speaker import Speaker
from netc.errors import columns_of
from netc.export.write import check_diff


def run(options: argparse.Namespace) -> int:
    """Price both, show where they differ, and write FILE.html if asked to."""
    path = Path(options.output) if options.output is not None else None
    check_alternatives(path, options.alternatives)
    if path is not None:
        spare(options.output, options.network, options.cluster, options.first, options.second)
        check_diff(path)
    parameters = tuple(sorted(defines(options.define).items()))
    names = (options.first, options.second)
    choices = plan_choices(options)
    found = difference(load_network(options), parameters, choices, names, Speaker(False))
    if path is not None:
        found.save(path, alternatives=options.alternatives)
    (_json if options.json else _show)(found, path)
    return 0


def _json(found: PlanDifference, path: Path | None) -> None:
    first, second = found.first, found.second
    for layer in found.layers:
        json_line(event="layer", layer=layer, first=asdict(first.layers[layer]),
                  second=asdict(second.layers[layer]))  # fmt: skip
    json_line(event="result", network=first.asked.network.name, differing=len(found.layers),
              first=asdict(first.plan), second=asdict(second.plan),
              **({"written": str(path)} if path is not None else {}))  # fmt: skip


def _show(found: PlanDifference, path: Path | None) -> None:
    say(f"{found.heading}\n")
    columns = columns_of(sys.stdout)
    if found.layers:
        print(f"{found.table(columns)}\n")
    print(found.costs(columns))
    if path is not None:
        say(f"\nwrote {path}")
