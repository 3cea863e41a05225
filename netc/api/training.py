"""A training: opened by what is chosen, an iterator of its events, closed when it is let go."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass, field
from inspect import GEN_RUNNING, getgeneratorstate
from typing import Any, Generic, Protocol, Self, TypeVar
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from netc.api.beginning import Damaged, GivenWeights, begin, folder_of, start
from netc.api.data import call_text, open_data
from netc.api.listener import Listener
from netc.api.running import check_trains, kernel_notes, open_session
from netc.api.tracing import StepTracer, step_tracer
from netc.api.train_choices import TrainChoices
from netc.api.values import shown, usage
from netc.ir.facts import Facts
from netc.ir.optimizers import AVERAGE
from netc.ir.program import Bundle
from netc.ir.schedules import scaled_rate
from netc.stages import staged
from netc_runtime.choose import BackendChoice
from netc_runtime.io.weights import Tensors
from netc_runtime.launch.ranks import Alone, Ranks
from netc_runtime.session import Session
from netc_runtime.train import told
from netc_runtime.train.datasets import Dataset, facts_of
from netc_runtime.train.events import EpochDone, Event, Finished, RolledBack, StepDone
from netc_runtime.train.resume import Saved
from netc_runtime.train.trainer import Trainer

Callback = Callable[[Event], object]
"""Told each event; the training ends after the step that is running where it returns True."""


@dataclass(slots=True)
class _Seen:
    """What came of a training so far."""

    epochs: list[EpochDone] = field(default_factory=list)
    rollbacks: list[RolledBack] = field(default_factory=list)
    finished: Finished | None = None
    weights: Tensors = field(default_factory=dict)
    """Once it is finished."""


class EventSource(Protocol):
    """Where a training happens: here, or in other processes."""

    stop: bool
    """Set to end after the step that is running."""

    def run(self) -> Iterator[Event]:
        """Its events."""

    def weights(self) -> Tensors:
        """Weights and statistics as they are now, copied."""


@dataclass(slots=True)
class Here:
    """A training in this process."""

    trainer: Trainer
    begun: Saved | GivenWeights | None
    """What it goes on from, or begins with."""
    damaged: Damaged
    tracer: StepTracer | None
    """What traces some steps."""

    @property
    def stop(self) -> bool:
        """Whether it ends after the step that is running."""
        return self.trainer.stop

    @stop.setter
    def stop(self, stop: bool) -> None:
        self.trainer.stop = stop

    def run(self) -> Iterator[Event]:
        """The trainer's events."""
        for event in self.trainer.run():
            if isinstance(event, StepDone) and self.tracer is not None:
                self.tracer.take(event.step)
            yield event

    def weights(self) -> Tensors:
        """Those on the devices."""
        return weights_of(self.trainer.session)


S = TypeVar("S", bound=EventSource)


class TrainingRun(Generic[S]):
    """A training under way: iterate over it for its events; close it, or let it go, to end it."""

    def __init__(self, source: S, close: Callable[[], None]) -> None:
        """`close` gives back what it holds."""
        self.source = source
        self.callbacks: list[Callback] = []
        """Told each event before whoever iterates."""
        self.keeps_weights = False
        """Whether weights are there when it has ended, in memory of their own."""
        self._seen = _Seen()
        self._held = finalize(self, close)
        self._events: Generator[Event, None, None] | None = None

    def __iter__(self) -> Iterator[Event]:
        """Events from here on."""
        return self

    def __next__(self) -> Event:
        """Go on to the next event. Raises UsageError (E051) in the middle of another one."""
        if self._events is None and not self._held.alive:
            raise StopIteration
        if self._events is None:
            # No method: what is let go halfway is to end at once, not with the next collection.
            self._events = _events(
                self.source, self.callbacks, self._seen, self.keeps_weights, self._held
            )
        return next(self._waiting(self._events))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stop(self) -> None:
        """End after the step that is running, with a checkpoint where there is a folder; any thread
        may ask.
        """
        self.source.stop = True

    def close(self) -> None:
        """End at once: threads, memory and the lock of the folder are given back. Raises UsageError
        (E051) in the middle of a step, of another thread or of whoever is told its events.
        """
        if self._events is not None:
            self._waiting(self._events).close()
        self._held()

    @staticmethod
    def _waiting(events: Generator[Event, None, None]) -> Generator[Event, None, None]:
        """The events, where nobody is in the middle of one."""
        if getgeneratorstate(events) == GEN_RUNNING:
            hint = "'stop()' ends it after its step, and any thread may ask."
            raise usage("the training is in the middle of a step.", hint)
        return events

    @property
    def closed(self) -> bool:
        """Whether what it held was given back: at its end, or before."""
        return not self._held.alive

    @property
    def epochs(self) -> tuple[EpochDone, ...]:
        """The epochs that have ended."""
        return tuple(self._seen.epochs)

    @property
    def rollbacks(self) -> tuple[RolledBack, ...]:
        """How often it went back to a checkpoint, and why."""
        return tuple(self._seen.rollbacks)

    @property
    def finished(self) -> Finished | None:
        """What came of it; None until it has ended."""
        return self._seen.finished

    def tensors(self) -> Tensors:
        """Weights and statistics as they are now, or were at the end; UsageError (E051) where it
        was closed before.
        """
        if self._seen.weights:
            return self._seen.weights
        if not self._held.alive:
            raise usage("the training was closed before its end.", "ask for weights before that.")
        return self.source.weights()


