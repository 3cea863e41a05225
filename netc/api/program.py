"""A compiled program as Python has it: trained, opened, evaluated, asked, saved."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from netc.api import elsewhere
from netc.api.calls import checked_call, checked_calls
from netc.api.choices import NAMES, Names, flag, number, one_of
from netc.api.data import arrays_like, images_like, lasting_data, open_data, skipping
from netc.api.elsewhere import once, training_elsewhere
from netc.api.figures import html_table
from netc.api.held import alone, blas_kept, placed, several
from netc.api.images import Images
from netc.api.judge import Judge
from netc.api.listener import Listener, Notes
from netc.api.running import (
    check_trains,
    find_weights,
    given_weights,
    read_program,
    restored_session,
)
from netc.api.session import OpenProgram, checked
from netc.api.shipped import lasting
from netc.api.tracing import write_trace
from netc.api.train_choices import (
    Data,
    TrainChoices,
    TrainWords,
    WeightChoices,
    patterns,
    read_held_out,
    train_choices,
    unused_patterns,
    weights_file,
)
from netc.api.training import Callback, TrainingRun, checked_callbacks, open_training
from netc.api.values import path_text, usage
from netc.api.writable import check_writable
from netc.api.written import ONNX, WEIGHTS, FileForm, file_form, renamed, write_text, write_weights
from netc.errors import Diagnostic, NetError, UsageError
from netc.ir.program import Bundle
from netc.ir.programs import TRAIN
from netc.ir.text import bundle_text
from netc.numbers import COUNT, NATURAL, loss_text
from netc.spelling import in_python
from netc_runtime.choose import BackendChoice
from netc_runtime.io.weights import Tensors
from netc_runtime.train.evaluate import Evaluation
from netc_runtime.train.events import EpochDone, Event, Finished, RolledBack

if TYPE_CHECKING:
    from netc.api.kernels import LaunchRows
    from netc.api.profile import Profile
    from netc.syntax import Network

Array = NDArray[Any]
DataWord = str | os.PathLike[str] | Sequence[Any] | Mapping[str, Any]
"""A data set as `--data` has it, or arrays: x_train, y_train, x_test, y_test, or these by name.
Floats are taken as they are; bytes are scaled as those that the weights were trained on, or else
those of the recipe's data set, or else from -1 to 1."""

_OF_NETWORKS = "'network.with_weights(program.weights()).save(path)' writes other files."


