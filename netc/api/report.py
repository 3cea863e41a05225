"""What a training came to, from the folder that it left."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, chdir, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from netc.api.calls import checked_call, checked_calls
from netc.api.choices import INFERENCE, TARGETS, PlanChoices, flag, number, one_of
from netc.api.compiled import fixed_problem, is_compiled
from netc.api.data import open_data, skipping
from netc.api.figures import html_table, table, terminal_columns
from netc.api.held import blas_kept, check_one_process
from netc.api.judge import Judge
from netc.api.listener import Listener
from netc.api.model import Model, given_parameters
from netc.api.networks import read_network
from netc.api.plan import plan_of
from netc.api.program import DataWord
from netc.api.request import request
from netc.api.running import RunChoices, changes_since, choose, given_weights, read_program
from netc.api.train_choices import Data, WeightChoices, read_held_out
from netc.api.training_facts import (
    Judged,
    TrainingFolder,
    epochs_done,
    judge,
    left_out,
    read_told,
    standing,
    tiles,
    whole_number,
    write_page,
)
from netc.api.values import can_name_file, path_text, usage
from netc.api.writable import check_writable
from netc.errors import NetError, UsageError, escaped
from netc.export.write import PAGE, writer_of
from netc.interchange.tensorboard import write_events
from netc.ir.program import Bundle
from netc.numbers import NATURAL
from netc.spelling import in_python
from netc_runtime.choose import BackendChoice
from netc_runtime.io.checkpoint import run_in, settings_in
from netc_runtime.io.problems import data_error, folder
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.folder import METRICS
from netc_runtime.train.metrics import Measured
from netc_runtime.train.resume import check_classes

RETRIES = 3
"""How often another checkpoint is taken where the one that was read is gone."""
NO_RUN = "name the folder of a training: runs/NAME, or what 'netc run --out' said."
LEFT_OUT = "the held-out images are left out, as asked."
_HEADER = ("figure", "of what")


@dataclass(frozen=True, slots=True)
class ReportChoices:
    """What is asked of a report; None takes what the training was given."""

    network: str | Model | None = None
    """A network, or the file of one or of a compiled program."""
    define: Mapping[str, str] = field(default_factory=dict)
    """Parameters of the file's network."""
    data: Data | None = None
    skip_bad: int | None = None
    backend: str | None = None
    no_evaluation: bool = False
    """Whether what needs the held-out images is left out."""

    @property
    def names_something(self) -> bool:
        """Whether anything is named, which has to be there then."""
        named = (self.network, self.data, self.backend, self.define, self.skip_bad)
        return any(each is not None and each != {} for each in named)


class ReportListener(Listener):
    """Is told what a report is made of, and is silent."""

    def read(self, training: TrainingFolder) -> None:
        """What the folder says."""

    def judging(self, bundle: Bundle, choice: BackendChoice, file: Path, data: Dataset) -> None:
        """Held-out images are gone through from now on, with the weights of a file."""

    def judged(self, data: Dataset) -> None:
        """They were."""

    def unjudged(self, training: TrainingFolder, problem: NetError, why: str) -> None:
        """They cannot be, and why."""


