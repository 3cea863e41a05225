"""Checkpoints of a training that goes on: its state is copied, and written while it takes steps."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from netc.errors import DataError, Diagnostic, NetError
from netc.ir.program import Bundle

from ..io.checkpoint import step_of
from ..launch.ranks import Ranks
from ..session import Session
from .folder import Folder

Array = NDArray[Any]
EXPLODED = "E075"
SHOWN_NAMES = 3


class ExplodedError(DataError):
    """A training has numbers that are none."""


class Saver:
    """Writes one checkpoint at a time into a folder; a context manager, whose end waits for it.

    The thread that writes owns the folder and the copy of the state until `wait` returns. Of
    several processes only one has a folder: the others take part in copying, and write nothing.
    """

    def __init__(self, session: Session, folder: Folder | None, ranks: Ranks) -> None:
        self.session, self.folder, self.ranks = session, folder, ranks
        self.saves = ranks.share(folder is not None)
        """Whether one of the processes has a folder."""
        self.step, self.path = -1, None if folder is None else folder.newest
        """The step that was saved last, and the file of the last one that is there."""
        self.untested = False
        """Whether that one was saved before it was evaluated."""
        self._copied = -1
        """The step whose state the copy is."""
        self._copy: dict[str, Array] = {}
        """Kept from one checkpoint to the next: memory that is new costs more than the copying."""
        self._thread: threading.Thread | None = None
        self._problem: BaseException | None = None

    def begin(self, step: int, meta: Mapping[str, str], best: bool, untested: bool = False) -> None:
        """Copy the whole state, and let it be written; it may be the `best` one so far. Where it is
        `untested`, those before it are kept, too.

        `wait` comes before. Raises DataError (E075), in all processes, where it is no number.
        """
        assert self._thread is None, "one at a time"
        if self._copied != step:
            self._check_finite(step)
            if self.folder is None:
                self.session.give_state()
            else:
                self._copy = self.session.state(self._copy)
        self.step, self._copied, self.untested = step, step, untested
        if self.folder is None:
            return
        # Whoever ends this process at once waits for no thread.
        arguments = (self.folder, step, meta, best, untested)
        self._thread = threading.Thread(target=self._write, args=arguments, daemon=True)
        self._thread.start()

    def forget(self) -> None:
        """What was saved of the last step is not what its state is now."""
        self.step = self._copied = -1

    def withdraw(self) -> None:
        """Remove what was saved last, if it was not evaluated. `wait` comes before.

        Raises DataError (E069) where the system refuses.
        """
        if self.folder is not None and self.untested:
            self.folder.withdraw(self.step)
            self.path, self.untested = self.folder.newest, False

    def look(self) -> None:
        """Raise DataError (E069) where the system has refused what is being written."""
        if self._problem is not None:
            self.wait()

    def wait(self) -> None:
        """Wait until what was begun is on the disk. Raises DataError as `look`, once."""
        if self._thread is not None:
            self._thread.join()
        self._thread = None
        if (problem := self._problem) is not None:
            self.step, self._problem = -1, None
            raise problem

    def _write(
        self, folder: Folder, step: int, meta: Mapping[str, str], best: bool, untested: bool
    ) -> None:
        try:
            self.path = folder.save(step, self._copy, meta, untested)
            if best:
                folder.keep_as_best(self.path)
        except BaseException as problem:
            self._problem = problem

    def _check_finite(self, step: int) -> None:
        bad = {name for names in self.ranks.allgather(self.session.not_finite()) for name in names}
        if bad:
            shown = ", ".join(f"'{name}'" for name in sorted(bad)[:SHOWN_NAMES])
            more = f" and {len(bad) - SHOWN_NAMES} more" if len(bad) > SHOWN_NAMES else ""
            raise exploded(f"after step {step} not all numbers are finite in {shown}{more}")

    def with_saved(self, failure: NetError, step: int) -> NetError:
        """The same, saying up to which step the training is saved; it made so many."""
        first, *rest = failure.diagnostics
        saved = "nothing of the training is saved."
        elsewhere = self.saves and self.folder is None
        if elsewhere or (self.path is not None and self.path.exists()):
            step = step if self.path is None else step_of(self.path)
            saved = f"the training is saved up to step {step}; '--resume' goes on."
        return type(failure)(replace(first, notes=(*first.notes, saved)), *rest)

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            return  # the second one: at once
        try:
            self.wait()
        except DataError:
            if problem is None:
                raise


def checkpoint_bytes(bundle: Bundle) -> int:
    """What the tensors of a checkpoint take, in its file and in the copy that is written."""
    sizes = ((port.shape, port.dtype) for port in bundle.train.state)
    return sum(math.prod(shape) * (8 if dtype in ("f64", "i64") else 4) for shape, dtype in sizes)


def exploded(what: str) -> ExplodedError:
    """What is raised where a training has numbers that are none."""
    return ExplodedError(Diagnostic(EXPLODED, f"{what}; that state is not saved."))
