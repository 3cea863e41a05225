"""What several verbs need: options as choices of a plan, and who hears what is no result."""

from __future__ import annotations

import argparse
from pathlib import Path

from netc.api import request as requests
from netc.api.build import save_strategy
from netc.api.choices import PlanChoices
from netc.api.network_data import training_images
from netc.api.plan import NetworkPlan, plan_of
from netc.api.request import Request
from netc.cli.arguments import spare
from netc.cli.auto import tell
from netc.cli.files import defines, load_network
from netc.cli.passes import CompileProgress
from netc.cli.speaker import Speaker
from netc.stages import staged


def plan_choices(options: argparse.Namespace) -> PlanChoices:
    """What a command says of its plan."""
    return PlanChoices(
        devices=options.devices, mesh=options.mesh, strategy=options.strategy, batch=options.batch,
        memory=options.memory, search_labels=options.search_labels, no_share=options.no_share,
        exact_memory=options.exact_memory,
        pin=tuple(options.pin), scheme=options.scheme, fc_update=options.fc_update,
        updates=options.updates, recompute=options.recompute, precision=options.precision,
        kernels=options.kernels, cluster=options.cluster, goal=options.goal,
        backend=options.backend, share_gpus=getattr(options, "share_gpus", False),
        runs=options.runs,
    )  # fmt: skip


def request(options: argparse.Namespace, images: int | None = None, quiet: bool = False) -> Request:
    """The network that a command names, and what it asks of a plan.

    Where there are only so many `images`, the batch is no larger unless the command says so. Of a
    search that was asked for is told what came of it, but where it is to be `quiet`.
    """
    output = getattr(options, "save_strategy", None)
    spare(output, options.network, options.strategy, options.cluster)
    with staged("parse"):
        network = load_network(options)

    def most() -> int | None:
        return training_images(options.data, network) if options.verb == "run" else None

    parameters = tuple(sorted(defines(options.define).items()))
    speaker = Speaker(not (quiet or options.json))
    choices = plan_choices(options)
    asked = requests.request(network, parameters, choices, speaker, images, most)
    if options.json and not quiet and asked.found is not None and options.strategy is not None:
        tell(asked.found)
    return asked


def build(
    asked: Request, options: argparse.Namespace, observer: CompileProgress | None = None
) -> NetworkPlan:
    """The plan that is asked for; its splits are written as a strategy if the command asks to."""
    made = plan_of(asked, Speaker(not options.json, observer))
    if getattr(options, "save_strategy", None):
        save_strategy(Path(options.save_strategy), made.asked, made.compiled)
    return made


def plan(options: argparse.Namespace, observer: CompileProgress | None = None) -> NetworkPlan:
    """The plan that a command asks for."""
    return build(request(options), options, observer)
