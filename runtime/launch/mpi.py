"""MPI ranks: one process a device, where one process or one machine is not enough.

Started by `mpiexec -n N netc run ... --devices N`. What they compute goes by messages too
(`runtime/comm/mpi.py`).
"""

from __future__ import annotations

import atexit
import ctypes
import os
import pickle
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np

from netc.errors import DeviceError, Diagnostic
from netc_runtime.launch.ranks import Ranks
from netc_runtime.watch.lines import Lines, ProcessPlace, await_start
from netc_runtime.watch.pause import Pause
from netc_runtime.watch.process import process_state, stall_seconds

READ_SECONDS, POLL_SECONDS = 5.0, 0.01
"""How long mpiexec may take to read what a process has said, and how often that is looked at."""
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
"""Variables that say how many ranks Open MPI, MPICH and MS-MPI started."""
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Variables that say which of them a process is."""
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl."""
MPICH_MEMORY = "/dev/shm/mpich_"
SMALL_BYTES = 248
"""Of a value that goes with the first message, which says how long values are."""
ABORT_SECONDS, REACH_SECONDS = 2.0, 5.0
"""How long MPI may take to end all processes, and one to reach another at the start."""


def started_ranks() -> int:
    """How many ranks this process was started with; 1 without mpiexec. MPI itself is not loaded."""
    found = (os.environ.get(name, "") for name in _SIZES)
    return next((int(text) for text in found if _is_number(text)), 1)


def started_rank() -> int:
    """Which of them this process is; 0 without mpiexec."""
    return _rank(os.environ) or 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _rank(variables: Mapping[str, str]) -> int | None:
    found = (variables.get(name, "") for name in _RANKS)
    return next((int(text) for text in found if _is_number(text)), None)


class MpiRanks(Ranks):
    """The processes that mpiexec started."""

    def __init__(self) -> None:
        """Raises DeviceError where mpi4py is missing."""
        stall_seconds()
        self.host = socket.gethostname()
        self.messages = 0
        self.pause = Pause()
        self.runs = False
        """Whether MPI does."""
        _end_with_parent()
        started = await_start(started_rank(), siblings, self.abort, _unknown, self.host)
        self._initialize()
        self.rank, self.size = self.world.Get_rank(), self.world.Get_size()
        self.lines = self._connect()
        started.set()

    def _initialize(self) -> None:
        """Start MPI. Its own call would hold the interpreter, and with that the thread that looks
        for others that do not come.
        """
        try:
            import mpi4py

            mpi4py.rc.initialize = mpi4py.rc.finalize = False
            from mpi4py import MPI
        except ImportError:
            message = f"{started_ranks()} ranks were started, but mpi4py is not installed."
            hint = "pip install 'netc[mpi]'."
            raise DeviceError(Diagnostic("E074", message, help=hint)) from None
        self.library = ctypes.CDLL(MPI.__file__)
        level = ctypes.byref(ctypes.c_int())
        if not MPI.Is_initialized():
            self.library.MPI_Init_thread(None, None, MPI.THREAD_MULTIPLE, level)
        self.runs, self.world = True, MPI.COMM_WORLD
        # MPI is not to end a process where another is lost: who watches the processes says who was.
        for communicator in (MPI.COMM_WORLD, MPI.COMM_SELF):
            communicator.Set_errhandler(MPI.ERRORS_RETURN)

        def have_ended(requests: list[Any]) -> bool:
            try:
                return bool(MPI.Request.Testall(requests))
            except MPI.Exception:
                return False

        self.have_ended: Callable[[list[Any]], bool] = have_ended
        """Whether all requests that were posted are over; never, where a process is lost."""

    def _connect(self) -> Lines | None:
        """Connections between the first process and all others; None where a firewall or the like
        is between some.
        """
        seen = _machine()
        processes = self.allgather((os.getpid(), self.host, seen))
        _forget_files()
        home = len({machine for _, _, machine in processes}) == 1
        made: dict[int, Connection] = {}
        address: tuple[str, int, bytes] | None = None
        taking = threading.Thread(daemon=True)
        if not self.rank:
            key = secrets.token_bytes(16)
            listener = Listener(("127.0.0.1" if home else "", 0), backlog=self.size, authkey=key)
            address = ("127.0.0.1" if home else self.host, listener.address[1], key)
            taking = threading.Thread(
                target=_accept, args=(listener, made, self.size - 1), daemon=True
            )
        taking.start()
        address = self.allgather(address)[0]
        assert address is not None
        if self.rank:
            made = _call(self.rank, *address)
        if not all(self.allgather(bool(made or not self.rank))):
            return None
        taking.join()
        places = {
            rank: ProcessPlace(pid, host, machine == seen)
            for rank, (pid, host, machine) in enumerate(processes)
        }
        return Lines(self.rank, made, places, self.abort, _unknown, lambda: self.messages, True)

    @property
    def local(self) -> int:
        """The number of this process among those of its machine."""
        from mpi4py import MPI

        return int(self.world.Split_type(MPI.COMM_TYPE_SHARED).Get_rank())

    def allgather(self, value: Any) -> list[Any]:
        """What every process gives, in rank order."""
        with nullcontext() if self.lines is None else self.lines.meeting():
            return self._gathered(pickle.dumps(value))

    def _gathered(self, data: bytes) -> list[Any]:
        """What is small goes in one message, with its size."""
        size = np.array([len(data)]).tobytes()
        mine = np.frombuffer((size + data[:SMALL_BYTES]).ljust(len(size) + SMALL_BYTES), np.uint8)
        heads = np.empty((self.size, mine.size), np.uint8)
        self._await(self.world.Iallgather(mine, heads))
        sizes = [int(np.frombuffer(head.tobytes(), np.int64, 1)[0]) for head in heads]
        if max(sizes) <= SMALL_BYTES:
            start = len(size)
            return [
                pickle.loads(head[start : start + n].tobytes())
                for head, n in zip(heads, sizes, strict=True)
            ]
        found = np.empty(sum(sizes), np.uint8)
        self._await(self.world.Iallgatherv(np.frombuffer(data, np.uint8), (found, sizes)))
        ends = np.cumsum(sizes)
        return [pickle.loads(found[e - n : e].tobytes()) for e, n in zip(ends, sizes, strict=True)]

    def _await(self, request: Any) -> None:
        """MPI itself would keep the processor busy, and hear no signal."""
        while not request.Test():
            self.pause.sleep()
        self.pause.end()
        self.messages += 1

    def release(self, code: int) -> None:
        """End the others, with this process or before it."""
        atexit.register(self.abort, code)

    def abort(self, code: int) -> None:
        """End all processes: this one cannot go on."""
        _flush()
        _forget_files()
        runs, self.runs = self.runs, False
        if runs:
            # What MPI says itself was said already.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            # What another thread waits for in MPI may hold that up.
            threading.Thread(target=self.world.Abort, args=(code,), daemon=True).start()
        else:
            ask_mpiexec(code)
        time.sleep(ABORT_SECONDS)
        for pid in siblings().values():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        os._exit(code)

    def close(self) -> None:
        """Leave: nothing is asked of the others any more."""
        _flush()
        self.allgather(None)
        self.runs = False
        with nullcontext() if self.lines is None else self.lines.meeting():
            self.library.MPI_Finalize()
        if self.lines is not None:
            self.lines.close()