def checked_callbacks(callbacks: object) -> Sequence[Callback]:
    """Functions of an event; UsageError (E051) for others."""
    many = isinstance(callbacks, Sequence) and not isinstance(callbacks, str)
    if not isinstance(callbacks, Sequence) or not many or not all(map(callable, callbacks)):
        raise usage(f"'callbacks' must be functions in a list, not {shown(callbacks)}.")
    return callbacks


def _events(
    source: EventSource, callbacks: Sequence[Callback], seen: _Seen, keeps: bool, held: Any
) -> Generator[Event, None, None]:
    """The events of a training; what is held is closed at their end."""
    try:
        for event in source.run():
            if isinstance(event, EpochDone):
                seen.epochs.append(event)
            elif isinstance(event, RolledBack):
                seen.rollbacks.append(event)
            elif isinstance(event, Finished):
                seen.finished = event
                seen.weights = source.weights() if keeps else {}
            for callback in callbacks:
                answer = callback(event)
                source.stop |= isinstance(answer, bool | np.bool_) and bool(answer)
            yield event
    finally:
        if keeps:
            held()


def weights_of(session: Session) -> dict[str, NDArray[Any]]:
    """The weights and statistics of a session, and the averages that evaluation reads, copied."""
    names, ports = session.bundle.facts.torch_names, session.train.program.state
    wanted = (port for port in ports if port.name in names or port.name.endswith(AVERAGE))
    return {port.name: session.train.read(port) for port in wanted}


def open_training(
    bundle: Bundle,
    choice: BackendChoice,
    choices: TrainChoices,
    listener: Listener,
    *,
    called: Mapping[str, str] | None = None,
    cluster: str | None = None,
    tensors: Tensors | None = None,
    ranks: Ranks | None = None,
    alike: Mapping[str, object] | None = None,
    process: AbstractContextManager[object] | None = None,
) -> TrainingRun[Here]:
    """A training of a program that is ready to run.

    `called` is by what words its network is found, `cluster` the machine whose prices the program
    has, as it was named; `tensors` are weights to begin with where no others are chosen. Of several
    processes the first one reads and keeps what is saved, and `alike` is what they must have alike
    besides. `process` is held as long as the training is open.

    Raises NetError as what is chosen does.
    """
    check_trains(bundle)
    training = _told(choices, bundle, called or {})
    with staged("data"):
        dataset = open_data(choices.data, bundle)
    all_ = ranks or Alone()
    all_.compare({**_agreed(choices, training, dataset), **(alike or {}), **facts_of(dataset)})
    _check_steps(training, training.epochs * told.steps_in_epoch(dataset, bundle.facts.batch))
    with ExitStack() as held:
        held.enter_context(process or nullcontext())
        first: Saved | GivenWeights | None = None
        damaged: Damaged = {}
        folder = None
        if not all_.rank:
            first, damaged = start(choices, bundle, listener.note, tensors)
            file = first.file if isinstance(first, Saved) else None
            if (folder := folder_of(choices, file, damaged)) is not None:
                held.enter_context(folder)
        for text in kernel_notes(bundle):
            listener.note(text)
        session = held.enter_context(
            closing(open_session(choice, bundle, ranks, told=listener.wait))
        )
        trainer = Trainer(session, dataset, training, folder, ranks)
        begun = begin(trainer, all_, first)
        tracer = step_tracer(choices, cluster, trainer, all_)
        return TrainingRun(Here(trainer, begun, damaged, tracer), held.pop_all().close)


def _check_steps(training: told.Training, whole: int) -> None:
    """Raise UsageError (E051) for a number of steps that the epochs do not have: they would end
    before, and unasked.
    """
    if training.limit is not None and training.limit > whole:
        epochs = f"{training.epochs} epoch{'s' * (training.epochs != 1)}"
        have = f"{epochs} ha{'ve' if training.epochs != 1 else 's'} {whole:,} steps"
        message = f"'--steps {training.limit}' is more than there are: {have}."
        raise usage(message, "take a larger '--epochs', or leave '--steps' out.")


def given_rate(choices: TrainChoices, facts: Facts) -> float:
    """What is chosen of the rate, or what the recipe says."""
    return facts.lr if choices.lr is None else choices.lr


def _told(choices: TrainChoices, bundle: Bundle, called: Mapping[str, str]) -> told.Training:
    facts = bundle.facts
    return told.Training(
        epochs=choices.epochs or facts.epochs,
        seed=facts.seed if choices.seed is None else choices.seed,
        rate=scaled_rate(given_rate(choices, facts), facts.batch, facts.rate_batch),
        schedule=facts.schedule,
        augment=facts.augment,
        limit=choices.steps,
        patience=choices.patience,
        called=_called(choices, called, bundle),
        skip_bad=choices.skip_bad,
        save_every=choices.save_every,
        on_nan=choices.on_nan,
    )


def _called(choices: TrainChoices, called: Mapping[str, str], bundle: Bundle) -> dict[str, str]:
    """By what words network and data are found again, and where: their paths may be relative.

    Data that only `--set` says are called as the recipe that came of it has them.
    """
    found, data = dict(called), bundle.facts.data
    if isinstance(choices.data, str):
        found["data"] = choices.data
    elif found.pop("set", "") and data is not None and choices.data is None:
        found["data"] = call_text(data)
    if choices.skip_bad:
        found["skip_bad"] = str(choices.skip_bad)
    with suppress(OSError):  # of a folder that was removed
        found["directory"] = os.getcwd()
    return found


def _agreed(choices: TrainChoices, training: told.Training, dataset: Dataset) -> dict[str, object]:
    """What all processes of a training must have alike, beside their programs."""
    begins = {"--resume": choices.resume, "--weights": choices.weights.path}
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
        "number of traced steps": 0 if choices.trace is None else choices.trace_steps or 1,
    }
