"""`netc summary`: layers, parameters and multiply-adds."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from netc.api.summary import Summary
from netc.cli.files import load_network
from netc.cli.output import json_line, say
from netc.errors import columns_of


def run(options: argparse.Namespace) -> int:
    """Print one row a layer, and the totals."""
    found = Summary.of(load_network(options))
    if options.json:
        for fact in found.layers:
            json_line(event="layer", **asdict(fact))
        json_line(event="result", network=found.name, parameters=found.parameters,
                  multiply_adds=found.multiply_adds)  # fmt: skip
        return 0
    print(found.table(columns_of(sys.stdout)))
    say(f"\n{found.footing}")
    return 0
