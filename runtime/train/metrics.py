"""metrics.jsonl: what a training measured, one JSON object a line, readable while it runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType

from netc.text import json_text

from ..io.problems import data_error, unwritable


class Metrics:
    """Appends lines to a metrics file; each is on its way to the disk when `write` returns.

    Every line has `step`, the number of the step it was measured at, and steps never decrease.
    """

    def __init__(self, path: Path | str, resume_at: int | None = None) -> None:
        """Starts `path` anew, or drops its lines with step >= `resume_at` and goes on after them.

        Raises DataError: E068 where a file to go on with is no metrics file, E069 where the system
        refuses.
        """
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept_bytes = 0 if resume_at is None else _bytes_before(self.path, resume_at)
            # Nothing is kept back: what a full disk refuses is not tried again when closing.
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 (closed by close)
            os.truncate(self.path, kept_bytes)
        except OSError as problem:
            raise unwritable(self.path, problem) from problem

    def write(self, step: int, **values: object) -> None:
        """Appends one line: `step` and `values`, such as epoch, loss, learning_rate, accuracy.

        Numbers may be NumPy's; those that are not finite become null, as JSON has no other word.
        """
        record = {key: _plain(value) for key, value in {"step": step, **values}.items()}
        line = json_text(record).encode() + b"\n"
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as problem:
            raise unwritable(self.path, problem) from problem

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


def _plain(value: object) -> object:
    """`value` as Python knows it, where it is NumPy's."""
    return value.item() if hasattr(value, "item") else value


def _bytes_before(path: Path, step: int) -> int:
    """The length of the part of `path` before `step`, and before a line that a crash cut short."""
    if not path.exists():
        return 0
    kept_bytes = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") or _step_of(line, path, number) >= step:
                break
            kept_bytes += len(line)
    return kept_bytes


def _step_of(line: bytes, path: Path, number: int) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise data_error(
            "E068",
            f"line {number} of '{path}' is not a line of metrics, so the file is left as it is.",
            "take another folder with '--out', or move that file away.",
        ) from problem
