"""What is said while a training goes on, and of what came of it."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median

from netc.api.figures import count, seconds_text
from netc.api.predicted import outcome
from netc.cli.data import tell_left_out
from netc.cli.foretell import predicted
from netc.cli.output import json_line, say
from netc.errors import escaped
from netc.numbers import loss_text
from netc.stages import stage_seconds
from netc_runtime.train.events import EpochDone, Finished, RolledBack
from netc_runtime.train.folder import BEST
from netc_runtime.train.progress import Progress
from netc_runtime.train.rollback import MOST_ROLLBACKS
from netc_runtime.train.trainer import Trainer

FIRST_STEPS = 2


def tell_epoch(options: argparse.Namespace, bar: Progress, event: EpochDone) -> None:
    """Say what an epoch came to."""
    if options.json:
        json_line(event="epoch", **asdict(event))
    elif not options.quiet:
        accuracy = f"{100 * event.test_accuracy:.2f} %"
        loss = "" if event.loss is None else f"  loss {loss_text(event.loss)}"
        bar.note(f"epoch {event.epoch:3}{loss}  test accuracy {accuracy}")


def tell_rollback(options: argparse.Namespace, bar: Progress, event: RolledBack) -> None:
    """Say where a training went back to."""
    if options.json:
        json_line(event="rollback", **asdict(event))
        return
    where = f"back to step {event.back_to}, on after step {event.step}"
    rate = f"{event.rate_factor:g} of the rate ({event.rollbacks} of {MOST_ROLLBACKS})"
    bar.note(f"{event.why}: {where} at {rate}")


def tell_end(
    options: argparse.Namespace,
    trainer: Trainer,
    event: Finished,
    caught: list[int],
    steps: list[float],
    traced: str,
    page: Path | None,
) -> None:
    """Say what came of a training. `steps` are the seconds of each; the first of them make ready
    what the others use. `traced` says what was traced, if anything was; `page` is the file that was
    written, if one was.
    """
    dataset, bundle, left_out = trainer.dataset, trainer.session.bundle, trainer.left_out()
    usual = _usual(steps, bundle.facts.accumulate)
    foretold = predicted(bundle)
    if options.json:
        values = asdict(event) | {"checkpoint": event.checkpoint and str(event.checkpoint)}
        json_line(event="result", **values, test_images=dataset.test_size,
                  held_out=dataset.description,
                  exposed_seconds=trainer.last_step.exposed_seconds,
                  sent_bytes=_sent(trainer), step_seconds=usual,
                  predicted_seconds=foretold, bad=[each.message for each in left_out],
                  trace=options.trace if traced else None,
                  report=page and escaped(str(page)), stages=stage_seconds())  # fmt: skip
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
        beside = outcome(foretold, usual, bundle.facts.target, options.cluster)
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


def _sent(trainer: Trainer) -> list[int]:
    """Bytes that each device sent in the last program run."""
    report = trainer.last_step
    return [report.sent(d) for d in range(trainer.session.bundle.train.mesh.size)]
