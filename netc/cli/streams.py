"""The standard streams: what becomes of text that they cannot take, or cannot show."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from netc.errors import Diagnostic, NetError


class OutputError(NetError):
    """Standard output takes no more."""


class Stream:
    """A standard stream that may be closed or full: what it does not take is dropped.

    Every other attribute is the stream's own.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Write to `stream`; None is one that was closed from the start."""
        self._stream = stream
        self.problem: OSError | None = None
        """Why nothing more is written."""
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`, unless the stream has failed before."""
        if self.problem is None and text:
            try:
                if self._stream is None:
                    raise OSError(0, "it is closed")
                self._stream.write(text)
            except OSError as problem:
                self._fail(problem)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written, unless the stream has failed before."""
        if self.problem is None and self._stream is not None:
            try:
                self._stream.flush()
            except OSError as problem:
                self._fail(problem)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def _fail(self, problem: OSError) -> None:
        """Write nothing more; Python would try once more while it shuts down, so nor may that."""
        self.problem = problem
        if self._stream in (sys.__stdout__, sys.__stderr__) and self._stream is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class Output(Stream):
    """Standard output: where it takes no more, the work ends."""

    def _fail(self, problem: OSError) -> None:
        """End as on Ctrl-C where somebody ends in order then, as a training does; else raise."""
        super()._fail(problem)
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler) and handler is not signal.default_int_handler:
            signal.raise_signal(signal.SIGINT)
        elif threading.current_thread() is threading.main_thread():
            raise self.error()

    def error(self) -> OutputError:
        """Say why it takes no more."""
        reason = self.problem.strerror if self.problem is not None else ""
        return OutputError(Diagnostic("E058", f"cannot write to standard output: {reason}."))


@contextmanager
def standard_streams() -> Iterator[Output]:
    """Let nothing that is written to the standard streams raise anything but `OutputError`."""
    before = sys.stdout, sys.stderr
    _occupy()
    output = Output(sys.stdout)
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, Stream(sys.stderr))
    try:
        yield output
    finally:
        sys.stdout, sys.stderr = before


def _occupy() -> None:
    """Where standard streams are closed, no file may get their numbers and what libraries print."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        with suppress(OSError):
            while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
                pass
            os.close(file)
