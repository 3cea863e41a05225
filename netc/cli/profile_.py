"""`netc profile`: what every layer of a training step takes, beside what the machine reaches."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

from netc.api.figures import bytes_text, count, scaled, seconds_text
from netc.api.predicted import outcome
from netc.api.running import describe, open_session
from netc.cli.output import json_line, say, table
from netc.cli.parts import StepPart, parts, passes
from netc.cli.session import choose, load_bundle, note_kernels, on_ranks
from netc.export.roofline import Roof, RooflinePoint, check_roofline, draw_roofline, write_roofline
from netc.export.scene import Scene
from netc.export.words import plural
from netc.ir.clock import simulate
from netc.ir.program import Bundle
from netc_runtime.backend import Ceilings, Timing
from netc_runtime.choose import BackendChoice
from netc_runtime.launch.ranks import Ranks
from netc_runtime.measure.profile import measure_ceilings, measure_step


def run(options: argparse.Namespace) -> int:
    """Compile if need be, time steps and launches, and say what bounds each layer."""
    if options.output is not None:
        check_roofline(Path(options.output))
    bundle = load_bundle(options)
    choice = choose(options, bundle)
    return on_ranks(bundle, choice, partial(_run, options, choice))


def _run(
    options: argparse.Namespace, choice: BackendChoice, ranks: Ranks | None, bundle: Bundle
) -> int:  # fmt: skip
    """Of several processes the first one tells what its device does."""
    if ranks is not None and ranks.rank:
        with closing(open_session(choice, bundle, ranks)) as session:
            measure_step(session, options.steps)
        return 0
    note_kernels(options, bundle)
    # Before the programs take their memory, of which there may be little left.
    ceilings = measure_ceilings(bundle)
    with closing(open_session(choice, bundle, ranks)) as session:
        timing = measure_step(session, options.steps)
        about = dict(session.backend.describe())
    profile = Profile(bundle, timing, ceilings)
    found = parts(bundle.train, timing.launches, ceilings, options.launches)
    if options.output is not None:
        write_roofline(Path(options.output), _drawing(profile, found))
    if options.json:
        _json(options, profile, found, about)
    else:
        say(describe(bundle, choice))
        _show(options, profile, found)
    return 0


SPARE = ("bytes", "FLOP", "B/s", "FLOP/s")
"""Columns that are left out first where the terminal is narrow."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A measured step."""

    bundle: Bundle
    timing: Timing
    ceilings: Ceilings

    @property
    def seconds(self) -> float:
        """Of a usual step."""
        return median(self.timing.steps)

    @property
    def predicted_seconds(self) -> float:
        """Of a step, by the prices in the program."""
        return simulate(self.bundle.train).seconds

    @property
    def images_per_second(self) -> float:
        """Of all devices."""
        return self.bundle.facts.batch / self.seconds

    @property
    def other_seconds(self) -> float:
        """What is left of a step without the first device's launches."""
        return self.seconds - sum(self.timing.launches.values())

    @property
    def passes(self) -> list[StepPart]:
        """The sums over layers."""
        return passes(self.bundle.train, self.timing.launches, self.ceilings)


def _json(
    options: argparse.Namespace,
    profile: Profile,
    found: Iterable[StepPart],
    backend: dict[str, object],
) -> None:
    for part in found:
        values = asdict(part)
        if not options.launches:
            del values["kernels"], values["call"]
        json_line(event="launch" if options.launches else "layer", **values)
    facts, unsaid = profile.bundle.facts, ("layer", "phase", "kernels", "call")
    sums = {
        part.phase: {key: value for key, value in asdict(part).items() if key not in unsaid}
        for part in profile.passes
    }
    json_line(
        event="result", network=facts.network, batch=facts.batch,
        devices=profile.bundle.train.mesh.size, precision=facts.precision, backend=backend,
        step_seconds=profile.seconds, steps=list(profile.timing.steps),
        images_per_second=profile.images_per_second, passes=sums,
        other_seconds=profile.other_seconds, exposed_seconds=profile.timing.exposed_seconds,
        predicted_seconds=profile.predicted_seconds,
        ceilings=asdict(profile.ceilings),
        written=options.output,
    )  # fmt: skip


def _show(options: argparse.Namespace, profile: Profile, found: Iterable[StepPart]) -> None:
    roof = profile.ceilings
    product, copy = scaled(roof.flops_per_second, "FLOP/s"), scaled(roof.bytes_per_second, "B/s")
    say(f"ceilings  {product} in a matrix product, {copy} in a copy, "
          f"{seconds_text(roof.launch_seconds)} a launch\n")  # fmt: skip
    names = ("layer", "pass", *(("kernels",) if options.launches else ()))
    figures = ("time", "of step", "FLOP", "bytes", "FLOP/s", "B/s", "bound by", "of it")
    shown = (
        (p.layer, p.phase, *((p.kernels,) if options.launches else ()), *_row(p, profile.seconds))
        for p in found
    )
    print(table((*names, *figures), shown, left=len(names), spare=SPARE))
    print()
    sums = [(p.phase, *_row(p, profile.seconds)) for p in profile.passes]
    other, blank = profile.other_seconds, ("-",) * 6
    share = _percent(other / profile.seconds) if other > 0 else "-"
    sums.append(("communication and gaps", seconds_text(max(other, 0.0)), share, *blank))
    if profile.bundle.train.mesh.size > 1:
        waited = profile.timing.exposed_seconds
        share = _percent(waited / profile.seconds)
        sums.append(("of it, waiting", seconds_text(waited), share, *blank))
    sums.append(("step", seconds_text(profile.seconds), "100 %", *blank))
    print(table(("", *figures), sums, spare=SPARE))
    devices = profile.bundle.train.mesh.size
    whose = f", launches are the first device's of {devices}" if devices > 1 else ""
    speed = count(profile.images_per_second)
    say(f"\nmedian of {plural(options.steps, 'step')}, {speed} images/s{whose}")
    target = profile.bundle.facts.target
    say(outcome(profile.predicted_seconds, profile.seconds, target, options.cluster))
    if options.output is not None:
        say(f"wrote {options.output}")


def _row(part: StepPart, step_seconds: float) -> tuple[str, ...]:
    return (
        seconds_text(part.seconds),
        _percent(part.seconds / step_seconds),
        scaled(part.flops, ""),
        bytes_text(part.moved_bytes),
        scaled(part.flops_per_second, ""),
        bytes_text(part.bytes_per_second),
        part.bound,
        f"{100 * part.reached:.0f} %",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _drawing(profile: Profile, found: Iterable[StepPart]) -> Scene:
    """The parts below the ceilings."""
    roof, facts = profile.ceilings, profile.bundle.facts
    tiles = [
        (facts.target, f"backend, {facts.precision}"),
        (f"{facts.batch} images", "a step"),
        (seconds_text(profile.seconds), "a step"),
        (scaled(roof.flops_per_second, "FLOP/s"), "matrix product: the flat roof"),
        (scaled(roof.bytes_per_second, "B/s"), "copy: the slope"),
        (seconds_text(roof.launch_seconds), "a launch"),
    ]
    points = [
        RooflinePoint(p.layer, p.phase, p.flops / p.moved_bytes, p.flops_per_second,
              p.seconds / profile.seconds, p.bound == "launch")
        for p in found if p.moved_bytes
    ]  # fmt: skip
    limits = Roof(roof.flops_per_second, roof.bytes_per_second)
    return draw_roofline(facts.network, tiles, points, limits)
