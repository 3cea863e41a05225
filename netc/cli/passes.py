"""What compilation is at, for people: values of passes, their times, and what takes long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection

from netc.api.figures import seconds_text
from netc.api.watch import PassReport, Watch
from netc.cli.output import table

TOLD_SECONDS = 2.0
"""A compilation that takes longer shows what it is at."""


class CompileProgress(Watch):
    """Says on a terminal what a long compilation is at, and is silent once it has ended."""

    def __init__(self, seconds: float = TOLD_SECONDS) -> None:
        self.started, self.seconds = time.monotonic(), seconds
        self.at, self.shown = "", False
        self.shows = sys.stderr.isatty()
        self.lock = threading.Lock()
        self.timer = threading.Timer(seconds, self._show)
        self.timer.daemon = True
        if self.shows:
            self.timer.start()

    def begins(self, name: str, program: str) -> None:
        """A pass begins, for a program."""
        self.tell(f"compiling: {name} of the {program} program")

    def tell(self, at: str) -> None:
        """What is done now; shown once it has taken long."""
        self.at = at
        if time.monotonic() - self.started >= self.seconds:
            self._show()

    def close(self) -> None:
        """Nothing is shown any more."""
        self.timer.cancel()
        with self.lock:
            if self.shown:
                print("\r\033[K", end="", file=sys.stderr, flush=True)
            self.shows = False

    def _show(self) -> None:
        with self.lock:
            if self.shows:
                self.shown = True
                print(f"\r\033[K{self.at}", end="", file=sys.stderr, flush=True)


class Printer(CompileProgress):
    """Also prints values after passes, and what each took."""

    def __init__(self, passes: Collection[str], program: str) -> None:
        super().__init__()
        self.passes, self.program = passes, program
        self.steps: list[PassReport] = []

    def ended(self, step: PassReport) -> None:
        """A pass has ended, and its result is verified."""
        self.steps.append(step)
        if step.name in self.passes and step.program == self.program:
            print(f"# after {step.name}\n{step.text()}", end="")

    def times(self) -> str:
        """A row for each pass and program, and their sum."""
        rows = [
            (s.name, s.program, seconds_text(s.seconds), seconds_text(s.verify_seconds))
            for s in self.steps
        ]
        sums = (sum(s.seconds for s in self.steps), sum(s.verify_seconds for s in self.steps))
        rows.append(("all", "", seconds_text(sums[0]), seconds_text(sums[1])))
        return table(("pass", "program", "took", "verified in"), rows, left=2)
