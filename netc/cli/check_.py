"""`netc check`: parse a network and infer all shapes."""

from __future__ import annotations

import argparse

from netc.api.figures import count
from netc.api.networks import checked_graph
from netc.cli.files import load_network
from netc.cli.output import json_line, say
from netc.layers import layer_facts


def run(options: argparse.Namespace) -> int:
    """Say that the network is sound, in one line."""
    network = load_network(options)
    facts = layer_facts(network, checked_graph(network))
    parameters = sum(f.parameters for f in facts)
    if options.json:
        json_line(event="result", network=network.name, layers=len(facts), parameters=parameters)
    else:
        say(f"{network.name}: {len(facts)} layers, {count(parameters)} parameters, no errors")
    return 0
