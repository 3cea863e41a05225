"""`netc explain`: what every layer of a plan costs, and what bounds it."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from netc.cli.common import build, request
from netc.cli.compile_ import footing, heading
from netc.cli.kernels import rows
from netc.cli.output import bytes_text, json_line, note, scaled, seconds_text, table
from netc.ir.clock import simulate
from netc.ir.program import Program
from netc.report import LayerCost, layer_costs, memory_use, sent_bytes


def run(options: argparse.Namespace) -> int:
    """Print one row a layer: split, FLOPs, bytes, memory, seconds, bound."""
    asked = request(options)
    bundle, compiled = build(asked, options)
    if options.kernels is not None:
        return _kernels(options, bundle.train)
    cluster = asked.options.cluster
    costs = layer_costs(asked.network, compiled.graph, compiled.plan, compiled.program, cluster)
    if options.json:
        for cost in costs:
            json_line(event="layer", **asdict(cost))
        json_line(
            event="result", network=asked.network.name, scheme=compiled.scheme,
            notes=list(compiled.notes), cluster=cluster.name,
            sent_bytes=[s for s, _ in sent_bytes(compiled.plan)],
            memory_bytes=[u.peak for u in memory_use(compiled.program)],
            step_seconds=simulate(compiled.program).seconds,
        )  # fmt: skip
        return 0
    print(heading(asked, compiled))
    header = ("layer", "kind", "split", "FLOPs", "sent", "weights", "activations", "compute",
              "exchange", "bound by")  # fmt: skip
    print(table(header, map(_row, costs), left=3))
    print(
        "\nA step on the device where each figure is largest; fused layers run with the one before."
    )
    print(footing(asked, compiled))
    for text in compiled.notes:
        note(text)
    return 0


def _kernels(options: argparse.Namespace, program: Program) -> int:
    """One row a launch of the first device: what computes it."""
    found = list(rows(program))
    if options.json:
        for row in found:
            json_line(event="launch", **asdict(row))
        return 0
    header = ("layer", "phase", "kernels", "reads, result", "workspace", "time")
    shown = (
        (
            r.layer,
            r.phase,
            r.kernels,
            r.shapes,
            bytes_text(r.workspace_bytes),
            seconds_text(r.seconds),
        )
        for r in found
    )
    print(table(header, shown, left=4))
    print("\nTimes are measured ('netc tune') or predicted from the cluster file.")
    return 0


def _row(cost: LayerCost) -> tuple[str, ...]:
    return (
        cost.layer,
        cost.kind,
        ",".join(cost.split),
        scaled(cost.flops, ""),
        bytes_text(cost.sent_bytes),
        bytes_text(cost.weight_bytes),
        bytes_text(cost.activation_bytes),
        seconds_text(cost.seconds),
        seconds_text(cost.exchange_seconds),
        cost.bound,
    )
