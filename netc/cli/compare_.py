"""`netc compare`: strategies, schemes and numbers of devices beside each other, by prediction."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from netc.api.choices import AUTO
from netc.api.figures import bytes_text, count, seconds_text
from netc.api.request import BASE_STRATEGY, Request
from netc.cli.common import request
from netc.cli.output import json_line, note, say, table
from netc.errors import Diagnostic, NetError, UsageError, clip, did_you_mean
from netc.export.speedups import SpeedupLine, check_speedups, draw_speedups, write_speedups
from netc.ir.programs import TRAIN
from netc.numbers import DEVICES
from netc.planner.compare import (
    LARGEST_BATCH,
    STRATEGIES,
    WORTH_TELLING,
    ComparedPlan,
    crossover,
    priced,
    priced_schemes,
)
from netc.planner.recompute import WORDS
from netc.strategies.fixed import FIXED

COUNTS = (1, 2, 4, 8)
"""Devices, where none are named, as far as the machine has them."""


def run(options: argparse.Namespace) -> int:
    """Price every plan, and show a table of them."""
    if options.output is not None:
        check_speedups(Path(options.output))
    counts, strategies = _counts(options.devices_list), _strategies(options.strategies)
    if options.crossover is not None:
        _check_crossover(options)
        return _crossovers(options, [n for n in counts if n > 1])
    options.left_out = []
    one = _asked(options, 1, "single", 1)
    base = priced(one.network, one.options, "single")
    most = one.options.cluster.links.devices
    if options.devices_list is None and most is not None:
        counts = [n for n in counts if n <= most]
    plans = [
        plan
        for devices in counts
        for strategy in (strategies if devices > 1 else ["single"])
        for plan in _plans(options, devices, strategy)
    ]
    if not plans:
        raise options.left_out[-1]
    rows = [(plan, plan.images_per_second / base.images_per_second) for plan in plans]
    if options.output is not None:
        _draw(options, one, rows)
    if options.json:
        _json(one, rows, options.output)
    else:
        _show(options, one, rows)
    return 0


def _asked(options: argparse.Namespace, devices: int, strategy: str, times: int) -> Request:
    """What `netc compile` would be asked, but that every scheme is to have layers of its own
    computed again where a word asks for some; of a search nothing is said.
    """
    given = {"devices": devices, "strategy": strategy, "json": True}
    word = () if options.recompute not in WORDS else (options.recompute,)
    given |= {"recompute": None} if word else {}
    asked = request(argparse.Namespace(**{**vars(options), **given}), quiet=True)
    if times > 1:
        given["batch"] = times * asked.options.batch
        asked = request(argparse.Namespace(**{**vars(options), **given}), quiet=True)
    chosen = asked.options
    return replace(asked, options=replace(chosen, recompute=word or chosen.recompute))


def _plans(options: argparse.Namespace, devices: int, strategy: str) -> list[ComparedPlan]:
    """A strategy on some devices, under each scheme; nothing where it cannot be carried out."""
    times = devices if options.weak else 1
    try:
        asked = _asked(options, devices, strategy, times)
        # What a search found has its scheme.
        if strategy == AUTO or options.scheme is not None or devices == 1:
            return [priced(asked.network, asked.options, strategy)]
        return priced_schemes(asked.network, asked.options, strategy)
    except NetError as problem:
        options.left_out.append(problem)
        why = problem.diagnostics[0].message.rstrip(".")
        if options.json:
            json_line(event="left out", devices=devices, strategy=strategy, reason=why)
        else:
            note(f"'{strategy}' on {devices} is left out: {why}.")
        return []


def _check_crossover(options: argparse.Namespace) -> None:
    """Refuse what a crossover has no use for."""
    given = {"--output": options.output, "--weak": options.weak, "--batch": options.batch,
             "--strategies": options.strategies}  # fmt: skip
    problems = [name for name, value in given.items() if value]
    if problems:
        message = f"'--crossover' goes over batches, and has no use for {', '.join(problems)}."
        raise UsageError(Diagnostic("E051", message))


def _crossovers(options: argparse.Namespace, counts: Sequence[int]) -> int:
    """Up to which batch one strategy sends less than another, and takes less time."""
    pair = _strategies(options.crossover)
    if len(set(pair)) != 2 or not set(pair) <= set(FIXED):
        message = f"'--crossover {clip(options.crossover)}' is not of the form hybrid,data."
        hint = f"fixed strategies are: {', '.join(FIXED)}."
        raise UsageError(Diagnostic("E051", message, help=hint))
    small, large = pair
    rows = []
    for devices in counts:
        asked = _asked(options, devices, small, 1)
        chosen = replace(asked.options, scheme=options.scheme or "a")
        sent, took = (
            crossover(asked.network, chosen, small, large, of)
            for of in (lambda plan: plan.sent_bytes, lambda plan: plan.seconds)
        )
        rows.append((str(devices), _up_to(sent), _up_to(took)))
        if options.json:
            json_line(event="crossover", network=asked.network.name, devices=devices, small=small,
                      large=large, sent_bytes=sent, seconds=took)  # fmt: skip
    if not options.json:
        say(f"'{small}' against '{large}', exchange in scheme {options.scheme or 'a'}: the "
              "largest batch, over all devices, at which it\n")  # fmt: skip
        print(table(("devices", "sends less", "takes less time"), rows))
    return 0


def _up_to(batch: int | None) -> str:
    if batch is None:
        return f"{count(LARGEST_BATCH)} or more"
    return count(batch) if batch else "never"


def _counts(text: str | None) -> list[int]:
    if text is None:
        return list(COUNTS)
    parts = [part.strip() for part in text.split(",")]
    try:
        return sorted({int(DEVICES.read(part)) for part in parts})
    except ValueError:
        message = f"'--devices {clip(text)}' is not of the form 1,2,4."
        hint = f"each must be {DEVICES.description}."
        raise UsageError(Diagnostic("E051", message, help=hint)) from None


def _strategies(text: str | None) -> list[str]:
    known = [*STRATEGIES, AUTO]
    if text is None:
        return known
    chosen = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in chosen:
        if name not in (*FIXED, AUTO) and Path(name).suffix != ".toml":
            hint = did_you_mean(name, known) + f"strategies are: {', '.join((*FIXED, AUTO))}."
            raise UsageError(Diagnostic("E051", f"there is no strategy '{clip(name)}'.", help=hint))
    return chosen


def _json(one: Request, rows: Sequence[tuple[ComparedPlan, float]], written: str | None) -> None:
    for plan, speedup in rows:
        values = asdict(plan)
        json_line(event="plan", **values, images_per_second=plan.images_per_second,
                  speedup=speedup)  # fmt: skip
    best = _best(rows)
    json_line(event="result", network=one.network.name, cluster=one.options.cluster.name,
              precision=one.options.precision, written=written,
              best={str(devices): plan.name for devices, (plan, _) in best.items()})  # fmt: skip


def _best(rows: Sequence[tuple[ComparedPlan, float]]) -> dict[int, tuple[ComparedPlan, float]]:
    """By devices the fastest plan that fits."""
    found: dict[int, tuple[ComparedPlan, float]] = {}
    for row in sorted(rows, key=lambda each: each[0].seconds):
        if row[0].fits:
            found.setdefault(row[0].devices, row)
    return dict(sorted(found.items()))


def _show(
    options: argparse.Namespace, one: Request, rows: Sequence[tuple[ComparedPlan, float]]
) -> None:
    chosen, best = one.options, _best(rows)
    scaling = "the batch grows with the devices" if options.weak else "the same batch on all"
    goal = "" if chosen.goal == TRAIN else " of inference"
    say(f"{one.network.name} on '{chosen.cluster.name}', {chosen.precision}: predicted steps"
          f"{goal}, {scaling}\n")  # fmt: skip
    header = ("devices", "batch", "plan", "step", "images/s", "speedup", "not computing", "sent",
              "memory", "")  # fmt: skip
    shown = (
        (str(plan.devices), count(plan.batch), plan.name, seconds_text(plan.seconds),
         count(plan.images_per_second), f"{speedup:.2f}", seconds_text(plan.exposed_seconds),
         bytes_text(plan.sent_bytes), bytes_text(plan.peak_bytes), _mark(plan, best))
        for plan, speedup in rows
    )  # fmt: skip
    print(table(header, shown, spare=("not computing", "images/s", "batch", "sent")))
    if options.output is not None:
        say(f"\nwrote {options.output}")
    for text in _notes(rows, best):
        note(text)


def _mark(plan: ComparedPlan, best: dict[int, tuple[ComparedPlan, float]]) -> str:
    if not plan.fits:
        return "does not fit"
    return "fastest" if best[plan.devices][0] is plan else ""


def _notes(
    rows: Sequence[tuple[ComparedPlan, float]], best: dict[int, tuple[ComparedPlan, float]]
) -> list[str]:
    """Where something else is faster than the papers' own strategy."""
    found = []
    for devices, (plan, _) in best.items():
        usual = [p for p, _ in rows if p.devices == devices and p.strategy == BASE_STRATEGY]
        default = min(usual, key=lambda p: p.seconds, default=None)
        if default is not None and plan.seconds < default.seconds * (1 - WORTH_TELLING):
            gain = 100 * (1 - plan.seconds / default.seconds)
            found.append(
                f"on {devices} devices '{plan.name}' is predicted to take {gain:.1f} % less time "
                f"than '{default.name}'."
            )
    return found


def _draw(
    options: argparse.Namespace, one: Request, rows: Sequence[tuple[ComparedPlan, float]]
) -> None:
    names = list(dict.fromkeys(plan.name for plan, _ in rows if plan.devices > 1))
    alone = [(1, speedup) for plan, speedup in rows if plan.devices == 1]
    lines = [
        SpeedupLine(name, (*alone, *((p.devices, s) for p, s in rows if p.name == name)))
        for name in names
    ]
    chosen = one.options
    images = f"{count(chosen.batch)} images" + (" a device" if options.weak else "")
    tiles = [(chosen.cluster.name, "machine"), (images, "a step"), (chosen.precision, "precision")]
    write_speedups(Path(options.output), draw_speedups(one.network.name, tiles, lines))