@checked_calls
@dataclass(frozen=True, eq=False, repr=False)
class TrainingReport:
    """What a training came to: its curves, and what its newest checkpoint makes of held-out images;
    a table of figures, and a page in a file.
    """

    training: TrainingFolder
    """What its folder says."""
    judged: Judged | None
    """What is made of the held-out images; None where that was left out, as `notes` say."""
    told: tuple[str, ...]
    """Notes, in words of the command line."""

    @property
    def network(self) -> str:
        """The network's name."""
        return self.training.network

    @property
    def lines(self) -> Sequence[Measured]:
        """What was measured, in order: of steps and of evaluations, by name."""
        return self.training.lines

    @property
    def steps(self) -> int:
        """Training steps made."""
        return int(self.training.lines[-1]["step"] or 0)

    @property
    def epochs(self) -> int:
        """Whole passes over the training images."""
        return epochs_done(self.training)

    @property
    def checkpoint(self) -> Path | None:
        """The newest one; None where none can be read."""
        return self.training.file

    @property
    def accuracy(self) -> float | None:
        """Of held-out images, as a fraction; None where that was left out."""
        return None if self.judged is None else self.judged.accuracy

    @property
    def loss(self) -> float | None:
        """Of held-out images; None as `accuracy`."""
        return None if self.judged is None else self.judged.loss

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say of it, such as what was left out."""
        return tuple(map(in_python, self.told))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page, X.html. Raises UsageError (E056) for another suffix, and where the system
        refuses.
        """
        file = Path(path_text("path", path))
        check_page(file)
        write_page(file, self.training, self.judged, self.notes)

    def save_events(self, path: str | os.PathLike[str]) -> Path:
        """Write the curves into a folder as an event file, which TensorBoard shows; that file.

        Raises DataError: E097 where the package tensorboardX is missing, E098 where the folder has
        such files; UsageError (E056) where the system refuses.
        """
        return write_curves(Path(path_text("path", path)), self.training)

    def __repr__(self) -> str:
        """All of it, as wide as the terminal."""
        notes = "".join(f"\nnote: {each}" for each in self.notes)
        shown_tiles = table(_HEADER, self._cells(), 2, (), terminal_columns())
        return f"{self._heading}\n\n{shown_tiles}\n{notes}".rstrip()

    def _repr_html_(self) -> str:
        return html_table(self._heading, _HEADER, self._cells(), 2, self.notes)

    @property
    def _heading(self) -> str:
        return f"training of {self.network} in {escaped(str(self.training.folder))}"

    def _cells(self) -> list[tuple[str, ...]]:
        return [*tiles(self.training, self.judged)]


@checked_call
def report(
    path: str | os.PathLike[str],
    /,
    *,
    network: str | os.PathLike[str] | Model | None = None,
    define: Mapping[str, object] | None = None,
    data: DataWord | None = None,
    skip_bad: int | None = None,
    backend: str | None = None,
    no_evaluation: bool = False,
) -> TrainingReport:
    """What a training came to, from the folder that it left, or is still writing: its curves, and
    what its newest checkpoint makes of the held-out images, on one device of this machine.

    The checkpoint says which network and data set it is of, and where from paths start, in which
    folder this process is meanwhile; what it does not know, or is elsewhere now, is named:
    `network`, its parameters in `define`, `data`, how many images may be left out in `skip_bad`.
    What cannot be said is left out, and the report's `notes` say why. Without evaluation the curves
    are all.

    Raises DataError where there is no training (E061, E068), and for what is named and cannot be
    read; UsageError (E051) for wrong values.
    """
    if not isinstance(network, Model | None):
        network = path_text("network", network, "it is that of a file, or what 'netc.load' gave.")
    choices = ReportChoices(
        network,
        given_parameters(define, {}),
        None if data is None else read_held_out("data", data),
        None if skip_bad is None else int(number(NATURAL)("skip_bad", skip_bad)),
        None if backend is None else one_of(TARGETS)("backend", backend),
        flag("no_evaluation", no_evaluation),
    )
    if choices.define and isinstance(network, Model):
        raise usage("'define' is of a network's file, and 'network' is a network.", "leave it out.")
    check_one_process()
    place = training_folder(Path(path_text("path", path)))
    with blas_kept():
        return reported(place, choices, ReportListener(), watched=False)


def training_folder(path: Path) -> Path:
    """The folder of a training; DataError (E061) where there is none of this name."""
    default = Path("runs") / path
    hint = f"did you mean '{default}'? {NO_RUN}" if (default / METRICS).is_file() else NO_RUN
    return folder(path, hint)


def check_page(path: Path) -> None:
    """Raise UsageError (E056) where a file cannot be a report's, or cannot be written."""
    writer_of(path, {PAGE: lambda: b""}, "a report")
    check_writable(path)


def write_curves(place: Path, training: TrainingFolder) -> Path:
    """Write the curves into a folder as an event file; raises as `write_events`."""
    written = (training.folder / METRICS).stat().st_mtime
    return write_events(place, training.lines, written)


