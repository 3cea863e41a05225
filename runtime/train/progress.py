"""How far a training is: a live display in a terminal, occasional lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TextIO

from netc.errors import columns_of, folded, is_live
from netc.numbers import loss_text, memory_text

ASKED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What a training is at."""

    step: int
    """Steps made."""
    epoch: int
    """From 1."""
    loss: float
    images_per_second: float
    rate: float
    accuracy: float | None = None
    """Of the last evaluation, as a fraction; None before the first one."""
    loading: bool = False
    """Whether steps wait for images, and no longer for the devices."""
    evaluating: bool = False
    """Whether held-out images are gone through."""

    def words(self, total: int) -> Iterator[str]:
        """Where there is room."""
        yield f"step {self.step:,}/{total:,}"
        yield f"epoch {self.epoch}"
        yield f"loss {loss_text(self.loss)}"
        if self.accuracy is not None:
            yield f"accuracy {100 * self.accuracy:.2f} %"
        speed = f"{'loading ' * self.loading}{_speed(self.images_per_second)} images/s"
        yield "evaluating" if self.evaluating else speed
        yield f"rate {self.rate:.4g}"

    def short_words(self, total: int) -> Iterator[str]:
        """The same where there is little."""
        yield f"{self.step}/{total}"
        yield f"ep {self.epoch}"
        form = ".4f" if self.loss < 10 else ".4g" if self.loss < 9999 else ".0e"
        yield f"loss {self.loss:{form}}"
        if self.accuracy is not None:
            yield f"acc {100 * self.accuracy:.1f}%"
        speed = f"{'load ' * self.loading}{_speed(self.images_per_second).replace(',', '')}/s"
        yield "eval" if self.evaluating else speed
        yield f"lr {self.rate:.3g}"


class Progress:
    """Shows the state of a training on one line; a context manager, whose end leaves the last state
    readable. The line fits into 80 columns, and says more where there are more.

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
        memory: Callable[[], int] | None = None,
    ) -> None:
        """Shows on `stream`, the standard output if None. `memory` says how many bytes are taken;
        it is asked once a second at most.
        """
        self.total_steps, self._memory = total_steps, memory
        self._taken, self._asked = 0, -math.inf
        self._first: tuple[int, float] | None = None
        stream = sys.stdout if stream is None else stream
        self._display: _Display
        if quiet:
            self._display = _Nothing()
        elif plain or not is_live(stream):
            self._display = _Lines(stream, interval_seconds)
        else:
            self._display = _Live(stream, total_steps)

    def update(self, now: Standing) -> None:
        """Shows what a training is at."""
        taken, left = self._measured(), self._left(now.step)
        words, short = [*now.words(self.total_steps)], [*now.short_words(self.total_steps)]
        if taken:
            words.append(memory_text(taken))
            short.append(f"{taken / 1e9:.3g}GB")
        if left is not None:
            words.append(f"{_duration(left)} left")
            short.append(_duration(left))
        self._display.show(now.step, "  ".join(words), " ".join(short))

    def _measured(self) -> int:
        if self._memory is not None and time.monotonic() >= self._asked + ASKED_SECONDS:
            self._taken, self._asked = self._memory(), time.monotonic()
        return self._taken

    def _left(self, step: int) -> float | None:
        """Seconds to the end, where steps take what they took so far in this run, evaluations
        and checkpoints among them; None before there were two.
        """
        now = time.monotonic()
        if self._first is None or step <= self._first[0]:
            self._first = self._first or (step, now)
            return None
        made, took = step - self._first[0], now - self._first[1]
        return took / made * max(0, self.total_steps - step)

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
    def show(self, step: int, text: str, short: str) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...


class _Nothing:
    def show(self, step: int, text: str, short: str) -> None:
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

    def show(self, step: int, text: str, short: str) -> None:
        columns = columns_of(self._stream)
        self._waiting = text if columns is None or len(text) <= columns else short
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

    def show(self, step: int, text: str, short: str) -> None:
        shown = text if len(text) <= self._bar.console.width else short
        if not self._bar.tasks:
            self._bar.add_task(shown, total=self._total_steps)
        self._bar.update(self._bar.task_ids[0], description=shown, completed=step)

    def note(self, text: str) -> None:
        self._bar.console.print(text)

    def close(self) -> None:
        self._bar.stop()


def _speed(images_per_second: float) -> str:
    return f"{images_per_second:,.0f}" if images_per_second >= 100 else f"{images_per_second:.3g}"


def _duration(seconds: float) -> str:
    """In hours, minutes and seconds, of which less is said where it is long."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours}:{minutes:02}:{rest:02}"
    if hours < 48:
        return f"{hours}h{minutes:02}m"
    return f"{hours // 24}d{hours % 24:02}h" if hours < 24_000 else "1000d+"
