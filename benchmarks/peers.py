"""Processes that take turns: each answers a line on its standard input with a line of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
START_SECONDS, ANSWER_SECONDS = 420.0, 300.0
"""How long a process may take until it is warm, and for an answer."""


@dataclass
class Peer:
    """A process, and those that it starts."""

    name: str
    process: subprocess.Popen[str]
    log: IO[str]
    """What it writes on its standard error."""
    about: dict[str, Any] = field(default_factory=dict)
    """What it says of itself when it is warm; `unsupported` is why it does not run."""
    times: list[float] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        return "unsupported" not in self.about

    @property
    def why(self) -> str:
        """Why it does not run."""
        return str(self.about.get("unsupported", "it gave no answer"))

    def warm(self) -> None:
        """Wait until it says what it is."""
        self.about.update(self.answer(START_SECONDS) or {})

    def ask(self, line: str) -> Any:
        """What it answers to a line; None where it has ended, of which `about` tells."""
        assert self.process.stdin is not None
        # Of a process that was killed meanwhile the answer tells.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        return self.answer(ANSWER_SECONDS)

    def answer(self, seconds: float) -> Any:
        """One line of JSON; libraries may write others between."""
        assert self.process.stdout is not None
        limit = threading.Timer(seconds, self._late, [seconds])
        limit.start()
        try:
            for line in self.process.stdout:
                with contextlib.suppress(ValueError):
                    return json.loads(line)
        finally:
            limit.cancel()
        code = self.process.wait()
        how = f"code {code}" if code >= 0 else signal.Signals(-code).name
        self.about.setdefault("unsupported", f"ended with {how}{self._last_words()}")
        return None

    def _late(self, seconds: float) -> None:
        self.about["unsupported"] = f"gave no answer in {seconds:g} s"
        self.end()

    def _last_words(self) -> str:
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        # Help may follow what went wrong.
        faults = [line for line in lines if "error" in line.lower()] or lines
        return f": {faults[-1].strip()[:200]}" if faults else ""

    def end(self) -> None:
        """End it, and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def start(name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Peer:
    """Start a process in a group of its own; `warm` waits for it."""
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - read when the process has ended
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=log, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip
    return Peer(name, process, log)


@contextlib.contextmanager
def ended(peers: Sequence[Peer]) -> Iterator[None]:
    """Nothing that was started is left behind."""
    try:
        yield
    finally:
        for peer in peers:
            peer.end()
            peer.process.wait()


@dataclass
class Contestant:
    """A program of a peer that has several in memory, and the seconds of its steps."""

    peer: Peer
    place: int
    seconds: list[float] = field(default_factory=list)
    """Of a step, usual of each burst."""

    def burst(self, steps: int) -> None:
        """Some steps, one begun behind the other."""
        if self.peer.runs:
            found = self.peer.ask(f"burst {self.place} {steps}")
            self.seconds += [] if found is None else [found]

    def judged(self) -> dict[str, float]:
        """The median of the bursts, and the distance of the extremes over it."""
        median = statistics.median(self.seconds)
        spread = (max(self.seconds) - min(self.seconds)) / median
        return {"measured": median, "spread": spread}


def take_turns(contestants: Sequence[Contestant], repeats: int, steps: int) -> None:
    """A burst of each, forth and back, so that what else the machine does meets all of them."""
    for number in range(repeats):
        for each in contestants[:: -1 if number % 2 else 1]:
            each.burst(steps)
