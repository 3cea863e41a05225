"""Processes of one machine that `netc run` starts itself, one a GPU.

The first process starts the others by its own command and has two local connections to each: one to
agree, and one on which processes say what they are at (`runtime/watch/lines.py`).
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, NoReturn

from netc.errors import DeviceError
from netc_runtime.launch.ranks import Ranks
from netc_runtime.watch.lines import Lines, ProcessPlace, await_start
from netc_runtime.watch.process import leave, stall_seconds

RANK, SIZE, PORT, KEY = "NETC_RANK", "NETC_RANKS", "NETC_PORT", "NETC_KEY"
"""What the first process tells the others, by environment variables."""
END_SECONDS = 3.0
"""How long a process may take to end after it closed its connections."""


class LocalRanks(Ranks):
    """The processes of this machine, and this one's place among them."""

    lines: Lines

    def __init__(self, size: int) -> None:
        """Start the others, by this process's own command, or join the one that started this.

        Raises DeviceError where a process ends before it came.
        """
        stall_seconds()
        self.rank, self.size = int(os.environ.get(RANK, "0")), size
        self.others: list[subprocess.Popen[bytes]] = []
        self.talks: list[Connection] = []
        self.messages = 0
        self.pids: dict[int, int] = {}
        """Of all other processes."""
        started = await_start(self.rank, self._living, self.abort, self._how)
        try:
            lines = self._join() if self.rank else self._start()
            self.pids = dict(enumerate(self._gathered(os.getpid())))
        except (EOFError, OSError):
            self._await_end()
        del self.pids[self.rank]
        places = {rank: ProcessPlace(pid) for rank, pid in self.pids.items()}
        self.lines = Lines(self.rank, lines, places, self.abort, self._how, lambda: self.messages)
        started.set()

    def allgather(self, value: Any) -> list[Any]:
        """What every process gives, in rank order."""
        with self.lines.meeting():
            try:
                return self._gathered(value)
            except (EOFError, OSError):
                self._await_end()

    def _await_end(self) -> NoReturn:
        """One has ended, which is seen on its line too, and told."""
        time.sleep(2 * END_SECONDS)
        os._exit(DeviceError.exit_code)

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

    def release(self, code: int) -> None:
        """End the others, with this process or before it."""
        for other in self.others:
            other.kill()

    def abort(self, code: int) -> None:
        """End all processes: this one cannot go on."""
        self.release(code)
        for pid in self.pids.values() if self.rank else ():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        leave(code)

    def close(self) -> None:
        """Leave: nothing is asked of the others any more."""
        self.allgather(None)
        self.lines.close()
        for other in self.others:
            other.wait()

    def _start(self) -> dict[int, Connection]:
        key = secrets.token_bytes(16)
        with Listener(("127.0.0.1", 0), backlog=2 * self.size, authkey=key) as listener:
            variables = {SIZE: str(self.size), PORT: str(listener.address[1]), KEY: key.hex()}
            for rank in range(1, self.size):
                self.others.append(
                    subprocess.Popen(
                        [sys.executable, *sys.orig_argv[1:]],
                        env={**os.environ, **variables, RANK: str(rank)},
                    )
                )
            return self._hear(listener)

    def _hear(self, listener: Listener) -> dict[int, Connection]:
        """Wait for both connections of every other process; its line by rank."""
        came: dict[tuple[int, str], Connection] = {}
        while len(came) < 2 * (self.size - 1):
            connection = listener.accept()
            came[connection.recv()] = connection
        self.talks = [came[rank, "talk"] for rank in range(1, self.size)]
        return {rank: came[rank, "line"] for rank in range(1, self.size)}

    def _living(self) -> dict[int, int]:
        """Those that this process started and that have not ended, or the one that started it."""
        if self.rank:
            return {0: os.getppid()}
        return {rank: o.pid for rank, o in enumerate(self.others, 1) if o.poll() is None}

    def _join(self) -> dict[int, Connection]:
        address = ("127.0.0.1", int(os.environ[PORT]))
        made = []
        for name in ("talk", "line"):
            made.append(Client(address, authkey=bytes.fromhex(os.environ[KEY])))
            made[-1].send((self.rank, name))
        self.talks = made[:1]
        return {0: made[1]}

    def _how(self, rank: int) -> str:
        """The exit code or signal of a process that ended, where this one started it."""
        if self.rank:
            return ""
        try:
            # A connection ends before the process that held it does.
            code = self.others[rank - 1].wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return ""
        return f" (signal {-code})" if code < 0 else f" (exit code {code})"
