"""`netc profile`: what every layer of a training step takes, beside what the machine reaches."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from netc.api.profile import Profile, profiled
from netc.cli.output import json_line, say
from netc.cli.session import choose, load_bundle, on_ranks
from netc.cli.speaker import Speaker
from netc.errors import columns_of
from netc.export.roofline import check_roofline
from netc.ir.program import Bundle
from netc.stages import stage_seconds
from netc_runtime.choose import BackendChoice
from netc_runtime.launch.ranks import Ranks


def run(options: argparse.Namespace) -> int:
    """Compile if need be, time steps and launches, and say what bounds each layer."""
    if options.output is not None:
        check_roofline(Path(options.output))
    bundle = load_bundle(options)
    choice = choose(options, bundle)
    return on_ranks(bundle, choice, partial(_run, options, choice))


def _run(
    options: argparse.Namespace, choice: BackendChoice, ranks: Ranks | None, bundle: Bundle
) -> int:
    """Of several processes the first one tells what its device does."""
    speaker = Speaker(not options.json)
    found = profiled(bundle, choice, options.steps, speaker, options.cluster, ranks)
    if found is None:
        return 0
    if options.output is not None:
        found.save(options.output, launches=options.launches)
    if options.json:
        _json(options, found)
    else:
        _show(options, found)
    return 0


def _json(options: argparse.Namespace, found: Profile) -> None:
    for part in found.launches if options.launches else found.layers:
        values = asdict(part)
        if not options.launches:
            del values["kernels"], values["call"]
        json_line(event="launch" if options.launches else "layer", **values)
    facts, unsaid = found.bundle.facts, ("layer", "phase", "kernels", "call")
    sums = {
        part.phase: {key: value for key, value in asdict(part).items() if key not in unsaid}
        for part in found.passes
    }
    json_line(
        event="result", network=facts.network, batch=facts.batch,
        devices=found.bundle.train.mesh.size, precision=facts.precision,
        backend=dict(found.backend), step_seconds=found.seconds, steps=list(found.timing.steps),
        images_per_second=found.images_per_second, passes=sums,
        other_seconds=found.other_seconds, exposed_seconds=found.timing.exposed_seconds,
        predicted_seconds=found.predicted_seconds, ceilings=asdict(found.ceilings),
        stages=stage_seconds(), written=options.output,
    )  # fmt: skip


def _show(options: argparse.Namespace, found: Profile) -> None:
    columns = columns_of(sys.stdout)
    say(f"{found.heading}\n")
    print(f"{found.table(columns, launches=options.launches)}\n")
    print(f"{found.sums(columns)}\n")
    say(found.footing)
    if options.output is not None:
        say(f"wrote {options.output}")
