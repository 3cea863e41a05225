"""Processes of one machine that `netc run` starts itself, one a GPU.

The first process starts the others by its own command and hears them over two local connections
each: one to agree, one that only ends. Where a process dies, the others stop: the first one sees it
end, and the others see their connection close.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from netc.errors import DeviceError, Diagnostic, render
from netc_runtime.comm.ranks import Ranks

RANK, SIZE, PORT, KEY = "NETC_RANK", "NETC_RANKS", "NETC_PORT", "NETC_KEY"
"""What the first process tells the others, by environment variables."""
POLL_SECONDS = 0.2
END_SECONDS = 3.0
"""How long a process may take to end after it closed its connections."""


class LocalRanks(Ranks):
    """The processes of this machine, and this one's place among them."""

    def __init__(self, size: int) -> None:
        """Start the others, by this process's own command, or join the one that started this.

        Raises DeviceError where a process ends before it came.
        """
        self.rank, self.size = int(os.environ.get(RANK, "0")), size
        self.others: list[subprocess.Popen[bytes]] = []
        self.talks: list[Connection] = []
        self.lines: list[Connection] = []
        self.over = False
        if self.rank:
            self._join()
        else:
            self._start()
        threading.Thread(target=self._watch, name="netc-watch", daemon=True).start()

    def allgather(self, value: Any) -> list[Any]:
        """What every process gives, in rank order."""
        try:
            return self._gathered(value)
        except (EOFError, OSError):
            # A connection ends before the process that held it does.
            for _ in range(int(END_SECONDS / POLL_SECONDS)):
                if self.rank:
                    break
                if (dead := self._dead()) is not None:
                    self._give_up(*dead)
                time.sleep(POLL_SECONDS)
            os._exit(DeviceError.exit_code)

    def _gathered(self, value: Any) -> list[Any]:
        if self.rank:
            self.talks[0].send(value)
            found: list[Any] = self.talks[0].recv()
            return found
        values = [value, *(talk.recv() for talk in self.talks)]
        for talk in self.talks:
            talk.send(values)
        return values

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
        sys.stdout.flush()
        os._exit(code)

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

    def _watch(self) -> None:
        """End this process when another one has ended out of turn."""
        if self.rank:
            try:
                self.lines[0].recv()
            except (EOFError, OSError):
                if not self.over:
                    os._exit(DeviceError.exit_code)
        while not self.over and not self.rank:
            if (dead := self._dead()) is not None:
                # A process that failed by itself says why before it ends.
                time.sleep(POLL_SECONDS)
                if not self.over:
                    self._give_up(*dead)
            time.sleep(POLL_SECONDS)

    def _dead(self) -> tuple[int, int] | None:
        """Rank and exit code of a process that ended."""
        for rank, other in enumerate(self.others, 1):
            if (code := other.poll()) is not None:
                return rank, code
        return None

    def _give_up(self, rank: int, code: int) -> None:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        message = f"the process of device {rank} ended ({how}); all others are stopped."
        print(render([Diagnostic("E070", message)]), file=sys.stderr, flush=True)
        self.abort(DeviceError.exit_code)


def is_started() -> bool:
    """Whether another process started this one as one of its ranks."""
    return RANK in os.environ