@checked_calls
@dataclass(frozen=True, eq=False, repr=False)
class RunnableProgram:
    """A network compiled for some devices, with weights where there are some."""

    called: ClassVar[str] = "a compiled program"
    """In messages."""
    bundle: Bundle
    """Its programs."""
    file: str = ""
    """By what its network is found again; empty where it is of no file."""
    tensors: Tensors | None = field(default=None)
    """The weights and statistics that it has, all or some; None for initial ones."""
    data: Data | None = None
    """The data set that its weights were trained on, where it is not the recipe's."""
    share_gpus: bool = False
    network: Network | None = None
    """What it was compiled from, where that is known."""
    prices: str | None = None
    """The machine whose prices it has, as it was named; None is the one at hand."""
    told: tuple[str, ...] = field(default=(), kw_only=True)
    """What there was to say while it was made, in words of the command line."""

    @property
    def name(self) -> str:
        """The network's name."""
        return self.bundle.facts.network

    @property
    def batch(self) -> int:
        """Images of a step, over all devices."""
        return self.bundle.facts.batch

    @property
    def devices(self) -> int:
        """How many."""
        return self.bundle.train.mesh.size

    @property
    def strategy(self) -> str:
        """By what it was split."""
        return self.bundle.facts.strategy

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say of it."""
        return tuple(map(in_python, self._said()))

    def __repr__(self) -> str:
        """One line."""
        facts = self.bundle.facts
        how = f"{self.devices} devices, strategy {facts.strategy}, batch {facts.batch}"
        weights = "" if self.tensors is None else ", with weights"
        return f"<netc.{type(self).__name__} {self.name}: {how}, {facts.precision}{weights}>"

    @property
    def classes(self) -> tuple[str, ...]:
        """What the classes are called: by the data set where it is there, or by numbers."""
        numbers = tuple(map(str, range(self.bundle.facts.classes)))
        try:
            return open_data(self.data, self.bundle, training=False).classes
        except NetError:
            return numbers

    def train(
        self, *, callbacks: Sequence[Callback] = (), **words: Unpack[TrainWords]
    ) -> OpenTraining:
        """Begin to train: an iterator of events, whose `result` is there when it has ended.

        Each of the `callbacks` is told each event first, and ends the training by returning True.
        Several GPUs have a process each, which start and end with the training. Raises NetError for
        what is chosen wrongly, or cannot be read.
        """
        choices = train_choices(words)
        choices = replace(choices, data=arrays_like(choices.data, self.data, self.bundle))
        callbacks = checked_callbacks(callbacks)
        check_trains(self.bundle)
        choice = placed(self.bundle, self.share_gpus)
        called = {"network": self.file} if self.file else {}
        run: TrainingRun[Any]
        notes = Notes(self._said())
        if several(self.bundle, choice):
            given = called, self.prices, self._given()
            run = training_elsewhere(self.bundle, choice, choices, notes, *given)
        else:
            run = open_training(
                self.bundle, replace(choice, watched=False), choices, notes, called=called,
                cluster=self.prices, tensors=self._given(), process=blas_kept(),
            )  # fmt: skip
        return OpenTraining(run, self, choices, callbacks, notes)

    def run(self, *, callbacks: Sequence[Callback] = (), **words: Unpack[TrainWords]) -> Trained:
        """Train to the end; what came of it, with its weights. As `train` otherwise."""
        with self.train(callbacks=callbacks, **words) as training:
            for _ in training:
                pass
            return training.result

    def open(
        self,
        *,
        training: bool = True,
        weights: str | os.PathLike[str] | None = None,
        allow_missing: Sequence[str] = (),
        allow_unexpected: Sequence[str] = (),
    ) -> OpenProgram:
        """The program on its devices, for a loop of one's own; close it, or use it in a `with`.

        It begins with the weights that the program has, those of a file, or initial ones; without
        `training`, and where it was planned for inference, it evaluates and predicts alone, which
        takes less memory.
        """
        trains = flag("training", training) and self.bundle.facts.goal == TRAIN
        path = None if weights is None else weights_file("weights", weights)
        allowed = (patterns("allow_missing", allow_missing),
                   patterns("allow_unexpected", allow_unexpected))  # fmt: skip
        tensors, chosen = self._given(), WeightChoices(path, *allowed)
        if problems := [*unused_patterns(chosen)]:
            raise UsageError(*problems)
        if path is not None:
            file, nobody = find_weights(path, Path()), Notes()
            tensors = given_weights(chosen, self.bundle, file, nobody.note, evaluates=not trains)
        choice = alone(self.bundle, self.share_gpus)
        with ExitStack() as held:
            held.enter_context(blas_kept())
            given = checked(self.bundle, tensors or {})
            session = restored_session(choice, self.bundle, None, given, trains)
            held.callback(session.close)
            return OpenProgram(session, self._pictures_of(), held.pop_all().close)

    def predict(self, images: Images) -> NDArray[np.float64]:
        """The probability of each class, (n, classes), of images; see `OpenProgram.predict`."""
        choice, given = placed(self.bundle, self.share_gpus), self._given() or {}
        if several(self.bundle, choice):
            words = given, self._pictures_of(), images
            shares: NDArray[np.float64] = once(elsewhere.predict, self.bundle, choice, *words)
            return shares
        with blas_kept():
            return self._judge(choice, given).shares(self._pictures_of(), images)

    def evaluate(self, *, data: DataWord | None = None, skip_bad: int = 0) -> Evaluation:
        """Loss and accuracy over the held-out images of a data set, or of the recipe's; two arrays
        are these and their labels.

        Raises DataError (E075) where the loss is no finite number, and as the data set does.
        """
        named = None if data is None else read_held_out("data", data)
        given = self.data if named is None else arrays_like(named, self.data, self.bundle)
        bad = int(number(NATURAL)("skip_bad", skip_bad))
        choice = placed(self.bundle, self.share_gpus)
        if several(self.bundle, choice):
            words = self._given() or {}, given, bad
            found: Evaluation = once(elsewhere.evaluate, self.bundle, choice, *words)
        else:
            dataset = skipping(bad, open_data(given, self.bundle, training=False))
            with blas_kept():
                found = self._judge(choice, self._given() or {}).evaluate(dataset)
        return found

    def profile(self, *, steps: int = 10) -> Profile:
        """Time so many training steps, and the launches of one, on synthetic images: what every
        layer takes, beside what the machine reaches.

        Raises DeviceError where the program cannot run here.
        """
        # Imported here: who trains draws nothing.
        from netc.api.profile import measured_profile, profiled

        times = int(number(COUNT)("steps", steps))
        check_trains(self.bundle)
        choice = placed(self.bundle, self.share_gpus)
        if several(self.bundle, choice):
            measured = once(elsewhere.measure, self.bundle, choice, times)
            return measured_profile(self.bundle, choice, measured, self.prices)
        choice = replace(choice, watched=False)
        with blas_kept():
            found = profiled(self.bundle, choice, times, Listener(), self.prices)
        assert found is not None, "this process is the first"
        return found

    def kernels(self) -> LaunchRows:
        """What computes a step on the first device: its launches in order, the kernels of
        each, and what they take, measured or predicted.
        """
        from netc.api.kernels import LaunchRows, rows

        return LaunchRows(rows(self.bundle))

    def weights(self, names: Names = "netc") -> dict[str, Array]:
        """Weights and running statistics by netc's names, or PyTorch's, copied: its own, or initial
        ones. Where the recipe has `ema`, these are the averages, which are what is evaluated.
        """
        one_of(NAMES)("names", names)
        known = self._given() or {}
        if self.bundle.facts.torch_names.keys() <= known.keys():
            found = {name: value.copy() for name, value in known.items()}
        elif several(self.bundle, choice := placed(self.bundle, self.share_gpus)):
            found = once(elsewhere.weights, self.bundle, choice, known)
        else:
            with self.open() as session:
                found = session.weights()
        return renamed(found, self.bundle.facts.torch_names if names == "torch" else {})

    def save_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the predicted step of a training as a trace, X.json, which `load_trace` reads.

        Raises NetError where the system refuses.
        """
        file = Path(path_text("path", path))
        check_trains(self.bundle)
        check_writable(file)
        write_trace(file, self.bundle, "null", self.prices)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        names: Names | None = None,
        batch: int | None = None,
    ) -> None:
        """Write X.netc, the program, where no weights were trained or given; X.safetensors, its
        weights by PyTorch's `names` or netc's; or X.onnx, its network with its weights, for any
        number of images or a `batch` of so many.

        Raises UsageError (E051, E054, E056) for another suffix, for words that it has no use for,
        for weights that X.netc would not have, or where the system refuses.
        """
        file = Path(path_text("path", path))
        form = file_form(file, self.suffixes, self.called, names, batch, _OF_NETWORKS)
        if form.suffix == ".netc" and self.tensors is not None:
            message = (
                f"a program has no weights: '{file.name}' would not have those of {self.called}."
            )
            hint = (
                "save them as X.safetensors, which 'open' and 'run' of a program take as "
                "'weights'; the plan of the network without weights writes X.netc."
            )
            raise UsageError(Diagnostic("E056", message, help=hint))
        check_writable(file)
        self._write(file, form)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of files that `save` writes."""
        return (".netc", WEIGHTS) if self.network is None else (".netc", WEIGHTS, ONNX)

    def _write(self, file: Path, form: FileForm) -> None:
        """Write a file by its suffix, one of `suffixes`."""
        if form.suffix == ".netc":
            write_text(file, bundle_text(self.bundle))
        elif form.suffix == ONNX:
            # Imported here: who trains needs nothing of a network.
            from netc.api.onnx import write_onnx

            assert self.network is not None, "it is among the suffixes"
            write_onnx(file, self.network, self.weights(), form.batch)
        else:
            write_weights(file, self.name, self.weights(form.names))

    def _judge(self, choice: BackendChoice, given: Tensors) -> Judge:
        """What judges images in this process, in which nothing is to end it."""
        return Judge(self.bundle, replace(choice, watched=False), checked(self.bundle, given))

    def _given(self) -> Tensors | None:
        return None if self.tensors is None else dict(self.tensors)

    def _said(self) -> tuple[str, ...]:
        """What there is to say of it, in words of the command line."""
        return self.told

    def _pictures_of(self) -> str | None:
        """The data set as whose bytes and pictures images are scaled."""
        return images_like(self.data, self.bundle)


@checked_calls
class OpenTraining:
    """A training under way: iterate over it for its events; close it, or let it go, to end it.

    `stop()` ends it after the step that is running; `result` is there when it has ended.
    """

    def __init__(
        self,
        run: TrainingRun[Any],
        program: RunnableProgram,
        choices: TrainChoices,
        callbacks: Sequence[Callback],
        notes: Notes,
    ) -> None:
        """Take over what was opened; `notes` hears what there is to say of it."""
        run.callbacks[:] = callbacks
        run.keeps_weights = True
        self._run, self._program, self._notes = run, program, notes
        self._data = program.data if choices.data is None else lasting_data(choices.data)

    def __iter__(self) -> Iterator[Event]:
        """Events from here on."""
        return self

    def __next__(self) -> Event:
        """Go on to the next event."""
        return next(self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """End after the step that is running, with a checkpoint where there is a folder; any thread
        may ask.
        """
        self._run.stop()

    def close(self) -> None:
        """End at once: threads, memory and the lock of the folder are given back."""
        self._run.close()

    def __repr__(self) -> str:
        """One line."""
        closed = "closed" if self._run.closed else "under way"
        state, done = closed if self.finished is None else "ended", len(self.epochs)
        told = f"{done} epoch{'s' * (done != 1)} done, {state}"
        return f"<netc.OpenTraining {self._program.name}: {told}>"

    @property
    def epochs(self) -> tuple[EpochDone, ...]:
        """The epochs that have ended."""
        return self._run.epochs

    @property
    def notes(self) -> tuple[str, ...]:
        """What there is to say of it, and of its plan."""
        return tuple(map(in_python, self._notes.texts))

    @property
    def finished(self) -> Finished | None:
        """What came of it; None until it has ended."""
        return self._run.finished

    @property
    def result(self) -> Trained:
        """What came of it. Raises UsageError (E051) where it has not ended."""
        if self.finished is None and self._run.closed:
            raise usage("the training was closed before its end.", "begin another one.")
        if self.finished is None:
            raise usage("the training has not ended.", "iterate to its end, or 'stop()' it first.")
        program = self._program
        return Trained(
            program.bundle, program.file, self._run.tensors(), self._data, program.share_gpus,
            program.network, program.prices, self.epochs, self.finished, self._run.rollbacks,
            told=tuple(self._notes.texts),
        )  # fmt: skip

    def weights(self) -> dict[str, Array]:
        """Weights and statistics as they are now, copied; with `ema` the averages.

        Raises UsageError (E051) where it was closed before its end, or where several processes
        train and have not ended.
        """
        return renamed(self._run.tensors(), {})


@checked_calls
@dataclass(frozen=True, eq=False, repr=False)
class Trained(RunnableProgram):
    """A program with the weights that a training came to, and how it got there."""

    called: ClassVar[str] = "what was trained"
    epochs: tuple[EpochDone, ...] = ()
    """What each epoch came to."""
    finished: Finished | None = None
    rollbacks: tuple[RolledBack, ...] = ()
    """Where its numbers were none, and it went back to a checkpoint."""

    @property
    def accuracy(self) -> float | None:
        """Of held-out images, as a fraction; None where it was ended before they were asked."""
        return None if self.finished is None else self.finished.test_accuracy

    @property
    def loss(self) -> float | None:
        """Of held-out images; None as `accuracy`."""
        return None if self.finished is None else self.finished.test_loss

    @property
    def steps(self) -> int:
        """Training steps made, those that were undone among them."""
        return 0 if self.finished is None else self.finished.step

    @property
    def undone(self) -> int:
        """Of these steps, how many it went back behind."""
        return sum(each.step - each.back_to for each in self.rollbacks)

    @property
    def checkpoint(self) -> Path | None:
        """The file that was saved last, where there is a folder."""
        return None if self.finished is None else self.finished.checkpoint

    def _repr_html_(self) -> str:
        header = ("epoch", "step", "loss", "test loss", "test accuracy")
        rows = (
            (str(each.epoch), str(each.step), "-" if each.loss is None else loss_text(each.loss),
             loss_text(each.test_loss), f"{100 * each.test_accuracy:.2f} %")
            for each in self.epochs
        )  # fmt: skip
        return html_table(repr(self).strip("<>"), header, rows, 0, self.notes)

    def __repr__(self) -> str:
        """One line."""
        told = "not evaluated" if self.accuracy is None else f"accuracy {100 * self.accuracy:.2f} %"
        back = f" ({self.undone} of them undone)" if self.undone else ""
        return f"<netc.Trained {self.name}: {self.steps} steps{back}, {told}>"


@checked_call
def load_program(path: str | os.PathLike[str]) -> RunnableProgram:
    """Read a compiled program, X.netc. Raises DataError where it cannot be read (E061), or is none
    of this version of netc (E073), UsageError (E057) for a file that is something else.
    """
    file = path_text("path", path)
    return RunnableProgram(read_program(Path(file)), lasting(file))
