"""Work in a process of its own: what it needs is given back, and it may start one a GPU."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO
from weakref import finalize

from netc.api.worker import BROKEN, ENDED, REFUSED, receive, send
from netc.errors import DeviceError, Diagnostic

Work = Callable[..., Generator[Any, Any, None]]
"""What is done, a function of a module: it yields values that are not None; each is answered."""
END_SECONDS = 5.0
"""How long a process may take to end of itself; then it is killed."""
SAID_CHARACTERS = 2000
"""Of what a process said before it was lost, the last."""


class Apart:
    """Some work in another process. Its values come one after the other; the work goes on once the
    last one is answered.

    It ends with `close()`, or when it is let go.
    """

    def __init__(self, work: Work, *given: object) -> None:
        """Begin; what is given is what pickle can carry."""
        folder = TemporaryDirectory(prefix="netc-", ignore_cleanup_errors=True)
        task, self._said = Path(folder.name) / "task", Path(folder.name) / "said"
        task.write_bytes(pickle.dumps((work, given)))
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "netc.api.worker", str(task)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                # Ctrl-C is this process's affair, which ends the other one then.
                start_new_session=True,
            )
        self._begun = False
        self._close = finalize(self, _end, self._process, folder)

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return not self._close.alive

    def next(self, answer: object = None) -> Any:
        """Answer the last value, if there was one; the next, or None where there is none.

        Raises NetError as the work does, and DeviceError (E070) where its process has ended.
        """
        try:
            if self._begun:
                send(_stream(self._process.stdin), answer)
            self._begun = True
            kind, value = receive(_stream(self._process.stdout))
        except (OSError, EOFError):
            raise self._lost() from None
        except BaseException:
            # What is halfway through cannot go on.
            self.close()
            raise
        if kind in (ENDED, REFUSED, BROKEN):
            self.close()
        if kind == REFUSED:
            raise value
        assert kind != BROKEN, value
        return value

    def close(self) -> None:
        """End the process, and those that it started."""
        self._close()

    def _lost(self) -> DeviceError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        code = self._process.returncode
        text = self._said.read_text(encoding="utf-8", errors="replace").strip()
        self.close()
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        notes = tuple(text[-SAID_CHARACTERS:].splitlines())
        message = f"the process that computes ended ({how})."
        return DeviceError(Diagnostic("E070", message, notes=notes))


def _stream(stream: Any) -> BinaryIO:
    assert stream is not None, "it is a pipe"
    found: BinaryIO = stream
    return found


def _end(process: subprocess.Popen[bytes], folder: TemporaryDirectory[str]) -> None:
    """Nothing is asked any more: the process ends, at worst it is killed."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    folder.cleanup()
