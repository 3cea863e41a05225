"""`netc calibrate`: measure the machine at hand, and keep it as the machine to plan for."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from netc.api.calibrate import Calibration, CalibrationChoices, calibrated
from netc.api.configurations import Configuration, Skipped
from netc.api.model import Model
from netc.cli.files import defines, load_network
from netc.cli.output import json_line, note, say
from netc.cli.speaker import Speaker
from netc.errors import columns_of


def run(options: argparse.Namespace) -> int:
    """Measure exchanges, then steps and their launches; fit, write, and show what that predicts."""
    models = [_model(options, name) for name in dict.fromkeys(options.networks)]
    choices = CalibrationChoices(
        devices=options.devices, batch=options.batch, steps=options.steps,
        precision=options.precision, kernels=options.kernels, backend=options.backend,
        only=options.only, share_gpus=options.share_gpus, output=options.output,
    )  # fmt: skip
    found = calibrated(models, choices, Speaker(not options.json), partial(_tell, options))
    (_json if options.json else _show)(found)
    return 0


def _model(options: argparse.Namespace, name: str) -> Model:
    network = load_network(argparse.Namespace(**{**vars(options), "network": name}))
    return Model(network, name, tuple(sorted(defines(options.define).items())))


def _tell(options: argparse.Namespace, each: Configuration | Skipped) -> None:
    if isinstance(each, Skipped):
        if options.json:
            json_line(event="skipped", network=each.network, devices=each.devices,
                      strategy=each.strategy, reason=each.reason)  # fmt: skip
        else:
            note(each.text)
    elif options.json:
        json_line(event="measured", network=each.asked.network.name, devices=each.devices,
                  strategy=each.strategy, step_seconds=each.seconds,
                  launches=sum(map(len, each.launches.values())))  # fmt: skip
    else:
        say(f"measured  {each.text}")


def _json(found: Calibration) -> None:
    for row in found.steps:
        each = row.measured
        json_line(event="configuration", network=each.asked.network.name,
                  batch=each.asked.options.batch, devices=each.devices, strategy=each.strategy,
                  measured_seconds=each.seconds, predicted_seconds=row.predicted_seconds,
                  off=row.off)  # fmt: skip
    cluster = found.cluster
    json_line(event="result", machine=cluster.machine, written=str(found.path),
              error=cluster.error, while_exchanging=cluster.while_exchanging)  # fmt: skip


def _show(found: Calibration) -> None:
    if found.steps:
        print(f"\n{found.table(columns_of(sys.stdout))}")
    say(f"\n{found.machine}")
    if found.rough:
        note(found.rough)
    say(found.kept)