def siblings() -> dict[int, int]:
    """The processes that the same mpiexec started on this machine and that live, by rank, without
    this one; none where the system does not say.
    """
    found: dict[int, int] = {}
    parent = os.getppid()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            state, above = process_state(int(folder.name))
            if above == parent and state != "Z" and int(folder.name) != os.getpid():
                environment = (folder / "environ").read_bytes().split(b"\0")
                known = dict(
                    each.decode(errors="replace").split("=", 1) for each in environment if each
                )
                if (rank := _rank(known)) is not None:
                    found[rank] = int(folder.name)
    return found


def _end_with_parent() -> None:
    """Let the system end this process with the one that started it, where it is Linux."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def ask_mpiexec(code: int) -> None:
    """Have MPICH's mpiexec end all, by the protocol of its processes (PMI 1), where MPI itself
    cannot: it has not begun yet, or is ending.
    """
    _flush()
    if (number := os.environ.get("PMI_FD", "")).isdecimal():
        with suppress(OSError):
            os.write(int(number), f"cmd=abort exitcode={code}\n".encode())


def _machine() -> tuple[str, str]:
    """What those processes share that see each other in /proc."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return boot, os.readlink("/proc/self/ns/pid")
    return socket.gethostname(), str(os.getpid())


def _unknown(rank: int) -> str:
    """How a process ended is known to mpiexec alone."""
    return ""


def _accept(listener: Listener, made: dict[int, Connection], others: int) -> None:
    """Take the connections that all others open."""
    while len(made) < others:
        # Some only look whether they get here.
        with suppress(OSError, EOFError, AuthenticationError):
            line = listener.accept()
            made[line.recv()] = line


def _call(rank: int, host: str, port: int, key: bytes) -> dict[int, Connection]:
    """The connection to the first process; none where that is not reached."""
    with suppress(OSError, EOFError, AuthenticationError):
        socket.create_connection((host, port), timeout=REACH_SECONDS).close()
        line = Client((host, port), authkey=key)
        line.send(rank)
        return {0: line}
    return {}


def _forget_files() -> None:
    """Remove the names of MPICH's shared memory, which nobody asks for once all have come: a
    process that is killed leaves it behind.
    """
    with suppress(OSError):
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
        for path in {line.split()[-1] for line in mapped.splitlines()}:
            if path.startswith(MPICH_MEMORY):
                with suppress(OSError):
                    os.unlink(path)


def _flush() -> None:
    """Have everything read that was said."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    for output in (1, 2):
        wait_until_read(output)


def wait_until_read(output: int) -> None:
    """Wait until the other side of an output, where that is a pipe, has taken all of it.

    MPICH's mpiexec hears of an abort before it reads what was printed earlier, and then ends: on a
    busy machine that was lost.
    """
    end = time.monotonic() + READ_SECONDS
    while _is_unread(output) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)


def _is_unread(output: int) -> bool:
    """Whether a pipe holds something; False where the system does not say."""
    with suppress(ImportError, OSError):
        from fcntl import ioctl  # Windows has none
        from termios import FIONREAD

        return any(ioctl(output, FIONREAD, bytes(4)))
    return False
