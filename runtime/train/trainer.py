"""Training: batches in order, steps, evaluation, metrics and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError, Diagnostic, NetError
from netc.ir.augmentations import mixes
from netc.ir.optimizers import SQUARES
from netc_runtime.backend import StepReport
from netc_runtime.io.checkpoint import (
    Best,
    Position,
    Rollbacks,
    classes_meta,
    due_meta,
    is_due,
    run_meta,
    settings_meta,
)
from netc_runtime.launch.ranks import Alone, Ranks
from netc_runtime.session import Session
from netc_runtime.train.augment import augment, examples, order
from netc_runtime.train.datasets import Dataset
from netc_runtime.train.evaluate import StoppedError, evaluate
from netc_runtime.train.events import (
    EpochDone,
    Evaluating,
    Event,
    Finished,
    RolledBack,
    StepDone,
)
from netc_runtime.train.folder import Folder
from netc_runtime.train.loading import AHEAD, LABELS, Loader, Loading, Waits, loaders
from netc_runtime.train.metrics import Metrics, write_step, write_test
from netc_runtime.train.outcomes import Outcomes
from netc_runtime.train.resume import Saved, continued, why_lost
from netc_runtime.train.rollback import MOST_ROLLBACKS, advised, go_back
from netc_runtime.train.saving import ExplodedError, Saver, exploded
from netc_runtime.train.schedule import learning_rate
from netc_runtime.train.several import check_augmented
from netc_runtime.train.skipping import Skipping, problems_in
from netc_runtime.train.told import Training, ran_of, settings_of, steps_in_epoch

Array = NDArray[Any]
T = TypeVar("T")


class Trainer:
    """Runs a bundle's training program over a data set: iterate over `run()`, show the events."""

    def __init__(
        self,
        session: Session,
        dataset: Dataset,
        training: Training,
        folder: Folder | None,
        ranks: Ranks | None = None,
    ) -> None:
        """Of several processes, which are `ranks`, only one has a `folder` for what is saved."""
        self.ranks, self.folder = ranks or Alone(), folder
        self.session, self.dataset, self.training = session, dataset, training
        self.batch = session.batch
        self.rows = session.rows()
        self.steps_per_epoch = steps_in_epoch(dataset, self.batch)
        self.schedule_steps = training.epochs * self.steps_per_epoch
        self.rollbacks = Rollbacks()
        # What the recipe calls wrongly is said now, not in the first step.
        self._rate(0)
        check_augmented(dataset.inputs, bool(training.augment))
        augment(np.zeros((0, *dataset.image_shape)), [], 0, 0, training.augment)
        self.workers = loaders(self.ranks)
        """Threads that load images."""
        skips = training.skip_bad
        self.source: Dataset = Skipping(dataset, skips) if skips else dataset
        """Where images come from."""
        self.orders: dict[int, NDArray[np.int64]] = {}
        """The order of the images in the epoch that was loaded from last."""
        self.stop = False
        """Set to end after the step that is running, with a checkpoint, or within an evaluation."""
        self.start_step = 0
        self.ahead = 0
        """Steps of the schedule minus those made: another batch has another number of steps."""
        self.saver = Saver(session, folder, self.ranks)
        self.best, self.lost_best = Best(), ""
        """The best of what was evaluated; why the one that a checkpoint tells of is lost."""
        self.due = False
        """Whether the last step ended an epoch that was not evaluated yet."""
        self.step = 0
        """Steps made, those that were undone among them."""
        self.ended = self.gave_up = False
        """Whether it was asked to end, or had to; whether its patience is at an end."""
        self.losses: list[float] = []
        """Of the steps of the epoch."""
        self.tested: tuple[float, float] | None = None
        """What the evaluation behind the last step says, if there was one."""
        self.pending: dict[int, Loading] = {}
        """Batches that are being loaded, by step."""
        self.failure: NetError | None = None
        """Why the training ends after the step that is running."""
        self.staged = -1
        """The step whose batch the session has."""
        self.waited, self.waits = 0.0, Waits()
        """Seconds for which that batch was waited for; for what the last steps waited."""
        self.last_step = StepReport()
        self.asks_each = False
        """Whether evaluation is to say what the network makes of each image."""
        self.outcomes: Outcomes | None = None
        """What the last evaluation said of each, if it was asked."""
        self.traced = range(0)
        """The steps, as numbers of those before them, whose reports have times."""

    @property
    def total_steps(self) -> int:
        """Steps made when the training ends."""
        whole, limit = self.schedule_steps - self.ahead, self.training.limit
        return whole if limit is None else min(whole, limit)

    @property
    def updating(self) -> range:
        """The steps that are left to do and move weights, as numbers of those before them."""
        added = self.session.bundle.facts.accumulate
        undone = self.rollbacks.undone
        first = (self.start_step - undone) // added * added + added - 1 + undone
        return range(first, max(first, self.total_steps), added)

    @property
    def settings(self) -> dict[str, str]:
        """What this training was told, by name: what a checkpoint of it says."""
        return settings_of(self.training, self.session.bundle, self.batch, self.dataset)

    @property
    def ran(self) -> dict[str, str]:
        """How this run was called, by name: what its checkpoints say for people."""
        facts, backend = self.session.bundle.facts, self.session.backend.name
        return ran_of(self.training, facts, backend, self.total_steps)

    def initialize(self, weights: Mapping[str, Array] | None = None) -> None:
        """Fresh weights and statistics, but for those given; the optimizer's state is zero."""
        self.session.initialize(self.training.seed)
        self.session.restore(weights or {})

    def resume(self, saved: Saved) -> None:
        """Go on where a checkpoint was taken.

        Raises DataError where it is another network's or another training's.
        """
        place = continued(saved, self.dataset, self.batch, self.training.seed, self.session)
        self.session.restore(saved.tensors)
        self.start_step = saved.position.step
        self.ahead = place - self.start_step
        self.best, self.rollbacks = Best.from_meta(saved.meta), Rollbacks.from_meta(saved.meta)
        self.due = is_due(saved.meta)
        if self.folder is not None and saved.file.parent.resolve() == self.folder.path.resolve():
            self.saver.step, self.saver.untested = self.start_step, self.due
        self.lost_best = self.ranks.share(self._why_lost())
        if self.lost_best:
            self.best = Best()
        known = self.best.accuracy >= 0 and not self.due
        self.gave_up = known and self._gives_up(self.start_step)

    def run(self) -> Iterator[Event]:
        """Train to the end, or until `stop` is set. Checkpoints are written while it goes on, and
        are there when it ends.

        Where images cannot be read, or metrics or a checkpoint not written, what was reached is
        saved if it can be, and the error raised. Where a loss, a weight or state is no number, it
        goes back to the last checkpoint, if it is told to and did not often; else raises
        ExplodedError (E075), and saves nothing.
        """
        with self.saver:
            yield from self._run()

    def _run(self) -> Iterator[Event]:
        began = time.perf_counter()
        self.step, self.pending = self.start_step, {}
        with self._loader() as batches, ExitStack() as kept:
            if self.step < self.total_steps:
                # Before anything in the folder is replaced: its images may not be readable.
                self._stage(self.step, batches)
            metrics = kept.enter_context(self._metrics())
            self._attempt(self._keep_best_again)
            if self._goes_back() and self.ranks.share(self.saver.path is None):
                self._save(self.step)
            ran = False
            while not ran:
                try:
                    yield from self._steps(metrics, batches)
                    yield from self._end()
                    ran = True
                except ExplodedError as problem:
                    yield self._roll_back(problem, metrics)
            if metrics is not None:
                self._attempt(metrics.look)
        self._attempt(self.saver.wait)
        self._give_up()
        seconds, path = time.perf_counter() - began, self.saver.path
        epoch = self._epochs_done()
        best = self.best.step, self.best.accuracy
        loss, accuracy = self.tested or (None, None)
        yield Finished(
            self.step, epoch, loss, accuracy, seconds, self.ended, self.gave_up, *best, path
        )

    def _steps(self, metrics: Metrics | None, batches: Loader) -> Iterator[Event]:
        """Make steps to the end, or until that is asked for."""
        self.tested = None
        while True:
            if self.due:
                yield from self._test(metrics)
            self.ended = self._is_ending()
            if self.step >= self.total_steps or self.ended or self.gave_up:
                return
            done = self._step(self.step, batches)
            self.tested = None
            self.losses.append(done.loss)
            self._attempt(write_step, metrics, done)
            self._attempt(self.saver.look)
            yield done
            self.due = (done.step + self.ahead) % self.steps_per_epoch == 0
            if self.due or self._saves_between(done.step):
                self._save(done.step)

    def _test(self, metrics: Metrics | None) -> Iterator[Event]:
        """Evaluate what an epoch came to. That stays due where it cannot be done, or where the
        training is to end meanwhile.
        """
        yield Evaluating(self.step)
        tested, epoch = self._attempt(self._evaluate), self._epochs_done()
        if tested is not None and metrics is not None:
            # Before the checkpoint, behind which a run that is killed goes on.
            self._attempt(write_test, metrics, self.step, epoch, tested)
        if self.ranks.any(tested is None or self.failure is not None):
            return
        assert tested is not None
        self.tested, self.due = tested, False
        self._save(self.step, tested)
        self.gave_up = self._gives_up(self.step)
        mean, self.losses = float(np.mean(self.losses)) if self.losses else None, []
        yield EpochDone(self.step, epoch, mean, *tested)

    def _end(self) -> Iterator[Event]:
        """Evaluate and save the last step, where that was not done, unless it is asked to end."""
        self._give_up()
        if self.tested is not None or self.ended:
            self._save(self.step)
            return
        self._save(self.step, untested=True)
        yield Evaluating(self.step)
        self.tested = self._attempt(self._evaluate)
        self._give_up()
        self.ended = self.tested is None
        if self.tested is not None:
            self._save(self.step, self.tested)

    def _is_ending(self) -> bool:
        """Whether the training is to end, or has to; the same in all processes."""
        return self.ranks.any(self.stop or self.failure is not None)

    def _epochs_done(self) -> int:
        return (self.step + self.ahead) // self.steps_per_epoch

    def _keep_best_again(self) -> None:
        """A run that was killed may have saved what was best, and not kept it."""
        if (newest := self._newest_is_best()) is not None and self.folder is not None:
            self.folder.keep_as_best(newest)

    def _newest_is_best(self) -> Path | None:
        """The newest checkpoint of the folder, where the training goes on from it and it is the
        best one, too.
        """
        is_best = self.best.accuracy >= 0 and self.best.step == self.start_step
        return self.folder.newest if self.folder is not None and is_best else None

    def _why_lost(self) -> str:
        """Why the folder has not what was best, as a checkpoint tells; empty where it has."""
        if self.folder is None or self.best.accuracy < 0 or self._newest_is_best() is not None:
            return ""
        return why_lost(self.folder.path, self.best.step)

    def _goes_back(self) -> bool:
        """Whether a checkpoint is gone back to where numbers are none."""
        return self.training.on_nan == "rollback"

    def _roll_back(self, problem: ExplodedError, metrics: Metrics | None) -> RolledBack:
        """Go back to the last checkpoint, and on behind the batch of the last step at half the
        rate; raises the problem where that is not wanted, or was done often enough.

        What there is then is saved at once: whoever goes on from there does the same.
        """
        self._attempt(self.saver.wait)
        self.due = False
        self.saver.withdraw()
        path, keeps = self.saver.path, self.folder is not None
        count = self.rollbacks.count + 1
        if not self._goes_back() or count > MOST_ROLLBACKS:
            raise advised(problem, path, keeps, self._goes_back(), self.rollbacks.count)
        restored = go_back(self.session, self.ranks, path, self.step)
        if restored is None:
            raise advised(problem, path, keeps, True, self.rollbacks.count)
        self.rollbacks = replace(restored.rollbacks, count=count)
        epoch = (self.step + self.ahead - 1) // self.steps_per_epoch + 1
        why = problem.diagnostics[0].message.partition(";")[0]
        event = RolledBack(self.step, epoch, restored.step, count, self.rollbacks.factor, why)
        if metrics is not None:
            told = {"epoch": epoch, "rollback": count, "back_to": event.back_to}
            write = partial(metrics.write, self.step, **told, rate_factor=event.rate_factor)
            self._attempt(write)
        self.saver.forget()  # what is there of this step, if anything, is another state
        self.staged = -1  # its step may be one that moves weights now, and was none, or the reverse
        self._save(self.step)
        return event

    def _saves_between(self, step: int) -> bool:
        """Whether a step within an epoch is saved; the last one is anyway."""
        every = self.training.save_every
        return every is not None and step % every == 0 and step < self.total_steps

    def _gives_up(self, step: int) -> bool:
        """Whether patience is at its end; the same in all processes."""
        patience = self.training.patience
        if patience is None:
            return False
        return self.ranks.any(step - self.best.step >= patience * self.steps_per_epoch)

    def _attempt(self, action: Callable[..., T], *values: object) -> T | None:
        """What an action returns; where it fails, the training ends, and saves what it reached."""
        try:
            return action(*values)
        except DataError as error:
            if isinstance(error, ExplodedError):
                raise
            self.failure = self.failure or error
            return None

    def _give_up(self) -> None:
        """Save, and raise what failed in this process or another one."""
        failures = self.ranks.allgather(self.failure)
        failure = next((each for each in failures if each is not None), None)
        if failure is None:
            return
        self._save(self.step)
        try:
            self.saver.wait()
        except DataError as error:
            raise self.saver.with_saved(error, self.step) from error
        self.ranks.any(False)  # ends before the first process has saved would end that too
        raise self.saver.with_saved(failure, self.step)

    def _metrics(self) -> AbstractContextManager[Metrics | None]:
        """A new file, or the old one up to the step that is resumed."""
        return (
            nullcontext() if self.folder is None else self.folder.begin(self.start_step, self.due)
        )

    def evaluate(self) -> tuple[float, float]:
        """Mean loss and accuracy over all held-out images.

        Raises DataError (E075) where the loss is no number, StoppedError where the training is to
        end meanwhile.
        """
        found = evaluate(self.session, self.source, self.workers, self.asks_each, self._is_ending)
        self.outcomes = found.outcomes
        if not np.isfinite(found.loss):
            raise exploded("the loss of the held-out images is not a finite number")
        return found.loss, found.accuracy

    def _evaluate(self) -> tuple[float, float] | None:
        """As `evaluate`, and None where the training is to end meanwhile."""
        try:
            return self.evaluate()
        except StoppedError:
            return None

    def left_out(self) -> list[Diagnostic]:
        """What is wrong with the images that were left out, in any process; all must ask."""
        return problems_in(self.source, self.ranks)

    def _loader(self) -> Loader:
        """Threads that prepare the next batches while a step runs."""
        dtype = self.session.dtype
        mixed = mixes(name for name, _, _ in self.training.augment)
        kinds = (*LABELS, *LABELS, dtype) if mixed else LABELS
        return Loader(self.source, dtype, self.workers, kinds)

    def _load(self, step: int, batches: Loader) -> Loading:
        """Begin to load the images of a step: place in the epoch's order, augmented.

        Rows that no device of this process reads are left as they are.
        """
        epoch, place = divmod(step + self.ahead, self.steps_per_epoch)
        seed, (first, last) = self.training.seed, self.rows

        def read(rows: NDArray[np.int64]) -> tuple[Array, ...]:
            specs = self.training.augment
            return examples(self.source, rows, self.session.dtype, seed, epoch, specs)

        # For very many images finding the order takes longer than a step.
        if epoch not in self.orders:
            self.orders = {epoch: order(seed, epoch, self.dataset.train_size)}
        wanted = self.orders[epoch][place * self.batch :][: self.batch][first:last]
        return batches.begin(read, wanted, first, self.batch)

    def _step(self, step: int, batches: Loader) -> StepDone:
        """One step; while it runs, the next one's batch goes to the devices."""
        began = time.perf_counter()
        if self.staged != step:
            self._stage(step, batches)
        self._prepare(step + 1, batches)
        place = step + self.ahead
        updates, seed = step - self.rollbacks.undone, self.training.seed
        # The rate of the first of the batches whose gradients are added up.
        rate = self._rate(max(0, place - updates % self.session.bundle.facts.accumulate))
        if traced := step in self.traced:
            self.ranks.allgather(None)  # what they begin apart is no part of a step
        self.session.begin(step=updates, seed=seed, learning_rate=rate, traced=traced)
        if step + 1 < self.total_steps:
            self._attempt(self._stage, step + 1, batches)
            self._prepare(step + 2, batches)
        staged = time.perf_counter()
        results = self.session.results()
        self.waits.add(self.waited, time.perf_counter() - staged)
        self.last_step = self.session.last
        loss, self.step = float(results["loss"]), step + 1
        bad = not np.isfinite(loss)
        if self.ranks.any(bad) if self._goes_back() else bad:
            raise exploded(f"the loss is not a finite number at step {step + 1}")
        speed = self.batch / (time.perf_counter() - began)
        epoch, loading = place // self.steps_per_epoch + 1, self.waits.loading > self.waits.devices
        exposed, squares = self.last_step.exposed_seconds, results.get(SQUARES)
        norm = None if squares is None else float(np.sqrt(squares))
        return StepDone(step + 1, epoch, loss, rate, speed, exposed, loading, norm)

    def _rate(self, place: int) -> float:
        """The learning rate at a step of the schedule."""
        training = self.training
        base = training.rate * self.rollbacks.factor
        return learning_rate(
            training.schedule, base, place, self.steps_per_epoch, self.schedule_steps
        )

    def _prepare(self, step: int, batches: Loader) -> None:
        """Let the loader prepare the batches from a step's on."""
        for each in range(step, min(step + AHEAD, self.total_steps)):
            if each not in self.pending:
                self.pending[each] = self._load(each, batches)

    def _stage(self, step: int, batches: Loader) -> None:
        self._prepare(step, batches)
        began = time.perf_counter()
        batch = self.pending.pop(step).result()
        self.waited = time.perf_counter() - began
        self.session.stage(*batch, step=step - self.rollbacks.undone)
        self.staged = step

    def _save(
        self, step: int, tested: tuple[float, float] | None = None, untested: bool = False
    ) -> None:
        """Save the whole state, once; DataError (E075) where it is no number. What was `tested`
        says whether it is the best so far, which its file says too; with `untested` it is saved
        once more when that is known.
        """
        better = tested is not None and tested[1] > self.best.accuracy
        best = Best(step, tested[1]) if tested is not None and better else self.best
        known = tested is not None and self.saver.untested
        # Evaluation may have failed in some of the processes: the first one decides.
        if self.ranks.share(better or known or self.saver.step != step):
            self._attempt(self.saver.wait)
            self.saver.begin(step, self._meta(step, best), better, self.due or untested)
        self.best = best

    def _meta(self, step: int, best: Best) -> dict[str, str]:
        """What a checkpoint says beside its tensors."""
        epoch, place = divmod(step + self.ahead, self.steps_per_epoch)
        position = Position(
            step, epoch, place, self.batch, self.dataset.train_size,
            self.session.bundle.facts.network,
            self.training.seed,
        )  # fmt: skip
        meta = position.as_meta() | classes_meta(self.dataset.classes) | run_meta(self.ran)
        meta |= best.as_meta() | self.rollbacks.as_meta() | due_meta(self.due)
        return meta | settings_meta(self.settings)
