"""`netc diff`: two plans of one network, layer by layer where they differ, and what each costs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from netc.api.figures import bytes_text, seconds_text, shape_text
from netc.api.pictures import page_facts, plan_facts
from netc.api.request import Request
from netc.cli.arguments import spare
from netc.cli.common import request
from netc.cli.output import json_line, say, table
from netc.cli.plan_ import check_alternatives
from netc.export.page import PlanCase
from netc.export.write import check_diff, write_diff
from netc.passes.pipeline import Compiled, lower_network
from netc.passes.plan_memory import plan_alone
from netc.planner.compare import ComparedPlan, described
from netc.report import LayerCost, layer_costs


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two plans."""

    asked: Request
    plan: ComparedPlan
    layers: dict[str, LayerCost]
    compiled: Compiled


def run(options: argparse.Namespace) -> int:
    """Price both, show where they differ, and write FILE.html if asked to."""
    path = Path(options.output) if options.output is not None else None
    check_alternatives(options, path)
    if path is not None:
        spare(options.output, options.network, options.cluster, options.first, options.second)
        check_diff(path)
    first, second = (_side(options, name) for name in (options.first, options.second))
    differing = [
        layer
        for layer, one in first.layers.items()
        if layer in second.layers and one.split != second.layers[layer].split
    ]
    if path is not None:
        write_diff(path, *(_case(side, options.alternatives) for side in (first, second)))
    if options.json:
        for layer in differing:
            json_line(event="layer", layer=layer, first=asdict(first.layers[layer]),
                      second=asdict(second.layers[layer]))  # fmt: skip
        json_line(event="result", network=first.asked.network.name, differing=len(differing),
                  first=asdict(first.plan), second=asdict(second.plan),
                  **({"written": str(path)} if path is not None else {}))  # fmt: skip
        return 0
    where = first.asked.options
    say(
        f"{first.asked.network.name} on '{where.cluster.name}', batch {where.batch}, "
        f"{where.precision}: {len(differing)} of {len(first.layers)} layers differ\n"
    )
    if differing:
        header = ("layer", "kind", "split", "sent", "compute", "exchange")
        print(table(header, _rows(first, second, differing), left=3, spare=("kind",)))
        print()
    header = ("plan", "devices", "step", "not computing", "sent", "memory")
    print(table(header, (_whole(side) for side in (first, second))))
    if path is not None:
        say(f"\nwrote {path}")
    return 0


def _case(side: Side, long: bool) -> PlanCase:
    """A plan as pages take it."""
    asked, compiled = side.asked, side.compiled
    program = plan_alone(compiled.program, asked.options.target.alignment_bytes)
    facts = plan_facts(asked, compiled, program)
    facts = page_facts(facts, asked, compiled, long)
    return PlanCase(compiled.plan, asked.network, facts)


def _side(options: argparse.Namespace, name: str) -> Side:
    asked = request(argparse.Namespace(**{**vars(options), "strategy": name}), quiet=True)
    compiled = lower_network(asked.network, asked.options)
    costs = layer_costs(
        asked.network, compiled.graph, compiled.plan, compiled.program, asked.options.cluster
    )
    plan = described(compiled, asked.options, name)
    return Side(asked, plan, {c.layer: c for c in costs}, compiled)


def _rows(first: Side, second: Side, layers: list[str]) -> Iterator[tuple[str, ...]]:
    for layer in layers:
        a, b = first.layers[layer], second.layers[layer]
        yield (
            layer, a.kind, f"{','.join(a.split)} | {','.join(b.split)}",
            f"{bytes_text(a.sent_bytes)} | {bytes_text(b.sent_bytes)}",
            f"{seconds_text(a.seconds)} | {seconds_text(b.seconds)}",
            f"{seconds_text(a.exchange_seconds)} | {seconds_text(b.exchange_seconds)}",
        )  # fmt: skip


def _whole(side: Side) -> tuple[str, ...]:
    plan = side.plan
    return (
        plan.name, shape_text(side.asked.options.mesh.shape), seconds_text(plan.seconds),
        seconds_text(plan.exposed_seconds), bytes_text(plan.sent_bytes),
        bytes_text(plan.peak_bytes),
    )  # fmt: skip
