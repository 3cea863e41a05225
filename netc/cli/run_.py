"""`netc run`: train a network or a compiled program, with progress, metrics and checkpoints."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from types import FrameType
from typing import Any

from netc.api.data import call_text, data_call, open_data
from netc.api.figures import bytes_text, count, rate_text, seconds_text
from netc.api.predicted import outcome, roughly
from netc.api.shipped import lasting
from netc.cli.beginning import AUTO, Damaged, GivenWeights, begin, folder_of, start
from netc.cli.data import tell_data, tell_left_out
from netc.cli.idle import idle_notes
from netc.cli.output import json_line, note, say, table
from netc.cli.session import (
    changes_text,
    choose,
    describe,
    load_bundle,
    note_kernels,
    on_ranks,
    open_session,
    out_folder,
)
from netc.cli.tracing import StepTracer, check_trace, write_trace
from netc.errors import Diagnostic, NetError, PlanError, UsageError, escaped
from netc.ir.clock import mean_step_seconds, simulate
from netc.ir.facts import Facts, RecipeCall, plain_facts
from netc.ir.program import Bundle, Launch
from netc.ir.schedules import scaled_rate
from netc.numbers import loss_text
from netc_runtime.choose import BackendChoice, open_backend
from netc_runtime.launch.ranks import Alone, Ranks
from netc_runtime.train.datasets import Dataset, facts_of
from netc_runtime.train.events import EpochDone, Evaluating, Finished, RolledBack, StepDone
from netc_runtime.train.folder import BEST, DAMAGED
from netc_runtime.train.progress import Progress, Standing
from netc_runtime.train.resume import Saved, changed
from netc_runtime.train.rollback import MOST_ROLLBACKS
from netc_runtime.train.saving import checkpoint_bytes
from netc_runtime.train.told import Training, steps_in_epoch
from netc_runtime.train.trainer import Trainer

FIRST_STEPS = 2
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
    _check_groups(bundle)
    choice = choose(options, bundle)
    if options.dry_run:
        return _dry(options, bundle, choice)
    if choice.name == "null":
        return _predict(options, bundle, choice)
    return on_ranks(bundle, choice, partial(_run, options, choice))


def _run(
    options: argparse.Namespace, choice: BackendChoice, ranks: Ranks | None, bundle: Bundle
) -> int:  # fmt: skip
    """Train; of several processes the first one reads and keeps what is saved."""
    training, dataset = _training(options, bundle), open_data(options.data, bundle)
    all_ = ranks or Alone()
    all_.compare(_agreed(options, training, dataset))
    steps_in_epoch(dataset, bundle.facts.batch)
    out = out_folder(options, bundle)
    with ExitStack() as held:
        first, damaged = (None, {}) if all_.rank else start(options, bundle, out)
        file = first.file if isinstance(first, Saved) else None
        folder = None if all_.rank else held.enter_context(folder_of(options, out, file, damaged))
        note_kernels(options, bundle)
        session = held.enter_context(closing(open_session(choice, bundle, ranks)))
        trainer = Trainer(session, dataset, training, folder, ranks)
        trainer.asks_each = options.report
        begun = begin(trainer, all_, first)
        tracer = None if options.trace is None else StepTracer(options, trainer, all_)
        _announce(options, choice, trainer, begun, damaged)
        return _train(options, trainer, tracer)


def _check_groups(bundle: Bundle) -> None:
    """Raise PlanError (E040) for a program that was compiled for inference of a batch by which its
    network cannot be trained.
    """
    batch = bundle.facts.batch
    for launch in bundle.train.instructions:
        for step in launch.steps if isinstance(launch, Launch) else ():
            if batch % (group := step.attributes.get("group", 1)):
                message = f"bn '{launch.layer}': groups of {group} images do not divide the batch, "
                hint = "compile the program for training."
                raise PlanError(Diagnostic("E040", f"{message}which is {batch}.", help=hint))


def _agreed(
    options: argparse.Namespace, training: Training, dataset: Dataset
) -> dict[str, object]:  # fmt: skip
    """What all processes of a training must have alike, beside their programs."""
    begins = {"--resume": options.resume, "--weights": options.weights}
    ways = [name for name, value in begins.items() if value is not None]
    return {
        "number of epochs": training.epochs,
        "number of steps": training.limit,
        "learning rate": training.rate,
        "patience": training.patience,
        "number of steps between checkpoints": training.save_every,
        "answer to numbers that are not finite": training.on_nan,
        "seed": training.seed,
        "number of images that may be left out": training.skip_bad,
        "way to begin": ways or "from the start",
        "page to write": options.report,
        "number of traced steps": 0 if options.trace is None else options.trace_steps or 1,
        **facts_of(dataset),
    }


def _check(options: argparse.Namespace) -> None:
    """Options that exclude each other."""
    problems = []
    if options.weights is not None and options.resume not in (None, AUTO):
        problems.append("'--weights' begins a training, '--resume' goes on with one: take one.")
    if options.replace and options.resume in ("", AUTO):
        problems.append("'--resume' goes on with the training in a folder, '--replace' removes it.")
    if options.weights is None and (options.allow_missing or options.allow_unexpected):
        problems.append("'--allow-missing' and '--allow-unexpected' need '--weights'.")
    if options.report and (options.dry_run or options.backend == "null"):
        problems.append("'--report' tells of a training, and nothing is trained.")
    if problems:
        raise UsageError(*(Diagnostic("E051", problem) for problem in problems))
    check_trace(options)


def _training(options: argparse.Namespace, bundle: Bundle) -> Training:
    facts = bundle.facts
    return Training(
        epochs=options.epochs or facts.epochs,
        seed=facts.seed if options.seed is None else options.seed,
        rate=scaled_rate(_given_rate(options, facts), facts.batch, facts.rate_batch),
        schedule=facts.schedule,
        augment=facts.augment,
        limit=options.steps,
        patience=options.patience,
        called=_called(options, facts.data),
        skip_bad=options.skip_bad,
        save_every=options.save_every,
        on_nan=options.on_nan,
    )


def _given_rate(options: argparse.Namespace, facts: Facts) -> float:
    """What the command or the recipe says of the rate."""
    return facts.lr if options.lr is None else float(options.lr)


def _called(options: argparse.Namespace, data: RecipeCall | None) -> dict[str, str]:
    """By what words network and data are found again, and where: their paths may be relative."""
    called = {"network": lasting(options.network)}
    if options.data is not None:
        called["data"] = options.data
    elif options.set and data is not None:
        called["data"] = call_text(data)
    if options.skip_bad:
        called["skip_bad"] = str(options.skip_bad)
    with suppress(OSError):  # of a folder that was removed
        called["directory"] = os.getcwd()
    return called


def _announce(
    options: argparse.Namespace,
    choice: BackendChoice,
    trainer: Trainer,
    begun: Saved | GivenWeights | None,
    damaged: Damaged,
) -> None:
    """Say what begins: plan, backend, data; and where it differs from what is resumed, or should
    have been.
    """
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
            rate = rate_text(_given_rate(options, told), told.batch, told.rate_batch)
            say(f"rate      {rate}")
    for file, problem in damaged.items():
        aside = f"it is put aside as '{file.name}{DAMAGED}', and the one before it taken."
        note(f"{problem.diagnostics[0].message} {escaped(aside)}")
    for text in idle_notes(trainer):
        note(text)
    if differs and begun is not None:
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


def _train(options: argparse.Namespace, trainer: Trainer, tracer: StepTracer | None) -> int:
    caught: list[int] = []
    steps: list[float] = []
    quiet, accuracy = options.json or options.quiet, None
    standing: Standing | None = None
    memory = trainer.session.backend.taken_bytes
    with (
        _interruptible(trainer, caught),
        Progress(trainer.total_steps, quiet, options.plain, memory=memory) as bar,
    ):
        for event in trainer.run():
            if isinstance(event, StepDone):
                steps.append(trainer.last_step.seconds)
                if tracer is not None:
                    tracer.take(event.step)
                speed, rate = event.images_per_second, event.learning_rate
                told = event.step, event.epoch, event.loss, speed, rate, accuracy, event.loading
                standing = Standing(*told)
                bar.update(standing)
            elif isinstance(event, Evaluating):
                if standing is not None:
                    bar.update(replace(standing, evaluating=True))
            elif isinstance(event, EpochDone):
                accuracy = event.test_accuracy
                _epoch(options, bar, event)
            elif isinstance(event, RolledBack):
                _rolled_back(options, bar, event)
            else:
                finished = event
            if standing is not None and isinstance(event, (EpochDone, Finished)):
                bar.update(replace(standing, accuracy=accuracy))
    traced = "" if tracer is None or tracer.ranks.rank else tracer.tell()
    page, problem = None, None
    try:
        page = _page(trainer, finished) if options.report else None
    except NetError as error:
        problem = error
    _finish(options, trainer, finished, caught, steps, traced, page)
    if problem is not None:
        raise problem
    return EXIT_SIGNALS[signal.Signals(caught[0])] if caught else 0


def _page(trainer: Trainer, event: Finished) -> Path | None:
    """Write the page of the training, in the process that has its folder; the file.

    Raises DataError and UsageError as `read_told` and `write_page`.
    """
    if trainer.folder is None or event.checkpoint is None:
        return None
    # Imported here: it is needed by this option alone.
    from netc.cli.training_facts import PAGE_NAME, judge, left_out, read_told, write_page

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


def _epoch(options: argparse.Namespace, bar: Progress, event: EpochDone) -> None:
    if options.json:
        json_line(event="epoch", **asdict(event))
    elif not options.quiet:
        accuracy = f"{100 * event.test_accuracy:.2f} %"
        loss = "" if event.loss is None else f"  loss {loss_text(event.loss)}"
        bar.note(f"epoch {event.epoch:3}{loss}  test accuracy {accuracy}")


def _rolled_back(options: argparse.Namespace, bar: Progress, event: RolledBack) -> None:
    if options.json:
        json_line(event="rollback", **asdict(event))
        return
    where = f"back to step {event.back_to}, on after step {event.step}"
    rate = f"{event.rate_factor:g} of the rate ({event.rollbacks} of {MOST_ROLLBACKS})"
    bar.note(f"{event.why}: {where} at {rate}")


def _finish(
    options: argparse.Namespace,
    trainer: Trainer,
    event: Finished,
    caught: list[int],
    steps: list[float],
    traced: str,
    page: Path | None,
) -> None:
    """`steps` are the seconds of each; the first of them make ready what the others use. `traced`
    says what was traced, if anything was; `page` is the file that was written, if one was.
    """
    dataset, bundle, left_out = trainer.dataset, trainer.session.bundle, trainer.left_out()
    usual = _usual(steps, bundle.facts.accumulate)
    predicted = _predicted(bundle)
    if options.json:
        values = asdict(event) | {"checkpoint": event.checkpoint and str(event.checkpoint)}
        json_line(event="result", **values, test_images=dataset.test_size,
                  held_out=dataset.description,
                  exposed_seconds=trainer.last_step.exposed_seconds,
                  sent_bytes=_sent(trainer), step_seconds=usual,
                  predicted_seconds=predicted, bad=[each.message for each in left_out],
                  trace=options.trace if traced else None,
                  report=page and escaped(str(page)))  # fmt: skip
        return
    if event.gave_up:
        epochs = f"{options.patience} epoch{'s' * (options.patience > 1)}"
        say(f"ended     early: nothing was better in {epochs}")
    if caught:
        lacking = ", which was not evaluated" if event.test_accuracy is None else ""
        say(f"interrupted after step {event.step}{lacking}; '--resume' goes on from there")
    if event.test_accuracy is not None and event.test_loss is not None:
        right, images = f"{100 * event.test_accuracy:.2f} %", count(dataset.test_size)
        say(f"test accuracy {right} on {images} held-out images, "
            f"loss {loss_text(event.test_loss)}, after {event.seconds:.1f} s")  # fmt: skip
    if usual is not None:
        beside = outcome(predicted, usual, bundle.facts.target, options.cluster)
        say(f"step      {seconds_text(usual)} measured, {beside}")
    if event.checkpoint is not None:
        say(f"saved     {escaped(str(event.checkpoint))}")
    if event.checkpoint is not None and event.best_accuracy >= 0:
        best = escaped(str(event.checkpoint.with_name(BEST)))
        say(f"best      {100 * event.best_accuracy:.2f} % after step {event.best_step}: {best}")
    if traced:
        say(f"trace     {traced}")
    if page is not None:
        say(f"report    {escaped(str(page))}")
    tell_left_out(left_out)


def _usual(steps: list[float], accumulate: int) -> float | None:
    """Usual seconds of a step, of those that make ready what others use; None where there were no
    others. Where gradients are added up, the mean of as many steps as move weights once.
    """
    rest = steps[FIRST_STEPS * accumulate :]
    ends = range(accumulate, len(rest) + 1, accumulate)
    return median(fmean(rest[end - accumulate : end]) for end in ends) if ends else None


def _predicted(bundle: Bundle) -> float:
    return mean_step_seconds(bundle.train, bundle.part, bundle.facts.accumulate)


def _sent(trainer: Trainer) -> list[int]:
    """Bytes that each device sent in the last program run."""
    report = trainer.last_step
    return [report.sent(d) for d in range(trainer.session.bundle.train.mesh.size)]


def _dry(options: argparse.Namespace, bundle: Bundle, choice: BackendChoice) -> int:
    """What every device would hold, and what a step would take; nothing is run."""
    if options.resume is not None or options.weights is not None:
        start(options, bundle, out_folder(options, bundle))
    # Imported here: a compiled program that is run needs no compiler.
    from netc.report import MemoryUse, memory_use

    uses, line = memory_use(bundle.train), simulate(bundle.train)
    saved, seconds = checkpoint_bytes(bundle), _predicted(bundle)
    if options.json:
        for device, use in enumerate(uses):
            json_line(event="device", device=device, weights_bytes=use.persistent,
                      inputs_bytes=use.inputs, activations_bytes=use.temporary,
                      peak_bytes=use.peak)  # fmt: skip
        facts = bundle.facts
        json_line(event="result", backend=choice.name, network=facts.network, batch=facts.batch,
                  strategy=facts.strategy, scheme=facts.scheme, devices=len(uses),
                  step_seconds=seconds, exposed_seconds=line.exposed_seconds,
                  checkpoint_bytes=saved)  # fmt: skip
        return 0
    say(f"{describe(bundle, choice)}: nothing is run\n")
    alike: dict[MemoryUse, list[int]] = {}
    for device, use in enumerate(uses):
        alike.setdefault(use, []).append(device)
    rows = (
        (_devices(own), *map(bytes_text, (use.persistent, use.inputs, use.temporary, use.peak)))
        for use, own in alike.items()
    )
    print(table(("device", "weights and state", "inputs", "activations", "in all"), rows))
    speed = count(bundle.facts.batch / seconds)
    say(f"\nstep      {seconds_text(seconds)} predicted, {speed} images/s"
          f"{roughly(bundle.facts.target, options.cluster)}")  # fmt: skip
    say(f"saved     {bytes_text(saved)} a checkpoint, and as much of the host's memory for a copy")
    return 0


def _devices(numbers: Sequence[int]) -> str:
    """Devices in a cell: 0, 0-3, or 0, 2-3."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)


def _predict(options: argparse.Namespace, bundle: Bundle, choice: BackendChoice) -> int:
    """The null backend: one step by the cost model, nothing is trained."""
    if options.trace is not None:
        write_trace(options, bundle, choice.name)
    report = open_backend(choice, bundle).load(bundle.train).run()
    assert report.exposed_seconds is not None, "the null backend knows"
    devices = bundle.train.mesh.size
    sent, seconds = [report.sent(d) for d in range(devices)], _predicted(bundle)
    if options.json:
        json_line(event="result", backend="null", test_accuracy=None, step_seconds=seconds,
                  exposed_seconds=report.exposed_seconds, sent_bytes=sent,
                  trace=options.trace)  # fmt: skip
        return 0
    speed = bundle.facts.batch / seconds
    say(f"backend   null ({choice.reason}): nothing is computed")
    say(f"step      {seconds_text(seconds)} predicted, {count(speed)} images/s, "
          f"{seconds_text(report.exposed_seconds)} not computing")  # fmt: skip
    say(f"sent      {bytes_text(max(sent))} by the device that sends most")
    if options.trace is not None:
        say(f"trace     the predicted step in {escaped(options.trace)}")
    return 0
