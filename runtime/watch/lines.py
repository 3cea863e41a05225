"""What the processes of a run tell each other of themselves, and the one that says why it ends.

A thread of every process tells the first one what it is at, over a connection of its own, five
times a second, and the first one tells all others that it is there. Where a process ends before the
run does, its connection closes; where one was stopped, the system says so, or from another machine
nothing is heard. Then the first process says who it is and what the others wait for, and ends all;
the second one does, where it is the first that does not come, and so on. A process that fails by
itself leaves it to the first one to say why, as most often that fails in the same way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from netc.errors import DeviceError, Diagnostic
from netc_runtime.watch.process import POLL_SECONDS, is_stopped, say, say_text, stall_seconds
from netc_runtime.watch.standstill import has_lost, stands_still
from netc_runtime.watch.words import Report, StallTimer, WatchedProgram

SILENT_POLLS = 5
"""A process of which nothing is heard for so long does something that its threads wait for, or on
another machine has stopped."""
ALIKE_SECONDS = 1.0
"""How long the first process may take to fail in the same way as another one."""
TURN_SECONDS = 3.0
"""How much later than the one before it a process says that the first one does not come: that one
has ended all by then."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a process cannot go on."""

    text: str
    code: int
    """With which all processes are to end."""


@dataclass(frozen=True)
class ProcessPlace:
    """Where a process is."""

    pid: int
    host: str = ""
    """The machine, if it is to be named."""
    seen: bool = True
    """Whether this process sees what the system says of it."""


class Lines:
    """Connections of a process: of the first one to all others, of others to the first one."""

    def __init__(
        self,
        rank: int,
        lines: Mapping[int, Connection],
        places: Mapping[int, ProcessPlace],
        end: Callable[[int], None],
        how: Callable[[int], str],
        sent: Callable[[], int],
        by_host: bool = False,
    ) -> None:
        """`lines` and `places` by rank. `end` ends all processes with an exit code; `how` says, of
        a process that ended, with what; `sent` counts messages of this process. With `by_host`
        messages by which processes agree may take minutes each.
        """
        self.rank, self.lines, self.places = rank, dict(lines), places
        self.end, self.how, self.sent = end, how, sent
        self.by_host = by_host
        self.hosts = {each: place.host for each, place in places.items() if place.host}
        self.look: Callable[[], Report] = Report
        self.programs: Sequence[WatchedProgram] = ()
        self.timer = StallTimer(stall_seconds() + turn(rank))
        self.heard = {other: Report() for other in (rank, *self.lines)}
        self.silent = dict.fromkeys(self.lines, 0)
        self.meets = self.over = False
        self.failure: Failure | None = None
        self.ending = threading.Lock()
        self.thread = threading.Thread(target=self._watch, name="netc-watch", daemon=True)
        self.thread.start()

    @contextmanager
    def meeting(self) -> Iterator[None]:
        """While this process waits for the others to agree."""
        self.meets = True
        try:
            yield
        finally:
            self.meets = False

    def hush(self) -> None:
        """Say nothing from now on: this process says itself why all end."""
        with self.ending:
            self.over = True

    def close(self) -> None:
        """The run has ended well: the others miss this process no more."""
        self.over = True
        self.thread.join()
        for line in self.lines.values():
            with suppress(OSError):
                line.send(None)

    def lose(self, rank: int) -> None:
        """End all, as a process has ended."""
        self._tell(self.heard, self.rank)
        self._end(has_lost(self.programs, self.heard, rank, self.how(rank), self.hosts))

    def _watch(self) -> None:
        while not self.over:
            for rank in list(self.lines):
                if not self._hear(rank) and not self.over:
                    # Whoever started the processes may see it too, and end them all.
                    time.sleep(POLL_SECONDS + turn(self.rank))
                    self.lose(rank)
            self._judge()
            time.sleep(POLL_SECONDS)

    def _hear(self, rank: int) -> bool:
        """Tell another process what this one is at, and hear it; False where it has ended."""
        line = self.lines[rank]
        self.silent[rank] += 1
        try:
            while line.poll():
                self._take(rank, line.recv())
                if rank not in self.lines:
                    return True
        except (EOFError, OSError):
            return False
        # Of one that ends now there may be more to hear.
        with suppress(OSError):
            line.send(self.failure or self._report())
        return True

    def _take(self, rank: int, said: Report | Failure | None) -> None:
        self.silent[rank] = 0
        if said is None:
            del self.lines[rank], self.heard[rank]
        elif isinstance(said, Report):
            self.heard[rank] = said
        else:
            time.sleep(ALIKE_SECONDS)
            self._end(said)

    def _judge(self) -> None:
        reports = self.heard
        self._tell(reports, self.rank)
        for rank in self.lines:
            self._tell(reports, rank)
        if self.timer.is_over(reports, POLL_SECONDS):
            seconds = self.timer.limit(reports) - turn(self.rank)
            self._end(stands_still(self.programs, reports, seconds, self.hosts))

    def _tell(self, reports: dict[int, Report], rank: int) -> None:
        """What is known of a process now. What others than the first one hear of it is that it is
        there; who holds up the run is not theirs to say.
        """
        if rank == self.rank:
            reports[rank] = self._report()
            return
        place, silent = self.places[rank], self.silent[rank] > SILENT_POLLS
        if is_stopped(place.pid) if place.seen else silent:
            reports[rank] = replace(reports[rank], state="gone")
        elif silent or self.rank:
            reports[rank] = replace(reports[rank], state="busy")

    def _report(self) -> Report:
        """What this process is at."""
        own = replace(self.look(), messages=self.sent())
        if not self.meets or own.state != "busy":
            return own
        return replace(own, state="meeting", by_host=own.by_host or self.by_host)

    def _end(self, why: Diagnostic | Failure) -> None:
        """End all processes and say why, which is done once."""
        with self.ending:
            if self.over:
                return
            if isinstance(why, Failure):
                say_text(why.text)
            else:
                say(why)
            self.end(why.code if isinstance(why, Failure) else DeviceError.exit_code)


def await_start(
    rank: int,
    pids: Callable[[], Mapping[int, int]],
    end: Callable[[int], None],
    how: Callable[[int], str],
    host: str = "",
) -> threading.Event:
    """Until the event that is given back is set, end all where one of the processes of this
    machine has ended or was stopped. `pids` finds those that live, by rank.
    """
    started = threading.Event()

    def watch() -> None:
        timer, known = StallTimer(stall_seconds() + turn(rank)), dict(pids())
        while not started.wait(POLL_SECONDS):
            living = pids()
            for lost in known.keys() - living.keys():
                if not started.wait(POLL_SECONDS + turn(rank)):
                    say(has_lost((), {}, lost, how(lost), {lost: host} if host else {}))
                    end(DeviceError.exit_code)
            known |= living
            reports = {r: Report("gone" if is_stopped(p) else "busy") for r, p in living.items()}
            reports[rank] = Report("meeting")
            if timer.is_over(reports, POLL_SECONDS) and not started.is_set():
                hosts = dict.fromkeys(known, host) if host else {}
                say(stands_still((), reports, stall_seconds(), hosts))
                end(DeviceError.exit_code)

    threading.Thread(target=watch, name="netc-start", daemon=True).start()
    return started


def turn(rank: int) -> float:
    """Seconds that a process leaves to those before it to speak first."""
    return TURN_SECONDS * max(rank - 1, 0)