def reported(
    place: Path, choices: ReportChoices, listener: ReportListener, watched: bool = True
) -> TrainingReport:
    """What the folder `place` says, and its newest checkpoint makes of the held-out images; with
    `watched` the process ends where nothing moves. The listener hears notes on the former.

    Raises DataError as `read_told`, and as what is named does.
    """
    training = read_told(place)
    listener.read(training)
    for text in standing(training):
        listener.note(text)
    judged, notes = _judge_if_possible(choices, training, listener, watched)
    for _ in range(RETRIES):
        if training.file is None or training.file.exists():
            break
        # A training that runs on keeps the newest few: there is a newer one now.
        training = read_told(place)
        judged, notes = _judge_if_possible(choices, training, listener, watched)
    return TrainingReport(training, judged, (*standing(training), *notes))


def _judge_if_possible(
    choices: ReportChoices, training: TrainingFolder, listener: ReportListener, watched: bool
) -> tuple[Judged | None, tuple[str, ...]]:
    """What the newest checkpoint makes of the held-out images, and notes; where that cannot be
    said, a note why. What is named must be there.
    """
    if choices.no_evaluation:
        return None, (LEFT_OUT,)
    try:
        # Its folder may be relative to where the caller is, not to that other place.
        here = replace(training, file=training.file and training.file.absolute())
        with nullcontext() if choices.names_something else _where(training):
            return _judge(choices, here, listener, watched)
    except NetError as error:
        if choices.names_something:
            raise
        why = left_out(error)
        listener.unjudged(training, error, why)
        return None, (why,)


def _where(training: TrainingFolder) -> AbstractContextManager[None]:
    """Be where the training was begun, as folders of data sets may be relative."""
    place = run_in(training.meta).get("directory", "")
    reached = os.path.isdir(place) and os.access(place, os.X_OK)
    return chdir(place) if reached else nullcontext()


def _judge(
    choices: ReportChoices, training: TrainingFolder, listener: ReportListener, watched: bool
) -> tuple[Judged, tuple[str, ...]]:
    """As an evaluation does it.

    Raises DataError where there is no checkpoint, or the network is not known; or as the network,
    the data set and the devices do.
    """
    file, ran = training.file, run_in(training.meta)
    if file is None:
        assert training.problem is not None, "one of both"
        raise training.problem
    bundle = _program(choices, training, listener)
    # All devices of a compiled program are in this one process.
    share = bundle.facts.target == "cuda"
    choice = replace(choose(bundle, RunChoices(choices.backend, share)), watched=watched)
    data = ran.get("data") if choices.data is None else choices.data
    skip = whole_number(ran.get("skip_bad")) if choices.skip_bad is None else choices.skip_bad
    dataset = skipping(skip or 0, open_data(data, bundle, training=False))
    check_classes(training.meta, dataset.classes, file)
    changes = changes_since(bundle, file)
    weights = given_weights(WeightChoices(), bundle, file, listener.note, evaluates=True)
    whose = f"the weights in '{file}'"
    judges = Judge(bundle, choice, weights, None, whose, listener.note)
    found = judges.evaluate(dataset, lambda: listener.judging(bundle, choice, file, dataset))
    listener.judged(dataset)
    assert found.outcomes is not None, "as asked"
    judged = judge(bundle, dataset, file, (found.loss, found.accuracy), found.outcomes)
    return judged, (changes,) if changes else ()


def _program(choices: ReportChoices, training: TrainingFolder, listener: Listener) -> Bundle:
    """What is to run: a compiled program as it is, or a network compiled for one device."""
    named = choices.network
    if isinstance(named, Model):
        network, given = named.network, named.parameters
    else:
        path = named or _named(run_in(training.meta).get("network", ""))
        if not path:
            message = f"'{training.file}' does not say which network it is of."
            raise data_error("E068", message, "name it with '--network'.")
        if is_compiled(Path(path)):
            # What a compiled program was given is fixed in it.
            if choices.define:
                raise UsageError(fixed_problem("-D"))
            return read_program(Path(path))
        settings = settings_in(training.meta).items()
        before = {name[3:]: value for name, value in settings if name.startswith("-D ")}
        define = choices.define or before
        network, given = read_network(path, define, [], "report"), tuple(sorted(define.items()))
    chosen = PlanChoices(goal=INFERENCE, backend=choices.backend, runs=True)
    made = plan_of(request(network, given, chosen, listener), listener)
    for text in made.compiled.notes:
        listener.note(text)
    return made.bundle


def _named(text: str) -> str:
    """What can be the name of a file; empty for what cannot, in a damaged checkpoint."""
    return text if can_name_file(text) else ""
