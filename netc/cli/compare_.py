"""`netc compare`: strategies, schemes and numbers of devices beside each other, by prediction."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from netc.api.compare import (
    COUNTS,
    Compared,
    Comparison,
    LeftOut,
    check_strategies,
    compare,
    crossovers,
    fixed_pair,
)
from netc.cli.common import plan_choices
from netc.cli.files import defines, load_network
from netc.cli.output import json_line, note, say
from netc.errors import Diagnostic, UsageError, clip, columns_of
from netc.export.speedups import check_speedups
from netc.numbers import DEVICES


def run(options: argparse.Namespace) -> int:
    """Price every plan, and show a table of them."""
    if options.output is not None:
        check_speedups(Path(options.output))
    counts, strategies = _counts(options.devices_list), _strategies(options.strategies)
    check_strategies(strategies)
    if options.crossover is not None:
        _check_crossover(options)
        return _crossovers(options, counts or [n for n in COUNTS if n > 1])
    found = compare(_compared(options), counts, strategies, lambda each: _tell(options, each))
    if options.output is not None:
        found.save(options.output)
    if options.json:
        _json(found, options.output)
    else:
        _show(found, options.output)
    return 0


def _compared(options: argparse.Namespace) -> Compared:
    parameters = tuple(sorted(defines(options.define).items()))
    choices = plan_choices(options)
    return Compared(load_network(options), parameters, choices, options.weak)


def _tell(options: argparse.Namespace, each: LeftOut) -> None:
    if options.json:
        json_line(event="left out", devices=each.devices, strategy=each.strategy,
                  reason=each.reason)  # fmt: skip
    else:
        note(each.text)


def _check_crossover(options: argparse.Namespace) -> None:
    """Refuse what a crossover has no use for."""
    given = {"--output": options.output, "--weak": options.weak, "--batch": options.batch,
             "--strategies": options.strategies}  # fmt: skip
    problems = [name for name, value in given.items() if value]
    if problems:
        message = f"'--crossover' goes over batches, and has no use for {', '.join(problems)}."
        raise UsageError(Diagnostic("E051", message))


def _crossovers(options: argparse.Namespace, counts: list[int]) -> int:
    """Up to which batch one strategy sends less than another, and takes less time."""
    small, large = fixed_pair(_strategies(options.crossover) or [])
    asked = _compared(options)
    found = crossovers(asked, counts, small, large)
    for each in found if options.json else ():
        json_line(event="crossover", network=asked.network.name, devices=each.devices, small=small,
                  large=large, sent_bytes=each.sent_bytes, seconds=each.seconds)  # fmt: skip
    if not options.json:
        say(f"{found.heading}\n")
        print(found.table(columns_of(sys.stdout)))
    return 0


def _counts(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    try:
        return sorted({int(DEVICES.read(part)) for part in parts})
    except ValueError:
        message = f"'--devices {clip(text)}' is not of the form 1,2,4."
        hint = f"each must be {DEVICES.description}."
        raise UsageError(Diagnostic("E051", message, help=hint)) from None


def _strategies(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


def _json(found: Comparison, written: str | None) -> None:
    for plan, speedup in found.rows:
        values = asdict(plan)
        json_line(event="plan", **values, images_per_second=plan.images_per_second,
                  speedup=speedup)  # fmt: skip
    chosen = found.one.options
    json_line(event="result", network=found.one.network.name, cluster=chosen.cluster.name,
              precision=chosen.precision, written=written,
              best={str(n): plan.name for n, (plan, _) in found.best.items()})  # fmt: skip


def _show(found: Comparison, written: str | None) -> None:
    say(f"{found.heading}\n")
    print(found.table(columns_of(sys.stdout)))
    if written is not None:
        say(f"\nwrote {written}")
    for text in found.findings:
        note(text)
