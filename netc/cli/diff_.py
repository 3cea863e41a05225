"""`netc diff`: two plans of one network, layer by layer where they differ, and what each costs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from netc.api.difference import Side
from netc.api.figures import bytes_text, seconds_text, shape_text
from netc.cli.arguments import spare
from netc.cli.common import request
from netc.cli.output import json_line, say, table
from netc.cli.plan_ import check_alternatives
from netc.export.write import check_diff, write_diff


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
        write_diff(path, *(side.case(options.alternatives) for side in (first, second)))
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


def _side(options: argparse.Namespace, name: str) -> Side:
    given = argparse.Namespace(**{**vars(options), "strategy": name})
    return Side.of(request(given, quiet=True), name)


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
