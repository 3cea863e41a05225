"""`netc report`: a page of a training, from what it left in its folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from netc.api.figures import count
from netc.api.report import (
    ReportChoices,
    ReportListener,
    TrainingReport,
    check_page,
    reported,
    training_folder,
    write_curves,
)
from netc.api.running import describe
from netc.api.training_facts import PAGE_NAME, TrainingFolder, write_page
from netc.cli.data import tell_data, tell_left_out
from netc.cli.files import defines
from netc.cli.output import json_line, say
from netc.cli.speaker import Speaker
from netc.errors import NetError, escaped
from netc.interchange.tensorboard import check_events
from netc.ir.program import Bundle
from netc.numbers import loss_text
from netc_runtime.choose import BackendChoice, is_first
from netc_runtime.launch.ranks import Alone
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.skipping import problems_in
from netc_runtime.train.survey import UNREAD


class _Teller(Speaker, ReportListener):
    """Prints what a report is made of, where notes are wanted."""

    def read(self, training: TrainingFolder) -> None:
        steps, place = count(training.lines[-1]["step"] or 0), escaped(str(training.folder))
        self._say(f"training  {training.network}, {steps} steps in {place}")

    def judging(self, bundle: Bundle, choice: BackendChoice, file: Path, data: Dataset) -> None:
        self._say(describe(bundle, choice))
        self._say(f"weights   {escaped(str(file))}")
        if self.notes:
            tell_data(data)

    def judged(self, data: Dataset) -> None:
        if self.notes:
            tell_left_out(problems_in(data, Alone()))

    def unjudged(self, training: TrainingFolder, problem: NetError, why: str) -> None:
        unread = any(each.code == UNREAD for each in problem.diagnostics)
        named_by = (
            "'--skip-bad N' leaves them out." if unread else "'--network' and '--data' name them."
        )
        self.note(f"{why} {named_by}" if training.file else why)

    def _say(self, text: str) -> None:
        if self.notes:
            say(text)


def run(options: argparse.Namespace) -> int:
    """Read a folder, run its newest checkpoint on the held-out images, and write the page."""
    if not is_first():
        return 0
    place = training_folder(Path(options.folder))
    path = Path(options.output or place / PAGE_NAME)
    check_page(path)
    events = None if options.tensorboard is None else Path(options.tensorboard)
    if events is not None:
        check_events(events)
    choices = ReportChoices(
        options.network, defines(options.define), options.data, options.skip_bad or None,
        options.backend, options.no_evaluation,
    )  # fmt: skip
    found = reported(place, choices, _Teller(not options.json))
    write_page(path, found.training, found.judged, found.told)
    if events is not None:
        events = write_curves(events, found.training)
    _tell(options, path, events, found)
    return 0


def _tell(
    options: argparse.Namespace, path: Path, events: Path | None, found: TrainingReport
) -> None:
    judged = found.judged
    if options.json:
        json_line(event="result", written=escaped(str(path)), bytes=path.stat().st_size,
                  network=found.network, epochs=found.epochs, steps=found.lines[-1]["step"],
                  checkpoint=None if found.checkpoint is None else escaped(str(found.checkpoint)),
                  test_accuracy=found.accuracy, test_loss=found.loss,
                  test_images=None if judged is None else judged.images,
                  tensorboard=events and escaped(str(events)), notes=found.told)  # fmt: skip
        return
    if judged is not None:
        say(f"test accuracy {100 * judged.accuracy:.2f} % on {count(judged.images)} held-out "
            f"images, loss {loss_text(judged.loss)}")  # fmt: skip
    for written in filter(None, (path, events)):
        say(f"wrote {escaped(str(written))}")
