"""`netc summary`: layers, parameters and multiply-adds."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from netc.api.figures import count, scaled, shape_text
from netc.cli.files import load_network
from netc.cli.output import json_line, say, table
from netc.passes.build_graph import build_graph
from netc.report import layer_facts


def run(options: argparse.Namespace) -> int:
    """Print one row a layer, and the totals."""
    network = load_network(options)
    facts = layer_facts(network, build_graph(network, batch=1))
    parameters, work = sum(f.parameters for f in facts), sum(f.multiply_adds for f in facts)
    if options.json:
        for fact in facts:
            json_line(event="layer", **asdict(fact))
        json_line(event="result", network=network.name, parameters=parameters, multiply_adds=work)
        return 0
    rows = [
        (f.layer, f.kind, shape_text(f.shape), count(f.parameters) if f.parameters else "-",
         scaled(f.multiply_adds, ""))
        for f in facts
    ]  # fmt: skip
    header = ("layer", "kind", "output", "parameters", "multiply-adds")
    print(table(header, rows, left=2, spare=("kind",)))
    adds = scaled(work, "").strip()
    say(f"\n{network.name}: {count(parameters)} parameters, {adds} multiply-adds an image")
    return 0
