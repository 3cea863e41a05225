"""metrics.jsonl: what a training measured, one JSON object a line, readable while it runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from netc.errors import DataError
from netc.numbers import NATURAL, REAL
from netc.text import json_text

from ..io.problems import data_error, unreadable, unwritable
from .events import StepDone

Measured = Mapping[str, float | None]
"""What a line says, by name: `step`, and any of `epoch`, `loss`, `learning_rate`,
`images_per_second`, `gradient_norm`, `test_loss`, `test_accuracy`, `rollback`, `back_to`,
`rate_factor`; None for what was not finite."""
_NUMBERS = (
    "epoch", "loss", "learning_rate", "images_per_second", "gradient_norm", "test_loss",
    "test_accuracy", "rollback", "back_to", "rate_factor",
)  # fmt: skip


class Metrics:
    """Appends lines to a metrics file; each is on its way to the disk when `write` returns.

    Every line has `step`, the number of the step it was measured at, and steps never decrease.
    """

    def __init__(self, path: Path | str, resume_at: int | None = None, due: bool = False) -> None:
        """Starts `path` anew, or drops its lines with step >= `resume_at` and goes on after them;
        where an evaluation is `due`, what came of the step before that is dropped, too.

        Raises DataError: E068 where a file to go on with is no metrics file, E069 where the system
        refuses.
        """
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept_bytes = 0 if resume_at is None else _bytes_before(self.path, resume_at, due)
            # Nothing is kept back: what a full disk refuses is not tried again when closing.
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
            os.truncate(self.path, kept_bytes)
            self._bytes = kept_bytes
        except OSError as problem:
            raise unwritable(self.path, problem) from problem

    def write(self, step: int, **values: object) -> None:
        """Appends one line: `step` and `values`, such as epoch, loss, learning_rate, accuracy.

        Numbers may be NumPy's; those that are not finite become null, as JSON has no other word.
        """
        record = {key: _plain(value) for key, value in {"step": step, **values}.items()}
        line = json_text(record).encode() + b"\n"
        self.look()
        try:
            while line:
                written = self._file.write(line)
                line, self._bytes = line[written:], self._bytes + written
        except OSError as problem:
            raise unwritable(self.path, problem) from problem

    def look(self) -> None:
        """Raise DataError (E069) where others have cut or removed the file."""
        found = os.fstat(self._file.fileno())
        if found.st_nlink and found.st_size >= self._bytes:
            return
        what = "cut" if found.st_nlink else "removed or replaced"
        message = f"'{self.path}' was {what} by another program while its training was running."
        raise data_error("E069", message, "what its lines said is lost.")

    def close(self) -> None:
        """Closes the file; further lines are not accepted."""
        self._file.close()

    def __enter__(self) -> Metrics:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def write_step(metrics: Metrics | None, done: StepDone) -> None:
    """The line of a step, where there are metrics. Raises DataError as `Metrics.write`."""
    if metrics is not None:
        metrics.write(
            done.step,
            epoch=done.epoch,
            loss=done.loss,
            learning_rate=done.learning_rate,
            images_per_second=done.images_per_second,
            **({} if done.gradient_norm is None else {"gradient_norm": done.gradient_norm}),
        )


def write_test(metrics: Metrics, step: int, epoch: int, tested: tuple[float, float]) -> None:
    """The line of an evaluation, its loss and accuracy. Raises DataError as `Metrics.write`."""
    loss, accuracy = tested
    metrics.write(step, epoch=epoch, test_loss=loss, test_accuracy=accuracy)


def _plain(value: object) -> object:
    """`value` as Python knows it, where it is NumPy's."""
    return value.item() if hasattr(value, "item") else value


def _bytes_before(path: Path, step: int, due: bool) -> int:
    """The length of the part of `path` before `step`, and before a line that a crash cut short;
    where an evaluation is `due`, of the step before that the line of its loss alone counts.
    """
    if not path.exists():
        return 0
    kept_bytes = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            found, told = _step_of(line, path, number)
            if found >= step or (due and found == step - 1 and "loss" not in told):
                break
            kept_bytes += len(line)
    return kept_bytes


def _step_of(line: bytes, path: Path, number: int) -> tuple[int, Mapping[str, object]]:
    """The step of a line, and all that it says."""
    try:
        told = json.loads(line)
        return int(told["step"]), told
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        hint = "take another folder with '--out', or move that file away."
        raise _no_line(path, number, "so the file is left as it is", hint) from problem


def read_metrics(path: Path) -> list[Measured]:
    """The lines of a metrics file, in order, also while a training writes them.

    A last line that is not whole is left out. Raises DataError: E061 where the file cannot be
    read, E068 where it is no metrics file.
    """
    try:
        with open(path, "rb") as file:
            return list(_lines(path, file))
    except OSError as problem:
        raise unreadable(path, problem) from problem


def _lines(path: Path, file: Iterator[bytes]) -> Iterator[Measured]:
    before = 0.0
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            return
        measured = _measured(line)
        step = measured.get("step")
        if step is None or step < before:
            hint = "a training writes it: take the folder as it was left."
            raise _no_line(path, number, "so nothing can be told of it", hint)
        before = step
        yield measured


def _measured(line: bytes) -> Measured:
    """What a line says; nothing where it is none."""
    try:
        told: Any = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(told, dict) or not NATURAL.accepts(told.get("step")):
        return {}
    values = {name: told[name] for name in _NUMBERS if name in told}
    right = all(value is None or REAL.accepts(value) for value in values.values())
    return {"step": told["step"], **values} if right else {}


def _no_line(path: Path, number: int, so: str, hint: str) -> DataError:
    return data_error("E068", f"line {number} of '{path}' is not a line of metrics, {so}.", hint)
