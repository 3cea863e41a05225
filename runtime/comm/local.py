"""Processes of one machine that `netc run` starts itself, one a GPU.

The first process starts the others by its own command and hears them over two local connections
each: one to agree, one on which they say what they are at. Where a process dies, the others stop:
the first one sees it end, and the others see their connection close. Where nothing moves any more,
the first one says who waits for whom and ends all; the others, where it is the first one that was
stopped.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from netc.errors import DeviceError, Diagnostic
from netc_runtime.comm.ranks import Ranks
from netc_runtime.comm.watch import POLL_SECONDS, is_stopped, leave, say, stall_seconds
from netc_runtime.standstill import has_lost, stands_still
from netc_runtime.words import Course, Patience, Report

RANK, SIZE, PORT, KEY = "NETC_RANK", "NETC_RANKS", "NETC_PORT", "NETC_KEY"
"""What the first process tells the others, by environment variables."""
END_SECONDS = 3.0
"""How long a process may take to end after it closed its connections."""
SILENT_POLLS = 5
"""A process of which nothing is heard for so long does something that its threads wait for."""


class LocalRanks(Ranks):
    """The processes of this machine, and this one's place among them."""

    def __init__(self, size: int) -> None:
        """Start the others, by this process's own command, or join the one that started this.

        Raises DeviceError where a process ends before it came.
        """
        self.patience = Patience(stall_seconds())
        self.rank, self.size = int(os.environ.get(RANK, "0")), size
        self.others: list[subprocess.Popen[bytes]] = []
        self.talks: list[Connection] = []
        self.lines: list[Connection] = []
        self.over = self.meets = False
        self.messages = 0
        self.look: Callable[[], Report] = Report
        self.courses: Sequence[Course] = ()
        self.heard = {rank: Report() for rank in range(size)}
        self.silent = dict.fromkeys(range(1, size), 0)
        self.ending = threading.Lock()
        if self.rank:
            self._join()
        else:
            self._start()
        watch = self._watch_first if self.rank else self._watch_others
        threading.Thread(target=watch, name="netc-watch", daemon=True).start()

    def watch(self, look: Callable[[], Report], courses: Sequence[Course]) -> None:
        """Let it be looked at what this process is at, and end all where nothing moves."""
        self.look, self.courses = look, courses

    def allgather(self, value: Any) -> list[Any]:
        """What every process gives, in rank order."""
        self.meets = True
        try:
            return self._gathered(value)
        except (EOFError, OSError):
            if self.rank:
                self._without_first()
            # A connection ends before the process that held it does.
            for _ in range(int(END_SECONDS / POLL_SECONDS)):
                if (dead := self._dead()) is not None:
                    self._give_up(*dead)
                time.sleep(POLL_SECONDS)
            os._exit(DeviceError.exit_code)
        finally:
            self.meets = False

    def _gathered(self, value: Any) -> list[Any]:
        if self.rank:
            self._send(self.talks[0], value)
            found: list[Any] = self._receive(self.talks[0])
            return found
        values = [value, *map(self._receive, self.talks)]
        for talk in self.talks:
            self._send(talk, values)
        return values

    def _send(self, talk: Connection, value: Any) -> None:
        talk.send(value)
        self.messages += 1

    def _receive(self, talk: Connection) -> Any:
        found = talk.recv()
        self.messages += 1
        return found

    def release(self) -> bool:
        """End the others where this process can, and may go on to say why; else False."""
        if self.rank:
            return False
        self.over = True
        for other in self.others:
            other.kill()
        return True

    def abort(self, code: int) -> None:
        """End all processes: this one cannot go on."""
        self.over = True
        for other in self.others:
            other.kill()
        leave(code)

    def close(self) -> None:
        """Leave: nothing is asked of the others any more."""
        self.allgather(None)
        self.over = True
        for other in self.others:
            other.wait()

    def _start(self) -> None:
        key = secrets.token_bytes(16)
        with Listener(("127.0.0.1", 0), backlog=2 * self.size, authkey=key) as listener:
            told = {SIZE: str(self.size), PORT: str(listener.address[1]), KEY: key.hex()}
            for rank in range(1, self.size):
                self.others.append(
                    subprocess.Popen(
                        [sys.executable, *sys.orig_argv[1:]],
                        env={**os.environ, **told, RANK: str(rank)},
                    )
                )
            self._hear(listener)

    def _hear(self, listener: Listener) -> None:
        """Wait for both connections of every other process."""
        threading.Thread(target=self._await_start, daemon=True).start()
        came: dict[tuple[int, str], Connection] = {}
        while len(came) < 2 * (self.size - 1):
            connection = listener.accept()
            came[connection.recv()] = connection
        self.talks = [came[rank, "talk"] for rank in range(1, self.size)]
        self.lines = [came[rank, "line"] for rank in range(1, self.size)]

    def _await_start(self) -> None:
        """Give up where a process ends before it was heard."""
        while not self.talks:
            if (dead := self._dead()) is not None:
                self._give_up(*dead)
            time.sleep(POLL_SECONDS)

    def _join(self) -> None:
        address = ("127.0.0.1", int(os.environ[PORT]))
        for name, kept in (("talk", self.talks), ("line", self.lines)):
            connection = Client(address, authkey=bytes.fromhex(os.environ[KEY]))
            connection.send((self.rank, name))
            kept.append(connection)

    def _watch_first(self) -> None:
        """Tell the first process what this one is at; end where that has ended, or was stopped."""
        (line,) = self.lines
        while not self.over:
            try:
                line.send(self._report())
                if line.poll(POLL_SECONDS):
                    line.recv()  # it is closed: nothing comes this way
            except (EOFError, OSError):
                if not self.over:
                    self._without_first()
            first = Report("gone" if is_stopped(os.getppid()) else "busy")
            self._judge({0: first, self.rank: self._report()})

    def _watch_others(self) -> None:
        """Hear what all others are at; end where one has ended, or nothing moves any more."""
        while not self.over:
            if (dead := self._dead()) is not None:
                # A process that failed by itself says why before it ends.
                time.sleep(POLL_SECONDS)
                if not self.over:
                    self._give_up(*dead)
            self._judge(self._reports())
            time.sleep(POLL_SECONDS)

    def _judge(self, reports: Mapping[int, Report]) -> None:
        if self.patience.is_over(reports, POLL_SECONDS) and not self.over:
            self._end(stands_still(self.courses, reports, self.patience.seconds))

    def _report(self) -> Report:
        """What this process is at."""
        own = replace(self.look(), messages=self.messages)
        return replace(own, state="meeting") if self.meets and own.state == "busy" else own

    def _reports(self) -> dict[int, Report]:
        """What all processes are at."""
        for rank, (line, process) in enumerate(zip(self.lines, self.others, strict=True), 1):
            self.silent[rank] += 1
            # One that has closed its connection is about to end.
            with suppress(EOFError, OSError):
                while line.poll():
                    self.heard[rank], self.silent[rank] = line.recv(), 0
            if is_stopped(process.pid):
                self.heard[rank] = replace(self.heard[rank], state="gone")
            elif self.silent[rank] > SILENT_POLLS:
                self.heard[rank] = replace(self.heard[rank], state="busy")
        self.heard[0] = self._report()
        return self.heard

    def _dead(self) -> tuple[int, int] | None:
        """Rank and exit code of a process that ended."""
        for rank, other in enumerate(self.others, 1):
            if (code := other.poll()) is not None:
                return rank, code
        return None

    def _give_up(self, rank: int, code: int) -> None:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        reports = {**self.heard, 0: self._report()}
        self._end(has_lost(self.courses, reports, rank, f" ({how})"))

    def _without_first(self) -> None:
        self._end(has_lost(self.courses, {self.rank: self._report()}, 0, ""))

    def _end(self, diagnostic: Diagnostic) -> None:
        """End all processes and say why, which is done once."""
        with self.ending:
            say(diagnostic)
            self.abort(DeviceError.exit_code)


def is_started() -> bool:
    """Whether another process started this one as one of its ranks."""
    return RANK in os.environ
