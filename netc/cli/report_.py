"""`netc report`: a page of a training, from what it left in its folder."""

from __future__ import annotations

import argparse
import os
from contextlib import AbstractContextManager, chdir, nullcontext
from dataclasses import replace
from pathlib import Path

from netc.api.compiled import is_compiled
from netc.api.data import open_data, skipping
from netc.api.figures import count
from netc.api.running import changes_since, describe
from netc.api.writable import check_writable
from netc.cli.arguments import file_name
from netc.cli.data import tell_data, tell_left_out
from netc.cli.output import json_line, note, say
from netc.cli.session import choose, load_bundle
from netc.cli.session import judge as judged_by
from netc.cli.training_facts import (
    PAGE_NAME,
    Judged,
    Told,
    epochs_done,
    judge,
    left_out,
    read_told,
    standing,
    whole_number,
    write_page,
)
from netc.errors import NetError, escaped
from netc.export.write import PAGE, writer_of
from netc.interchange.tensorboard import check_events, write_events
from netc.numbers import loss_text
from netc_runtime.choose import is_first
from netc_runtime.io.checkpoint import run_in, settings_in
from netc_runtime.io.problems import data_error, folder
from netc_runtime.launch.ranks import Alone
from netc_runtime.train.folder import METRICS
from netc_runtime.train.resume import check_classes
from netc_runtime.train.skipping import problems_in
from netc_runtime.train.survey import UNREAD

RETRIES = 3
"""How often another checkpoint is taken where the one that was read is gone."""
NO_RUN = "name the folder of a training: runs/NAME, or what 'netc run --out' said."


def run(options: argparse.Namespace) -> int:
    """Read a folder, run its newest checkpoint on the held-out images, and write the page."""
    if not is_first():
        return 0
    place = _folder(Path(options.folder))
    path = Path(options.output or place / PAGE_NAME)
    writer_of(path, {PAGE: lambda: b""}, "a report")
    check_writable(path)
    events = None if options.tensorboard is None else Path(options.tensorboard)
    if events is not None:
        check_events(events)
    told = read_told(place)
    if not options.json:
        last = told.lines[-1]
        say(f"training  {told.network}, {count(last['step'] or 0)} steps in {escaped(str(place))}")
    if not options.json:
        for text in standing(told):
            note(text)
    judged, notes = _judge_if_possible(options, told)
    for _ in range(RETRIES):
        if told.file is None or told.file.exists():
            break
        # A training that runs on keeps the newest few: there is a newer one now.
        told = read_told(place)
        judged, notes = _judge_if_possible(options, told)
    notes = (*standing(told), *notes)
    write_page(path, told, judged, notes)
    if events is not None:
        events = write_events(events, told.lines, (place / METRICS).stat().st_mtime)
    _tell(options, path, events, told, judged, notes)
    return 0


def _folder(path: Path) -> Path:
    """The folder of a training; DataError (E061) where there is none of this name."""
    default = Path("runs") / path
    hint = f"did you mean '{default}'? {NO_RUN}" if (default / METRICS).is_file() else NO_RUN
    return folder(path, hint)


def _judge_if_possible(
    options: argparse.Namespace, told: Told
) -> tuple[Judged | None, tuple[str, ...]]:
    """What the newest checkpoint makes of the held-out images, and notes; where that cannot be
    said, a note why. What the command names must be there.
    """
    if options.no_evaluation:
        return None, ("the held-out images are left out, as asked.",)
    named = (options.network, options.data, options.backend, options.define, options.skip_bad)
    try:
        # Its folder may be relative to where the command is called, not to that other place.
        here = replace(told, file=told.file and told.file.absolute())
        with nullcontext() if any(named) else _where(told):
            return _judge(options, here)
    except NetError as error:
        if any(named):
            raise
        why = left_out(error)
        if not options.json:
            unread = any(each.code == UNREAD for each in error.diagnostics)
            named_by = (
                "'--skip-bad N' leaves them out."
                if unread
                else ("'--network' and '--data' name them.")
            )
            note(f"{why} {named_by}" if told.file else why)
        return None, (why,)


