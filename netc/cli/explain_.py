"""`netc explain`: what every layer of a plan costs, and what bounds it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatch

from netc.api.build import advice
from netc.api.figures import bytes_text, scaled, seconds_text
from netc.api.request import Request
from netc.cli.common import build, request
from netc.cli.compile_ import footing, heading
from netc.cli.kernels import rows
from netc.cli.output import json_line, note, say, table
from netc.errors import Diagnostic, UsageError, clip, did_you_mean
from netc.ir.clock import simulate
from netc.ir.program import Program
from netc.passes.pipeline import Compiled
from netc.planner.why import Alternative, TimedExchange, alternatives, exchanges
from netc.report import LayerCost, layer_costs, memory_use, sent_bytes

SPARE = ("kind", "activations", "weights", "FLOPs", "sent")
"""Columns that are left out first where the terminal is narrow."""


def run(options: argparse.Namespace) -> int:
    """Print one row a layer: split, FLOPs, bytes, memory, seconds, bound."""
    if options.layer is not None and options.kernels is not None:
        message = "'--layer' prices splits, '--kernels' shows what computes a step: take one."
        raise UsageError(Diagnostic("E051", message))
    asked = request(options)
    bundle, compiled = build(asked, options)
    if options.kernels is not None:
        return _kernels(options, bundle.train)
    if options.layer is not None:
        return _layers(options, asked, compiled)
    cluster = asked.options.cluster
    costs = layer_costs(asked.network, compiled.graph, compiled.plan, compiled.program, cluster)
    if options.json:
        for cost in costs:
            json_line(event="layer", **asdict(cost))
        json_line(
            event="result", network=asked.network.name, scheme=compiled.scheme,
            notes=[*compiled.notes, *advice(asked, compiled)], cluster=cluster.name,
            recomputed=list(compiled.recomputed),
            sent_bytes=[s for s, _ in sent_bytes(compiled.plan)],
            memory_bytes=[u.peak for u in memory_use(compiled.program)],
            step_seconds=simulate(compiled.program).seconds,
        )  # fmt: skip
        return 0
    say(heading(asked, compiled))
    header = ("layer", "kind", "split", "FLOPs", "sent", "weights", "activations", "compute",
              "exchange", "bound by")  # fmt: skip
    print(table(header, map(_row, costs), left=3, spare=SPARE))
    say(
        "\nA step on the device where each figure is largest; fused layers run with the one before."
    )
    say(footing(asked, compiled))
    for text in (*compiled.notes, *advice(asked, compiled)):
        note(text)
    return 0


def _layers(options: argparse.Namespace, asked: Request, compiled: Compiled) -> int:
    """For each layer that a pattern names: its splits with their prices, and its exchanges."""
    chosen = asked.options
    found = alternatives(compiled.graph, chosen.mesh, chosen.cluster, compiled.splits)
    layers = [layer for layer in found if fnmatch(layer, options.layer)]
    if not layers:
        message = f"no layer matches '{clip(options.layer)}'."
        hint = did_you_mean(options.layer, found) + "'netc summary' lists all layers."
        raise UsageError(Diagnostic("E051", message, help=hint))
    if not options.json:
        say(heading(asked, compiled))
    for layer in layers:
        timed = exchanges(compiled.plan.graph, compiled.program, layer)
        if options.json:
            for one in found[layer]:
                json_line(event="alternative", layer=layer, seconds=one.seconds, **asdict(one))
            for each in timed:
                json_line(event="exchange", layer=layer, **asdict(each))
        else:
            _show_layer(layer, found[layer], timed)
    if options.json:
        json_line(event="result", network=asked.network.name, cluster=chosen.cluster.name,
                  layers=layers, step_seconds=simulate(compiled.program).seconds)  # fmt: skip
        return 0
    say("Prices are a device's, all other layers as they are, in the model that 'auto' searches: "
          "nothing is hidden or joined. What hides behind what is of the whole step.")  # fmt: skip
    say(footing(asked, compiled))
    return 0


def _show_layer(
    layer: str, own: Sequence[Alternative], timed: Sequence[TimedExchange]
) -> None:  # fmt: skip
    (taken,) = (each for each in own if each.chosen)
    rows = (
        (",".join(each.split), seconds_text(each.compute_seconds),
         seconds_text(each.exchange_seconds), seconds_text(each.update_seconds),
         seconds_text(each.seconds), _against(each, taken), bytes_text(each.memory_bytes))
        for each in own
    )  # fmt: skip
    header = (layer, "compute", "exchange", "of gradients", "all", "", "memory")
    print(table(header, rows))
    for each in timed:
        hidden = 1 - each.exposed_seconds / each.seconds if each.seconds else 1.0
        behind = f" behind {_few(each.behind)}" if each.behind else ""
        many = f" of {each.tensors} tensors" if each.tensors > 1 else ""
        say(f"  {each.phase} {each.kind}{many}: {seconds_text(each.seconds)}, "
              f"{100 * hidden:.0f} % hidden{behind}")  # fmt: skip
    print()


def _against(each: Alternative, taken: Alternative) -> str:
    if each is taken:
        return "taken"
    more = each.seconds - taken.seconds
    return f"{'+' if more >= 0 else '-'}{seconds_text(abs(more))}" if more else "the same"


def _few(layers: Sequence[str]) -> str:
    return layers[0] if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"


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
    print(table(header, shown, left=4, spare=("workspace", "phase")))
    say("\nTimes are measured ('netc tune') or predicted from the cluster file.")
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
