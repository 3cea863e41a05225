"""What `run`, `eval` and `predict` share: options as choices, and what is told of weights."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from netc.api import running
from netc.api.choices import option
from netc.api.compiled import fixed_problem, is_compiled
from netc.api.judge import Judge
from netc.api.ranks import joined
from netc.api.running import (
    RunChoices,
    changes_since,
    given_weights,
    read_program,
)
from netc.api.train_choices import WeightChoices
from netc.cli.output import note
from netc.errors import UsageError
from netc.ir.program import Bundle
from netc.stages import staged
from netc_runtime.choose import BackendChoice
from netc_runtime.launch.ranks import Ranks


def load_bundle(options: argparse.Namespace, images: int | None = None) -> Bundle:
    """A compiled program as it is, or a network compiled now; `images` bounds the batch."""
    path = Path(options.network)
    notes: tuple[str, ...] = ()
    if path.is_file() and is_compiled(path):
        with staged("parse"):
            bundle = _compiled(path, options)
    else:
        # Imported here: a compiled program needs no compiler.
        from netc.api.build import advice
        from netc.cli.common import build, request

        with staged("compile"):
            asked = request(options, images)
            made = build(asked, options)
        bundle, compiled = made.bundle, made.compiled
        notes = compiled.notes
        if options.verb == "run" and not options.json:
            notes += advice(asked, compiled)
    for text in () if options.json else notes:
        note(text)
    return bundle


def _compiled(path: Path, options: argparse.Namespace) -> Bundle:
    """Read a compiled program; what was fixed when it was compiled cannot be changed now."""
    bundle = read_program(path)
    _check_fixed(bundle, options)
    return bundle


def _check_fixed(bundle: Bundle, options: argparse.Namespace) -> None:
    facts = bundle.facts
    asked = {
        "batch": options.batch, "strategy": options.strategy, "scheme": options.scheme,
        "precision": options.precision, "fc_update": options.fc_update, "mesh": options.mesh,
        "devices": options.devices, "pin": options.pin or None, "define": options.define or None,
        "set": options.set or None,
        "cluster": options.cluster, "save_strategy": options.save_strategy,
        "kernels": options.kernels, "search_labels": options.search_labels,
        "no_share": options.no_share or None, "exact_memory": options.exact_memory or None,
        "memory": options.memory, "updates": options.updates, "recompute": options.recompute,
    }  # fmt: skip
    fixed = {
        "batch": facts.batch, "strategy": facts.strategy, "scheme": facts.scheme,
        "precision": facts.precision, "fc_update": facts.fc_update, "kernels": facts.kernels,
        "mesh": "x".join(map(str, facts.mesh)), "devices": bundle.train.mesh.size,
        "updates": facts.updates,
    }  # fmt: skip
    problems = []
    for name, value in asked.items():
        if value is not None and value != fixed.get(name):
            asked_by = "-D" if name == "define" else option(name)
            problems.append(fixed_problem(asked_by, fixed.get(name)))
    if problems:
        raise UsageError(*problems)


def choose(options: argparse.Namespace, bundle: Bundle) -> BackendChoice:
    """The backend for a bundle, as `running.choose`."""
    given = RunChoices(options.backend, options.share_gpus, options.no_graph)
    return running.choose(bundle, given)


def weight_choices(options: argparse.Namespace) -> WeightChoices:
    """What a command says of weights."""
    return WeightChoices(options.weights, options.allow_missing, options.allow_unexpected)


RUNS = "runs"
"""The folder of folders of trainings where none is named."""
Work = Callable[[Ranks | None, Bundle], int]
"""What a process of a run does with its place among the others and the program; the exit code."""


def on_ranks(bundle: Bundle, choice: BackendChoice, work: Work) -> int:
    """Do the work in every process of a run, or in this one alone; the exit code.

    The first process speaks; when one fails, all end with its exit code.
    """
    with joined(bundle, choice) as (ranks, agreed):
        return work(ranks, agreed)


def teller(options: argparse.Namespace) -> Callable[[str], None]:
    """Who hears of what is no result: nobody where JSON is asked for."""
    return (lambda _: None) if options.json else note


def note_changes(options: argparse.Namespace, bundle: Bundle, file: Path) -> None:
    """Say where a network is no longer the one that a file's weights were trained in."""
    changes = changes_since(bundle, file)
    if changes and not options.json:
        note(changes)


def judge(
    options: argparse.Namespace,
    choice: BackendChoice,
    bundle: Bundle,
    ranks: Ranks | None,
    file: Path,
) -> Judge:
    """The program with the weights of a file, which the first process reads."""
    given, told = weight_choices(options), teller(options)
    first = ranks is None or not ranks.rank
    read = given_weights(given, bundle, file, told, evaluates=True) if first else {}
    return Judge(bundle, choice, read, ranks, f"the weights in '{file}'", told)


def out_folder(options: argparse.Namespace, bundle: Bundle) -> Path:
    """Where checkpoints are."""
    return Path(options.out or Path(RUNS) / bundle.facts.network)