def _where(told: Told) -> AbstractContextManager[None]:
    """Be where the training was begun, as folders of data sets may be relative."""
    place = run_in(told.meta).get("directory", "")
    reached = os.path.isdir(place) and os.access(place, os.X_OK)
    return chdir(place) if reached else nullcontext()


def _judge(options: argparse.Namespace, told: Told) -> tuple[Judged, tuple[str, ...]]:
    """As `netc eval` does it.

    Raises DataError where there is no checkpoint, or the network is not known; or as the network,
    the data set and the devices do.
    """
    if told.file is None:
        assert told.problem is not None, "one of both"
        raise told.problem
    asked = _asked(options, told)
    bundle = load_bundle(asked)
    # All devices of a compiled program are in this one process.
    asked.share_gpus = bundle.facts.target == "cuda"
    choice = choose(asked, bundle)
    dataset = skipping(asked.skip_bad, open_data(asked.data, bundle))
    check_classes(told.meta, dataset.classes, told.file)
    changes = changes_since(bundle, told.file)
    file = told.file

    def begun() -> None:
        if not options.json:
            say(describe(bundle, choice))
            say(f"weights   {escaped(str(file))}")
            tell_data(dataset)

    found = judged_by(asked, choice, bundle, None, file).evaluate(dataset, begun)
    if not options.json:
        tell_left_out(problems_in(dataset, Alone()))
    assert found.outcomes is not None, "as asked"
    measured = found.loss, found.accuracy
    judged = judge(bundle, dataset, told.file, measured, found.outcomes)
    return judged, (changes,) if changes else ()


def _asked(options: argparse.Namespace, told: Told) -> argparse.Namespace:
    """The options of an evaluation: what the command says, else what the training did."""
    ran, settings = run_in(told.meta), settings_in(told.meta)
    network = options.network or _named(ran.get("network", ""))
    if not network:
        message = f"'{told.file}' does not say which network it is of."
        raise data_error("E068", message, "name it with '--network'.")
    given = [f"{name[3:]}={value}" for name, value in settings.items() if name.startswith("-D ")]
    # What a compiled program was given is fixed in it.
    define = options.define or ([] if is_compiled(Path(network)) else given)
    data = options.data or ran.get("data")
    skip = options.skip_bad or whole_number(ran.get("skip_bad")) or 0
    asked = {**vars(options), "network": network, "define": define, "data": data, "skip_bad": skip}
    return argparse.Namespace(**asked)


def _named(text: str) -> str:
    """What can be the name of a file; empty for what cannot, in a damaged checkpoint."""
    try:
        return file_name(text)
    except (argparse.ArgumentTypeError, ValueError):
        return ""


def _tell(
    options: argparse.Namespace,
    path: Path,
    events: Path | None,
    told: Told,
    judged: Judged | None,
    notes: tuple[str, ...],
) -> None:
    if options.json:
        json_line(event="result", written=escaped(str(path)), bytes=path.stat().st_size,
                  network=told.network, epochs=epochs_done(told), steps=told.lines[-1]["step"],
                  checkpoint=None if told.file is None else escaped(str(told.file)),
                  test_accuracy=None if judged is None else judged.accuracy,
                  test_loss=None if judged is None else judged.loss,
                  test_images=None if judged is None else judged.images,
                  tensorboard=events and escaped(str(events)), notes=notes)  # fmt: skip
        return
    if judged is not None:
        say(f"test accuracy {100 * judged.accuracy:.2f} % on {count(judged.images)} held-out "
            f"images, loss {loss_text(judged.loss)}")  # fmt: skip
    for written in filter(None, (path, events)):
        say(f"wrote {escaped(str(written))}")
