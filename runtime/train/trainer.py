"""Training: batches in order, steps, evaluation, metrics and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError, Diagnostic
from netc.ir.program import Bundle
from netc_runtime.backend import StepReport
from netc_runtime.io.checkpoint import (
    Position,
    checkpoint_name,
    classes_meta,
    latest,
    load,
    prune,
    save,
)
from netc_runtime.io.problems import data_error
from netc_runtime.session import Session
from netc_runtime.train.augment import Spec, augment, order
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.evaluate import evaluate
from netc_runtime.train.metrics import Metrics
from netc_runtime.train.schedule import learning_rate

Array = NDArray[Any]
KEPT_CHECKPOINTS = 3


@dataclass(frozen=True, slots=True)
class Training:
    """What may change from run to run of one compiled program."""

    epochs: int
    seed: int
    rate: float
    """Base learning rate, for the global batch."""
    schedule: tuple[str, Mapping[str, object]]
    augment: tuple[Spec, ...]
    folder: Path
    """Where metrics and checkpoints go."""
    limit: int | None = None
    """Stop after this many steps, whatever the epochs."""


@dataclass(frozen=True, slots=True)
class StepDone:
    """One training step ended."""

    step: int
    """Steps done so far."""
    epoch: int
    """From 1."""
    loss: float
    learning_rate: float
    images_per_second: float
    exposed_seconds: float | None
    """Communication of this step that nothing hid; None where it is not measured."""


@dataclass(frozen=True, slots=True)
class EpochDone:
    """One pass over the training images, followed by an evaluation."""

    step: int
    epoch: int
    loss: float
    """Mean training loss of the epoch's steps of this run."""
    test_loss: float
    test_accuracy: float
    """As a fraction."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The training ended, or was interrupted after a whole step."""

    step: int
    epoch: int
    test_loss: float
    test_accuracy: float
    seconds: float
    interrupted: bool
    checkpoint: Path


Event = StepDone | EpochDone | Finished


