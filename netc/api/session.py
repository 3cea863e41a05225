"""A program on its devices, for callers who have batches as arrays and a loop of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from threading import RLock
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from netc.api.calls import checked_calls
from netc.api.choices import number, wrong
from netc.api.images import Images, class_numbers, image_floats
from netc.api.judging import class_shares
from netc.api.running import check_trains
from netc.api.training import weights_of
from netc.api.values import usage
from netc.api.weights import checked_weights, whose_arrays
from netc.api.written import renamed
from netc.errors import DataError
from netc.ir.optimizers import SQUARES
from netc.ir.program import Bundle
from netc.ir.schedules import scaled_rate
from netc.numbers import NON_NEGATIVE
from netc_runtime import session as runtime
from netc_runtime.io.problems import data_error
from netc_runtime.train.saving import exploded

Array = NDArray[Any]
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a training step came to."""

    step: int
    """Steps done so far."""
    loss: float
    """Mean of the batch, before weights moved."""
    learning_rate: float
    seconds: float
    gradient_norm: float | None = None
    """Of all gradients together, before it was limited; None where nothing limits it."""


@dataclass(frozen=True, slots=True)
class Score:
    """What images with labels come to."""

    loss: float
    """Mean."""
    accuracy: float
    """The fraction of images whose class has the highest score."""
    images: int


def _one_thread(
    method: Callable[Concatenate[OpenProgram, P], T],
) -> Callable[Concatenate[OpenProgram, P], T]:
    """A method that is refused while another thread is in one."""

    @wraps(method)
    def run(self: OpenProgram, /, *args: P.args, **words: P.kwargs) -> T:
        if not self._turn.acquire(blocking=False):
            hint = "let one thread use it at a time, or open one session for each."
            raise usage("the session is in use by another thread.", hint)
        try:
            return method(self, *args, **words)
        finally:
            self._turn.release()

    return run


@checked_calls
class OpenProgram:
    """Steps, evaluations and predictions over one set of weights; a context manager.

    Threads and memory of its devices are there until it is closed, or let go. One thread at a time
    may use it; others are refused (UsageError, E051).
    """

    def __init__(self, session: runtime.Session, data: str | None, close: Callable[[], None]):
        """`data` is the data set whose pictures its images are like; `close` ends the session."""
        self._session, self._data = session, data
        self._step = 0
        self._turn = RLock()
        self._trains = session.train is not session.eval
        self._close = finalize(self, close)

    @property
    def batch(self) -> int:
        """Images of a step, over all devices."""
        return self._session.batch

    @property
    def inner(self) -> runtime.Session:
        """The runtime's own."""
        return self._open()

    @property
    def steps(self) -> int:
        """Training steps done."""
        return self._step

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return not self._close.alive

    @_one_thread
    def step(self, images: Images, labels: Any, *, lr: float | None = None) -> StepResult:
        """One training step over a whole batch of images and their labels, (n,) whole numbers.

        The rate is the recipe's where none is given; schedules are the loop's own affair. Raises
        DataError: as `netc.api.images` says, E067 where it is no whole batch, E075 where the loss
        is no finite number.
        """
        session = self._open()
        check_trains(session.bundle)
        if not self._trains:
            raise usage("the session does not train: it was opened without training.")
        rate = self._rate() if lr is None else number(NON_NEGATIVE)("lr", lr)
        given = self._images(images)
        if len(given) != session.batch:
            message = f"a step takes {session.batch:,} images, not {len(given):,}."
            raise data_error("E067", message, "plan with another 'batch', or give as many")
        classes = class_numbers(session.bundle, labels, len(given))
        began, seed = time.perf_counter(), session.bundle.facts.seed
        results = self._guarded(
            lambda: session.step(given, classes, step=self._step, seed=seed, learning_rate=rate)
        )
        self._step += 1
        loss, squares = float(results["loss"]), results.get(SQUARES)
        if not np.isfinite(loss):
            raise exploded(f"the loss is not a finite number at step {self._step}")
        norm = None if squares is None else float(np.sqrt(squares))
        return StepResult(self._step, loss, float(rate), time.perf_counter() - began, norm)

    @_one_thread
    def evaluate(self, images: Images, labels: Any) -> Score:
        """Loss and accuracy of any number of images."""
        session = self._open()
        given = self._images(images)
        classes = class_numbers(session.bundle, labels, len(given))
        loss, right = 0.0, 0.0
        for start in range(0, len(given), session.batch):
            part, own = given[start:][: session.batch], classes[start:][: session.batch]
            count = len(part)
            if count < session.batch:
                part = np.concatenate([part, np.zeros((session.batch - count, *part.shape[1:]))])
                own = np.concatenate([own, np.zeros(session.batch - count, np.int64)])
            each = self._evaluated(part.astype(session.dtype), own, count)
            loss, right = loss + each[0], right + each[1]
        return Score(loss / len(given), right / len(given), len(given))

    @_one_thread
    def predict(self, images: Images) -> NDArray[np.float64]:
        """The probability of each class, (n, classes), of any number of images.

        Raises DataError (E075) where scores are no numbers.
        """
        session = self._open()
        given = self._images(images)
        return self._guarded(lambda: class_shares(session, given))

    @_one_thread
    def weights(self) -> dict[str, Array]:
        """Weights and running statistics by netc's names, copied; with `ema` the averages."""
        return renamed(weights_of(self._open()), {})

    @_one_thread
    def restore(self, weights: Mapping[str, Any]) -> None:
        """Set weights and statistics, all or some.

        Raises DataError: E081 where one is unknown, E082 where it is of another shape, E086
        where numbers are not finite.
        """
        self._open().restore(checked(self._session.bundle, weights))

    @_one_thread
    def close(self) -> None:
        """Give threads and memory back."""
        self._close()

    def __enter__(self) -> OpenProgram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """One line."""
        facts, state = self._session.bundle.facts, "closed" if self.closed else f"step {self._step}"
        return f"<netc.OpenProgram {facts.network}: batch {self.batch}, {state}>"

    def _open(self) -> runtime.Session:
        if self.closed:
            raise usage("the session is closed.", "open another one.")
        return self._session

    def _images(self, images: Images) -> Array:
        return image_floats(self._session.bundle, self._data, images)

    def _rate(self) -> float:
        facts = self._session.bundle.facts
        return scaled_rate(facts.lr, facts.batch, facts.rate_batch)

    def _evaluated(self, part: Array, own: Array, count: int) -> tuple[float, float]:
        return self._guarded(lambda: self._session.evaluate(part, own, count))

    def _guarded(self, work: Callable[[], T]) -> T:
        """What some work gives. Where that is cut short, what is on the devices is no one's state:
        the session is over.
        """
        try:
            return work()
        except DataError:  # of numbers: what is on the devices is whole
            raise
        except BaseException:
            self.close()
            raise


def checked(bundle: Bundle, weights: Mapping[str, Any]) -> dict[str, Array]:
    """Arrays by name, which a program has, in its shapes; DataError (E081, E082, E086)."""
    if not isinstance(weights, Mapping):
        raise wrong("weights", "arrays by name", weights, whose_arrays(weights))
    shapes = {port.name: port.shape for port in bundle.train.state}
    return checked_weights(weights, shapes)
