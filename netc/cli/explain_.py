"""`netc explain`: what every layer of a plan costs, and what bounds it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from netc.api.explain import CHOICES_ABOUT, COSTS_ABOUT
from netc.api.kernels import TIMES_ABOUT, LaunchRows, choices_text, rows
from netc.api.plan import NetworkPlan
from netc.cli.common import plan
from netc.cli.output import json_line, note, say
from netc.errors import Diagnostic, UsageError, columns_of
from netc.ir.clock import simulate
from netc.ir.program import Bundle


def run(options: argparse.Namespace) -> int:
    """Print one row a layer: split, FLOPs, bytes, memory, seconds, bound."""
    if options.layer is not None and options.kernels is not None:
        message = "'--layer' prices splits, '--kernels' shows what computes a step: take one."
        raise UsageError(Diagnostic("E051", message))
    made = plan(options)
    if options.kernels is not None:
        return _kernels(options, made.bundle)
    if options.layer is not None:
        return _layers(options, made)
    found = made.explain()
    if options.json:
        for cost in found.layers:
            json_line(event="layer", **asdict(cost))
        json_line(
            event="result", network=made.name, scheme=made.scheme, notes=list(found.told),
            cluster=made.cluster, recomputed=list(made.compiled.recomputed),
            sent_bytes=list(made.sent_bytes), memory_bytes=list(made.memory_bytes),
            step_seconds=simulate(made.compiled.program).seconds,
        )  # fmt: skip
        return 0
    say(found.heading)
    print(found.table(columns_of(sys.stdout)))
    say(f"\n{COSTS_ABOUT}")
    say(found.footing)
    for text in found.told:
        note(text)
    return 0


def _layers(options: argparse.Namespace, made: NetworkPlan) -> int:
    """For each layer that a pattern names: its splits with their prices, and its exchanges."""
    found = made.choices_of(options.layer)
    if not options.json:
        say(made.heading)
    for each in found:
        if options.json:
            for one in each.splits:
                json_line(event="alternative", layer=each.layer, seconds=one.seconds,
                          **asdict(one))  # fmt: skip
            for timed in each.exchanges:
                json_line(event="exchange", layer=each.layer, **asdict(timed))
        else:
            print(each.table(columns_of(sys.stdout)))
            for text in each.texts:
                say(f"  {text}")
            print()
    if options.json:
        layers = [each.layer for each in found]
        json_line(event="result", network=made.name, cluster=made.cluster, layers=layers,
                  step_seconds=simulate(made.compiled.program).seconds)  # fmt: skip
        return 0
    say(CHOICES_ABOUT)
    say(made.footing)
    return 0


def _kernels(options: argparse.Namespace, bundle: Bundle) -> int:
    """One row a launch of the first device: what computes it."""
    found = LaunchRows(rows(bundle))
    if options.json:
        for row in found:
            json_line(event="launch", **asdict(row))
        return 0
    print(found.table(columns_of(sys.stdout)))
    say(f"\n{TIMES_ABOUT}")
    if choices := choices_text(found):
        say(choices)
    return 0
