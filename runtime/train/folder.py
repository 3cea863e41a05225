"""The folder of a training: its checkpoints and metrics. A folder belongs to one training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from numpy.typing import NDArray

from netc.errors import DataError

from ..io.checkpoint import checkpoint_name, checkpoints, save, unfinished
from ..io.problems import data_error, unwritable
from .metrics import Metrics

KEPT_CHECKPOINTS = 3
"""Where nothing else is asked for."""
BEST = "best.safetensors"
"""The checkpoint that was best by what is held out, whatever else is removed."""
DAMAGED = ".damaged"
"""Ends the name of a checkpoint that was put aside."""
METRICS, _LOCK = "metrics.jsonl", ".lock"


class Folder:
    """The folder of one training, locked as long as it is open; a context manager.

    Of what it finds there it removes only files of the training that it goes on with, and those of
    another one where it is told to replace that.
    """

    def __init__(
        self,
        path: Path,
        resumed: Path | None = None,
        replace: bool = False,
        keep: int = KEPT_CHECKPOINTS,
        damaged: Collection[Path] = (),
        again: bool = False,
    ) -> None:
        """Take a folder for a training that begins, or goes on from the checkpoint `resumed`; of
        checkpoints the newest are kept, so many as `keep` says, and the best one. Those that are
        `damaged` are put aside, under names of their own. With `again` a training that ended
        before its first checkpoint is begun again.

        Raises DataError: E083 where another run writes there, where the folder has another
        training (unless that is to be replaced), or later checkpoints than the resumed one; E069
        where the system refuses.
        """
        self.path, self.keep, self._damaged = path, keep, damaged
        place = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            place = path / _LOCK
            _check_regular(place, path / METRICS)
            self._lock = _locked(place)
        except FileExistsError as problem:
            message = f"'{path}' is a file, not a folder."
            raise data_error("E069", message, "name a folder with '--out'.") from problem
        except OSError as problem:
            raise unwritable(place, problem) from problem
        try:
            self._take(resumed, replace, again)
        except BaseException:
            self.close()
            raise

    def _take(self, resumed: Path | None, replace: bool, again: bool) -> None:
        found = [file for file in checkpoints(self.path) if file not in self._damaged]
        self._own = [] if resumed is None else _up_to(found, resumed)
        self._foreign = [file for file in found if file not in self._own]
        goes_on = bool(self._own)
        if not goes_on:
            others = (self.path / name for name in (BEST, *(() if again else (METRICS,))))
            self._foreign += (each for each in others if _has_lines(each))
        if self._foreign and not replace:
            raise _taken(self.path, self._foreign, self._own)
        _remove(unfinished(self.path))

    def begin(self, step: int, due: bool = False) -> Metrics:
        """Remove what is to be replaced, put aside what is damaged; the metrics, up to `step` where
        the training goes on, without its evaluation where that is `due`.

        Raises DataError as `Metrics`.
        """
        for file in self._damaged:
            _move(file, file.with_name(file.name + DAMAGED))
        self._damaged = ()
        _remove(self._foreign)
        self._foreign = []
        return Metrics(self.path / METRICS, step + 1 if self._own else None, due)

    @property
    def newest(self) -> Path | None:
        """The training's own newest checkpoint; None before the first one."""
        return self._own[-1] if self._own else None

    def save(
        self,
        step: int,
        tensors: Mapping[str, NDArray[Any]],
        meta: Mapping[str, str],
        beside: bool = False,
    ) -> Path:
        """Write the checkpoint of a step, and remove the training's own but for the newest, unless
        it is to be `beside` them.

        Raises DataError (E069) where the system refuses.
        """
        path = self.path / checkpoint_name(step)
        self._check_there()
        save(path, tensors, meta)
        self._own = [*(file for file in self._own if file != path), path]
        if not beside:
            _remove(self._own[: -self.keep])
            self._own = self._own[-self.keep :]
        return path

    def withdraw(self, step: int) -> None:
        """Remove the checkpoint of a step. Raises DataError (E069) where the system refuses."""
        path = self.path / checkpoint_name(step)
        _remove(file for file in self._own if file == path)
        self._own = [file for file in self._own if file != path]

    def keep_as_best(self, checkpoint: Path) -> Path:
        """Let a checkpoint of this folder be the best one, under a name of its own.

        Raises DataError (E069) where the system refuses.
        """
        best, made = self.path / BEST, self.path / f".{BEST}"
        try:
            made.unlink(missing_ok=True)
            try:
                os.link(checkpoint, made)
            except OSError:  # a file system without links
                shutil.copyfile(checkpoint, made)
            os.replace(made, best)
        except OSError as problem:
            raise unwritable(best, problem) from problem
        return best

    def _check_there(self) -> None:
        """Raise DataError (E069) where the folder was removed, or another one has its name: to save
        would make it anew, without its lock, its metrics, and what was best.
        """
        try:
            there = os.path.samestat(os.fstat(self._lock.fileno()), os.stat(self.path / _LOCK))
        except OSError:
            there = False
        if not there:
            message = (
                f"'{self.path}' was removed, emptied or renamed while its training was running."
            )
            hint = "begin anew, or '--resume' from a copy of its checkpoints."
            raise data_error("E069", message, hint)

    def close(self) -> None:
        """Let others have the folder."""
        self._lock.close()

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_regular(*files: Path) -> None:
    """Opening a pipe could wait for ever."""
    for file in files:
        if os.path.lexists(file) and not file.is_file():
            message = f"'{file}' is no regular file."
            raise data_error("E069", message, "remove it, or name another folder with '--out'.")


def _locked(path: Path) -> IO[str]:
    """The lock's file, which the system lets go when this process ends, however it does."""
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (closed by close)
    if os.name != "posix":
        return file
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read(20).strip() or "unknown"
        file.close()
        message = f"another run, process {who}, is writing into '{path.parent}'."
        raise data_error(
            "E083", message, "wait for it, or name another folder with '--out'."
        ) from None
    except OSError:
        return file  # a file system without locks
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _up_to(found: list[Path], resumed: Path) -> list[Path]:
    """Checkpoints of the training that goes on: the resumed one and those before it."""
    places = [n for n, file in enumerate(found) if file.resolve() == resumed.resolve()]
    return found[: places[0] + 1] if places else []


def _has_lines(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _taken(path: Path, foreign: list[Path], own: list[Path]) -> DataError:
    newest = foreign[-1].name if foreign[-1].name not in (BEST, METRICS) else foreign[0].name
    if own:
        message = f"'{path}' has later checkpoints than '{own[-1].name}': '{newest}' is the newest."
        hint = (
            "resume from that one, or into another folder by '--out', or '--replace' removes them."
        )
    else:
        message = f"'{path}' has a training already ('{newest}')."
        hint = (
            "'--resume' goes on with it, '--out' names another folder, '--replace' removes its "
            "checkpoints and metrics."
        )
        if newest == METRICS:
            hint = (
                "it saved no checkpoint to go on from: '--replace' removes its metrics and begins "
                "anew, '--out' names another folder."
            )
    return data_error("E083", message, hint)


def _move(file: Path, target: Path) -> None:
    try:
        os.replace(file, target)
    except OSError as problem:
        raise unwritable(target, problem) from problem


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError as problem:
            raise unwritable(file, problem) from problem
