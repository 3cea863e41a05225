"""`netc run`: train a network or a compiled program, with progress, metrics and checkpoints."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from netc.api.beginning import GivenWeights
from netc.api.data import data_call
from netc.api.figures import rate_text
from netc.api.running import changes_text, check_trains, describe
from netc.api.shipped import lasting
from netc.api.tracing import StepTracer
from netc.api.train_choices import TrainChoices
from netc.api.training import Here, TrainingRun, given_rate, open_training
from netc.api.writable import check_writable
from netc.cli.arguments import spare
from netc.cli.data import tell_data
from netc.cli.foretell import foretell, foretell_memory
from netc.cli.idle import idle_notes
from netc.cli.output import json_line, note, say
from netc.cli.ran import tell_end, tell_epoch, tell_rollback
from netc.cli.session import RUNS, choose, load_bundle, on_ranks, out_folder, weight_choices
from netc.cli.speaker import Speaker
from netc.errors import Diagnostic, NetError, UsageError, escaped
from netc.ir.facts import plain_facts
from netc.ir.program import Bundle
from netc_runtime.choose import BackendChoice
from netc_runtime.launch.ranks import Ranks
from netc_runtime.train.events import EpochDone, Evaluating, Finished, RolledBack, StepDone
from netc_runtime.train.folder import DAMAGED
from netc_runtime.train.progress import Progress, Standing
from netc_runtime.train.resume import Saved, changed
from netc_runtime.train.rollback import MOST_ROLLBACKS
from netc_runtime.train.trainer import Trainer

EXIT_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}
if hasattr(signal, "SIGHUP"):
    EXIT_SIGNALS[signal.SIGHUP] = 129
NOT_EVALUATED = "the last step was not evaluated, being interrupted: 'netc report' does it."
UNSHOWN_FACTS = ("parameters", "scores", "text", "torch_names")
"""Facts of a bundle that only programs want."""


def run(options: argparse.Namespace) -> int:
    """Compile if need be, then train to the end or to an interruption."""
    _check(options)
    bundle = load_bundle(options)
    check_trains(bundle)
    choice = choose(options, bundle)
    if options.dry_run:
        return foretell_memory(options, bundle, choice, train_choices(options, bundle))
    if choice.name == "null":
        return foretell(options, bundle, choice)
    return on_ranks(bundle, choice, partial(_run, options, choice))


def _run(
    options: argparse.Namespace, choice: BackendChoice, ranks: Ranks | None, bundle: Bundle
) -> int:
    """Train; of several processes the first one reads and keeps what is saved."""
    called = {"network": lasting(options.network), "set": " ".join(options.set)}
    alike = {"page to write": options.report}
    choices = train_choices(options, bundle)
    speaker = Speaker(not options.json, quiet=options.quiet)
    with open_training(
        bundle,
        choice,
        choices,
        speaker,
        called=called,
        cluster=options.cluster,
        ranks=ranks,
        alike=alike,
    ) as training:
        trainer = training.source.trainer
        trainer.asks_each = options.report
        _announce(options, choice, choices, training)
        return _train(options, training)


def train_choices(options: argparse.Namespace, bundle: Bundle | None = None) -> TrainChoices:
    """What a command says of its training; a `bundle` names the folder where it does not."""
    out = options.out or (RUNS if bundle is None else str(out_folder(options, bundle)))
    return TrainChoices(
        data=options.data, epochs=options.epochs, steps=options.steps, lr=options.lr,
        seed=options.seed, patience=options.patience, save_every=options.save_every,
        on_nan=options.on_nan, skip_bad=options.skip_bad, out=out, keep=options.keep,
        resume=options.resume, replace=options.replace, trace=options.trace,
        trace_steps=options.trace_steps, weights=weight_choices(options),
    )  # fmt: skip


def _check(options: argparse.Namespace) -> None:
    """Options that exclude each other."""
    problems: list[Diagnostic] = []
    try:
        train_choices(options)
    except UsageError as error:
        problems += error.diagnostics
    if options.report and (options.dry_run or options.backend == "null"):
        message = "'--report' tells of a training, and nothing is trained."
        problems.append(Diagnostic("E051", message))
    if problems:
        raise UsageError(*problems)
    _check_trace(options)


def _check_trace(options: argparse.Namespace) -> None:
    """Refuse, before anything is computed, what could not be traced.

    Raises UsageError (E051, E056).
    """
    if options.trace is None:
        return
    if options.dry_run:
        message = "'--dry-run' runs nothing that could be traced."
        hint = "'--backend null' writes the predicted step."
        raise UsageError(Diagnostic("E051", message, help=hint))
    spare(options.trace, options.network, options.cluster, options.weights, options.resume)
    check_writable(Path(options.trace))


def _announce(
    options: argparse.Namespace,
    choice: BackendChoice,
    choices: TrainChoices,
    training: TrainingRun[Here],
) -> None:
    """Say what begins: plan, backend, data; and where it differs from what is resumed, or should
    have been.
    """
    source = training.source
    trainer, begun, damaged = source.trainer, source.begun, source.damaged
    session, dataset = trainer.session, trainer.dataset
    differs = changed(begun.meta, trainer.settings) if isinstance(begun, Saved) else {}
    weights = begun.file if isinstance(begun, GivenWeights) else None
    if options.json:
        facts = plain_facts(session.bundle.facts)
        facts = {name: value for name, value in facts.items() if name not in UNSHOWN_FACTS}
        given = trainer.training
        facts |= {"epochs": given.epochs, "lr": given.rate, "seed": given.seed}
        facts["data"] = data_call(options.data, session.bundle)
        json_line(event="start", **facts, backend=dict(session.backend.describe()),
                  reason=choice.reason, data_set=dataset.description, steps=trainer.total_steps,
                  resumed_at=trainer.start_step, changed=differs,
                  damaged=[escaped(str(file)) for file in damaged],
                  lost_best=trainer.lost_best or None,
                  weights=None if weights is None else str(weights))  # fmt: skip
        return
    if not options.quiet:
        say(describe(session.bundle, choice))
        tell_data(dataset)
        begins = "from the start" if weights is None else f"from the weights in {weights}"
        if trainer.start_step:
            due = ", which is evaluated first" if trainer.due else ""
            begins = f"resumed at step {trainer.start_step}{due}"
        steps = f"{trainer.total_steps} step{'s' * (trainer.total_steps != 1)}"
        epochs = f"{trainer.training.epochs} epoch{'s' * (trainer.training.epochs != 1)}"
        say(f"training  {steps}, {epochs}, {begins}")
        told = session.bundle.facts
        if told.rate_batch is not None:
            say(f"rate      {rate_text(given_rate(choices, told), told.batch, told.rate_batch)}")
    for file, problem in damaged.items():
        aside = f"it is put aside as '{file.name}{DAMAGED}', and the one before it taken."
        note(f"{problem.diagnostics[0].message} {escaped(aside)}")
    for text in idle_notes(trainer):
        note(text)
    if differs and isinstance(begun, Saved):
        note(changes_text(begun.file, differs))
    if trainer.rollbacks.count:
        back = trainer.rollbacks
        note(f"the rate is {back.factor:g} of the recipe's: numbers were not finite before, and it "
             f"went back to a checkpoint ({back.count} of {MOST_ROLLBACKS}).")  # fmt: skip
    if trainer.lost_best:
        note(f"{trainer.lost_best}; so what was best is not known, and the next one is kept.")
    _tell_nothing_left(trainer)


def _tell_nothing_left(trainer: Trainer) -> None:
    """Say it where all steps were done before, or patience was at its end."""
    limit, patience = trainer.training.limit, trainer.training.patience
    if trainer.start_step >= trainer.total_steps:
        binds = "--epochs" if limit is None or limit > trainer.total_steps else "--steps"
        done = f"{trainer.start_step} steps are done, which is all"
    elif trainer.gave_up:
        binds, epochs = "--patience", f"{patience} epoch{'s' * (patience != 1)}"
        done = f"nothing was better than step {trainer.best.step} in {epochs}"
    else:
        return
    note(f"nothing is left to do: {done}; a larger '{binds}' goes on.")


@contextmanager
def _interruptible(trainer: Trainer, caught: list[int]) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP ends the training after its step; the second ends it at
    once. Under nohup SIGHUP stays ignored.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        trainer.stop = True
        for asked, old in before.items():
            signal.signal(asked, old)

    before: dict[int, Any] = {}
    for known in EXIT_SIGNALS:
        if known.name != "SIGHUP" or signal.getsignal(known) is not signal.SIG_IGN:
            before[known] = signal.signal(known, handle)
    try:
        yield
    finally:
        for each, old in before.items():
            signal.signal(each, old)


def _train(options: argparse.Namespace, training: TrainingRun[Here]) -> int:
    trainer = training.source.trainer
    caught: list[int] = []
    steps: list[float] = []
    quiet, accuracy = options.json or options.quiet, None
    standing: Standing | None = None
    memory = trainer.session.backend.taken_bytes
    with (
        _interruptible(trainer, caught),
        Progress(trainer.total_steps, quiet, options.plain, memory=memory) as bar,
    ):
        for event in training:
            if isinstance(event, StepDone):
                steps.append(trainer.last_step.seconds)
                speed, rate = event.images_per_second, event.learning_rate
                told = event.step, event.epoch, event.loss, speed, rate, accuracy, event.loading
                standing = Standing(*told)
                bar.update(standing)
            elif isinstance(event, Evaluating):
                if standing is not None:
                    bar.update(replace(standing, evaluating=True))
            elif isinstance(event, EpochDone):
                accuracy = event.test_accuracy
                tell_epoch(options, bar, event)
            elif isinstance(event, RolledBack):
                tell_rollback(options, bar, event)
            if standing is not None and isinstance(event, (EpochDone, Finished)):
                bar.update(replace(standing, accuracy=accuracy))
    finished = training.finished
    assert finished is not None, "it has ended"
    traced = _traced(training.source.tracer)
    page, problem = None, None
    try:
        page = _page(trainer, finished) if options.report else None
    except NetError as error:
        problem = error
    tell_end(options, trainer, finished, caught, steps, traced, page)
    if problem is not None:
        raise problem
    return EXIT_SIGNALS[signal.Signals(caught[0])] if caught else 0


def _traced(tracer: StepTracer | None) -> str:
    """What was traced, in words, in the process that wrote it; says where the training ended
    before.
    """
    if tracer is None or tracer.ranks.rank:
        return ""
    if tracer.missing:
        note(tracer.missing)
        return ""
    return tracer.text


def _page(trainer: Trainer, event: Finished) -> Path | None:
    """Write the page of the training, in the process that has its folder; the file.

    Raises DataError and UsageError as `read_told` and `write_page`.
    """
    if trainer.folder is None or event.checkpoint is None:
        return None
    # Imported here: it is needed by this option alone.
    from netc.api.training_facts import PAGE_NAME, judge, left_out, read_told, write_page

    told, path = read_told(trainer.folder.path), trainer.folder.path / PAGE_NAME
    if event.test_loss is None or event.test_accuracy is None:
        write_page(path, told, None, (NOT_EVALUATED,))
        return path
    measured, outcomes = (event.test_loss, event.test_accuracy), trainer.outcomes
    assert outcomes is not None, "as asked"
    try:
        bundle, dataset = trainer.session.bundle, trainer.source
        judged = judge(bundle, dataset, event.checkpoint, measured, outcomes)
    except NetError as error:
        write_page(path, told, None, (left_out(error),))
    else:
        write_page(path, told, judged, ())
    return path
