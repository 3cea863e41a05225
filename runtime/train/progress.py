"""How far a training is: a live display in a terminal, occasional lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, TextIO

from netc.errors import columns_of, folded, is_live


class Progress:
    """Shows the state of a training; a context manager, whose end leaves the last state readable.

    Quiet shows nothing at all, plain shows lines even in a terminal. Lines come at the first
    update, then at most every `interval_seconds`, and at the end.
    """

    def __init__(
        self,
        total_steps: int,
        quiet: bool = False,
        plain: bool = False,
        stream: TextIO | None = None,
        interval_seconds: float = 10.0,
    ) -> None:
        """Shows on `stream`, the standard output if None."""
        self.total_steps = total_steps
        stream = sys.stdout if stream is None else stream
        self._display: _Display
        if quiet:
            self._display = _Nothing()
        elif plain or not is_live(stream):
            self._display = _Lines(stream, interval_seconds)
        else:
            self._display = _Live(stream, total_steps)

    def update(
        self,
        step: int,
        epoch: int,
        loss: float,
        images_per_second: float,
        **more: float,
    ) -> None:
        """Shows that `step` steps are done; `more` are further numbers, by name."""
        words = [
            f"step {step:,}/{self.total_steps:,}",
            f"epoch {epoch}",
            f"loss {loss:.4f}",
            f"{images_per_second:,.0f} images/s",
            *(f"{name.replace('_', ' ')} {value:.4g}" for name, value in more.items()),
        ]
        self._display.show(step, "  ".join(words))

    def note(self, text: str) -> None:
        """Shows a line that stays, above the live one."""
        self._display.note(text)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._display.close()


class _Display(Protocol):
    def show(self, step: int, text: str) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...


class _Nothing:
    def show(self, step: int, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class _Lines:
    def __init__(self, stream: TextIO, interval_seconds: float) -> None:
        self._stream = stream
        self._interval_seconds = interval_seconds
        self._next_seconds = time.monotonic()
        self._waiting = ""

    def show(self, step: int, text: str) -> None:
        self._waiting = text
        if time.monotonic() >= self._next_seconds:
            self._next_seconds = time.monotonic() + self._interval_seconds
            self._print_waiting()

    def note(self, text: str) -> None:
        print(folded(text, columns_of(self._stream)), file=self._stream, flush=True)

    def close(self) -> None:
        if self._waiting:
            self._print_waiting()

    def _print_waiting(self) -> None:
        self.note(self._waiting)
        self._waiting = ""


class _Live:
    def __init__(self, stream: TextIO, total_steps: int) -> None:
        # Imported here: it is slow to import, and needed in a terminal only.
        from rich.console import Console

        from netc_runtime.train.bar import Bar

        self._bar = Bar(Console(file=stream, highlight=False, markup=False))
        self._total_steps = total_steps
        self._bar.start()

    def show(self, step: int, text: str) -> None:
        # The task begins where the training does, or the time left would count steps not made now.
        if not self._bar.tasks:
            self._bar.add_task(text, total=self._total_steps, completed=step)
        self._bar.update(self._bar.task_ids[0], description=text, completed=step)

    def note(self, text: str) -> None:
        self._bar.console.print(text)

    def close(self) -> None:
        self._bar.stop()