class Trainer:
    """Runs a bundle's training program over a data set: iterate over `run()`, show the events."""

    def __init__(
        self,
        session: Session,
        dataset: Dataset,
        training: Training,
        agree: Callable[[bool], bool] = bool,
        keeps: bool = True,
    ) -> None:
        """With several processes `agree` makes what one of them wants the wish of all, and one
        `keeps` the checkpoints.
        """
        self.agree, self.keeps = agree, keeps
        self.session, self.dataset, self.training = session, dataset, training
        facts = dict(session.bundle.facts)
        self.batch = session.batch
        self.rows = session.rows()
        self.network: str = facts["network"]
        self.steps_per_epoch = dataset.train_size // self.batch
        if not self.steps_per_epoch:
            message = (
                f"'{dataset.name}' has {dataset.train_size} training images, fewer than a batch"
            )
            raise data_error(
                "E067", f"{message} of {self.batch}.", "compile with a smaller '--batch'."
            )
        whole = training.epochs * self.steps_per_epoch
        self.total_steps = whole if training.limit is None else min(whole, training.limit)
        self.schedule_steps = whole
        self.stop = False
        """Set to end after the step that is running, with a checkpoint."""
        self.start_step = 0
        self.staged = -1
        """The step whose batch the session has."""
        self.last_step = StepReport()

    def initialize(self, weights: Mapping[str, Array] | None = None) -> None:
        """Fresh weights and statistics, but for those given; the optimizer's state is zero."""
        self.session.initialize(self.training.seed)
        self.session.restore(weights or {})

    def resume(self, path: Path) -> None:
        """Go on where a checkpoint was taken: a file, or a folder's newest.

        Raises DataError where there is none or it is another network's.
        """
        file = latest(path) if path.is_dir() else path
        if file is None:
            message = f"there is no checkpoint in '{path}' to resume from."
            raise data_error("E068", message, "leave '--resume' out to begin anew.")
        tensors, meta = load(file)
        position = Position.from_meta(meta, file)
        check_state(self.session.bundle, tensors, file)
        if position.network != self.network or position.seed != self.training.seed:
            found = f"network '{position.network}' with seed {position.seed}"
            mine = f"'{self.network}' with seed {self.training.seed}"
            raise data_error("E068", f"'{file}' is of {found}, this training is of {mine}.")
        self.session.restore(tensors)
        self.start_step = position.step

    def run(self) -> Iterator[Event]:
        """Train to the end, or until `stop` is set. Raises DataError where the loss explodes."""
        began = time.perf_counter()
        step, stopping = self.start_step, False
        losses: list[float] = []
        tested: tuple[float, float] | None = None
        with self._metrics() as metrics, self._loader() as batches:
            while step < self.total_steps and not stopping:
                done = self._step(step, batches)
                step, tested = done.step, None
                losses.append(done.loss)
                _write(metrics, done)
                yield done
                if step % self.steps_per_epoch == 0:
                    tested = self.evaluate()
                    metrics.write(
                        step, epoch=done.epoch, test_loss=tested[0], test_accuracy=tested[1]
                    )
                    self._save(step)
                    yield EpochDone(step, done.epoch, float(np.mean(losses)), *tested)
                    losses = []
                stopping = self.agree(self.stop)
        tested = tested or self.evaluate()
        seconds, path = time.perf_counter() - began, self._save(step)
        yield Finished(step, step // self.steps_per_epoch, *tested, seconds, stopping, path)

    def _metrics(self) -> Metrics:
        """A new file, or the old one up to the step that is resumed."""
        resumed = self.start_step + 1 if self.start_step else None
        return Metrics(self.training.folder / "metrics.jsonl", resumed)

    def evaluate(self) -> tuple[float, float]:
        """Mean loss and accuracy over all held-out images."""
        found = evaluate(self.session, self.dataset)
        return found.loss, found.accuracy

    def _loader(self) -> ThreadPoolExecutor:
        """One thread that prepares the next batch while a step runs."""
        self.pending: dict[int, Future[tuple[Array, Array]]] = {}
        return ThreadPoolExecutor(1, "netc-loader")

    def _load(self, step: int) -> tuple[Array, Array]:
        """The images of a step: place in the epoch's order, augmented.

        Rows that no device of this process reads are left as they are.
        """
        epoch, place = divmod(step, self.steps_per_epoch)
        seed, (first, last) = self.training.seed, self.rows
        batch = order(seed, epoch, self.dataset.train_size)[place * self.batch :][: self.batch]
        wanted = batch[first:last]
        images, labels = self.dataset.load("train", wanted, self.session.dtype)
        images = augment(images, wanted, seed, epoch, self.training.augment)
        if len(wanted) == self.batch:
            return images, labels
        whole = np.empty((self.batch, *images.shape[1:]), images.dtype)
        every = np.zeros(self.batch, labels.dtype)
        whole[first:last], every[first:last] = images, labels
        return whole, every

    def _step(self, step: int, batches: ThreadPoolExecutor) -> StepDone:
        """One step; while it runs, the next one's batch goes to the devices."""
        began = time.perf_counter()
        if self.staged != step:
            self._stage(step, batches)
        self._prepare(step + 1, batches)
        rate = learning_rate(
            self.training.schedule, self.training.rate, step, self.steps_per_epoch,
            self.schedule_steps,
        )  # fmt: skip
        self.session.begin(step=step, seed=self.training.seed, learning_rate=rate)
        if step + 1 < self.total_steps:
            self._stage(step + 1, batches)
            self._prepare(step + 2, batches)
        results = self.session.results()
        self.last_step = self.session.last
        loss = float(results["loss"])
        if not np.isfinite(loss):
            raise _exploded(step + 1, loss)
        speed = self.batch / (time.perf_counter() - began)
        epoch = step // self.steps_per_epoch + 1
        return StepDone(step + 1, epoch, loss, rate, speed, self.last_step.exposed_seconds)

    def _prepare(self, step: int, batches: ThreadPoolExecutor) -> None:
        """Let the loader prepare a step's batch."""
        if step < self.total_steps and step not in self.pending:
            self.pending[step] = batches.submit(self._load, step)

    def _stage(self, step: int, batches: ThreadPoolExecutor) -> None:
        self._prepare(step, batches)
        self.session.stage(*self.pending.pop(step).result())
        self.staged = step

    def _save(self, step: int) -> Path:
        path = self.training.folder / checkpoint_name(step)
        position = Position(step, step // self.steps_per_epoch, self.network, self.training.seed)
        meta = position.as_meta() | classes_meta(self.dataset.classes)
        state = self.session.state()
        if self.keeps:
            save(path, state, meta)
            prune(self.training.folder, KEPT_CHECKPOINTS)
        return path


def _write(metrics: Metrics, done: StepDone) -> None:
    metrics.write(
        done.step,
        epoch=done.epoch,
        loss=done.loss,
        learning_rate=done.learning_rate,
        images_per_second=done.images_per_second,
    )


def _exploded(step: int, loss: float) -> DataError:
    hint = "take a smaller learning rate, in the recipe or with '--lr'."
    return DataError(Diagnostic("E075", f"the loss is {loss} at step {step}.", help=hint))


def check_state(bundle: Bundle, tensors: Mapping[str, Array], file: Path) -> None:
    """Raise DataError unless a checkpoint holds exactly the state of a bundle."""
    wanted = {port.name: port.shape for port in bundle.train.state}
    problems = [f"'{name}' is missing" for name in wanted if name not in tensors]
    problems += [f"'{name}' is unknown" for name in tensors if name not in wanted]
    problems += [
        f"'{name}' is {tensors[name].shape}, not {shape}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + ("; ..." if len(problems) > 5 else "")
        raise data_error("E068", f"'{file}' does not fit this network: {shown}.")
