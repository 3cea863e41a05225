"""What programs do in processes of their own, one a device: they train, judge images, are timed.

Each function is the work of `netc.api.apart.Apart`; all processes of a run do it, the first one
tells what comes of it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.api.apart import Apart
from netc.api.data import open_data, skipping
from netc.api.images import Images
from netc.api.judge import Judge
from netc.api.listener import Listener, Notes
from netc.api.ranks import joined
from netc.api.running import restored_session
from netc.api.session import checked
from netc.api.train_choices import Data, TrainChoices
from netc.api.training import TrainingRun, open_training, weights_of
from netc.api.values import usage
from netc.ir.program import Bundle
from netc.ir.text import bundle_text, parse_bundle
from netc_runtime.backend import Ceilings, Timing
from netc_runtime.choose import BackendChoice
from netc_runtime.io.weights import Tensors
from netc_runtime.train.evaluate import Evaluation
from netc_runtime.train.events import Event, Finished

Measured = tuple[Timing, Ceilings, dict[str, object]]
"""Times of a step, what the machine reaches, what it ran on."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A training is ready to run: told before the first event."""

    notes: tuple[str, ...]


class Elsewhere:
    """A training in other processes."""

    def __init__(self, apart: Apart) -> None:
        """Take over what trains."""
        self.stop = False
        self._apart = apart
        self._weights: Tensors = {}

    def run(self) -> Iterator[Event]:
        """Its events; each is made once it is asked for, as here."""
        while (told := self._apart.next(self.stop)) is not None:
            event, tensors = told
            self._weights = tensors or self._weights
            yield event

    def weights(self) -> Tensors:
        """Those of its end; UsageError (E051) before it."""
        if not self._weights:
            message = "the weights are in several processes until the training ends."
            raise usage(message, "'stop()' it, and iterate to its end.")
        return self._weights


def training_elsewhere(
    bundle: Bundle,
    choice: BackendChoice,
    choices: TrainChoices,
    listener: Listener,
    called: Mapping[str, str],
    cluster: str | None,
    tensors: Tensors | None,
) -> TrainingRun[Elsewhere]:
    """A training that is ready to run; raises NetError as `open_training`. The listener hears what
    there is to say of it.
    """
    given = bundle_text(bundle), choice, choices, dict(called), cluster, tensors
    apart = Apart(train, *given)
    for text in apart.next().notes:
        listener.note(text)
    return TrainingRun(Elsewhere(apart), apart.close)


def train(
    program: str,
    choice: BackendChoice,
    choices: TrainChoices,
    called: dict[str, str],
    cluster: str | None,
    tensors: Tensors | None,
) -> Generator[Any, bool | None, None]:
    """That it is ready; then every event, the last one with the weights. The training ends where
    one is answered True.
    """
    listener = Notes()
    with (
        joined(parse_bundle(program), choice) as (ranks, bundle),
        open_training(
            bundle, choice, choices, listener, called=called, cluster=cluster, tensors=tensors,
            ranks=ranks,
        ) as run,
    ):  # fmt: skip
        run.keeps_weights = True
        if (yield Opened(tuple(listener.texts))):
            run.stop()
        for event in run:
            if (yield event, run.tensors() if isinstance(event, Finished) else None):
                run.stop()


def once(work: Any, bundle: Bundle, choice: BackendChoice, *given: object) -> Any:
    """The one thing that some work in other processes tells."""
    apart = Apart(work, bundle_text(bundle), choice, *given)
    try:
        found = apart.next()
        assert apart.next() is None
        return found
    finally:
        apart.close()


def predict(
    program: str, choice: BackendChoice, tensors: Tensors, data: str | None, images: Images
) -> Generator[NDArray[np.float64], None, None]:
    """The probabilities of images, as `OpenProgram.predict`."""
    with joined(parse_bundle(program), choice) as (ranks, bundle):
        yield Judge(bundle, choice, checked(bundle, tensors), ranks).shares(data, images)


def evaluate(
    program: str, choice: BackendChoice, tensors: Tensors, data: Data | None, skip_bad: int
) -> Generator[Evaluation, None, None]:
    """Loss and accuracy over the held-out images of a data set."""
    with joined(parse_bundle(program), choice) as (ranks, bundle):
        dataset = skipping(skip_bad, open_data(data, bundle, training=False))
        yield Judge(bundle, choice, checked(bundle, tensors), ranks).evaluate(dataset)


def weights(
    program: str, choice: BackendChoice, tensors: Tensors
) -> Generator[Tensors, None, None]:
    """All weights and statistics, of which some are given; the others have initial values."""
    with joined(parse_bundle(program), choice) as (ranks, bundle):
        given = checked(bundle, tensors)
        with closing(restored_session(choice, bundle, ranks, given, training=True)) as session:
            yield weights_of(session)


def measure(
    program: str, choice: BackendChoice, steps: int
) -> Generator[Measured | None, None, None]:
    """Times of some steps and their launches."""
    # Imported here: who trains draws nothing.
    from netc.api.profile import profiled

    with joined(parse_bundle(program), choice) as (ranks, bundle):
        found = profiled(bundle, choice, steps, Listener(), None, ranks)
        yield None if found is None else (found.timing, found.ceilings, dict(found.backend))
