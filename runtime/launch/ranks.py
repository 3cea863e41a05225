"""The processes of a run: who they are, and how they agree."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import DeviceError, Diagnostic
from netc.ir.program import Bundle, View
from netc.ir.text import bundle_text, parse_bundle
from netc_runtime.watch.lines import Failure, Lines
from netc_runtime.watch.process import say_text, stall_seconds, watch_alone
from netc_runtime.watch.words import HOST_SECONDS, Report, WatchedProgram

Array = NDArray[Any]
SHARED_BYTES = 2**28
"""Of a tensor at a time from one process to the others: MPI counts bytes in 31 bits."""
CLOCK_MEETINGS = 50
"""At which clocks are compared; the closest count."""
TOLD_SECONDS = 3.0
"""How long the first process may take to say why another one fails."""


class Ranks:
    """All processes of a run, one a device, and this one's place among them."""

    rank: int
    size: int
    lines: Lines | None = None
    """What they hear of each other; None where they cannot."""
    host = ""
    """This process's machine, if it is to be named."""

    def allgather(self, value: Any) -> list[Any]:
        """What every process gives, in rank order."""
        raise NotImplementedError

    def abort(self, code: int) -> None:
        """End all processes: this one cannot go on."""
        raise NotImplementedError

    def release(self, code: int) -> None:
        """End the others, with this process or before it."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave: nothing is asked of the others any more."""

    def fail(self, text: str, code: int) -> None:
        """End all, as this process cannot go on. One speaks, most often the first one: there this
        returns, for it to say the same and to end by itself.
        """
        if not self.rank:
            if self.lines is not None:
                self.lines.hush()
            self.release(code)
            return
        where = f"rank {self.rank}" + (f" on {self.host}" if self.host else "")
        said = f"{where}: {text}" if text else ""
        if self.lines is not None:
            self.lines.failure = Failure(said, code)
        time.sleep(TOLD_SECONDS)
        say_text(said)
        self.abort(code)

    def watch(self, look: Callable[[], Report], programs: Sequence[WatchedProgram]) -> None:
        """Let it be looked at what this process is at, by a method, and end all processes where
        nothing moves. `programs` may become more.
        """
        if self.lines is not None:
            self.lines.look, self.lines.programs = look, programs
        else:
            seconds = max(stall_seconds(), HOST_SECONDS)
            watch_alone(self.rank, look, programs, self.abort, seconds)

    def clocks_ahead(self) -> list[tuple[int, int]]:
        """By rank how many nanoseconds its `time.perf_counter_ns` is ahead of the first one's, at
        least and at most. Processes of one machine have one clock where it says so.

        Nobody leaves a meeting before all have come. So each came, by any clock, before any other
        left, which bounds what is between their clocks from both sides.
        """
        mine = []
        for _ in range(CLOCK_MEETINGS):
            came = time.perf_counter_ns()
            self.allgather(None)
            mine.append((came, time.perf_counter_ns()))
        every = self.allgather((_clock_name(), mine))
        (name, first), *others = every
        ahead = ((0, 0) if name and own == name else _ahead(first, each) for own, each in others)
        return [(0, 0), *ahead]

    def any(self, flag: bool) -> bool:
        """True on all ranks if it is on one."""
        return any(self.allgather(flag))

    def share(self, value: Any) -> Any:
        """What the first process gives, for all."""
        return self.allgather(None if self.rank else value)[0]

    def share_tensors(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The first process's tensors, for all: only its disk is asked for them."""
        sizes = self.share({name: (each.shape, each.dtype) for name, each in tensors.items()})
        return {name: self._share_tensor(tensors.get(name), *size) for name, size in sizes.items()}

    def _share_tensor(
        self, tensor: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> Array:
        whole = np.empty(shape, dtype) if tensor is None or self.rank else tensor
        if self.size == 1:
            return whole
        flat = np.ascontiguousarray(whole).reshape(-1)
        step = SHARED_BYTES // dtype.itemsize
        for start in range(0, flat.size, step):
            part = slice(start, start + step)
            flat[part] = self.share(flat[part])
        return flat.reshape(shape)

    def compare(self, values: Mapping[str, object]) -> None:
        """Raise DeviceError unless all processes give the same values; it names who differs."""
        all_values = self.allgather(dict(values))
        problems = [
            f"rank {rank} has another {name} than rank 0: {other.get(name)}, not {first}."
            for rank, other in enumerate(all_values)
            for name, first in all_values[0].items()
            if other.get(name) != first
        ]
        if problems:
            hint = "give every rank the same options and the same data."
            raise DeviceError(*(Diagnostic("E074", each, help=hint) for each in problems))

    def blocks(self, mine: list[tuple[View, Array]]) -> list[tuple[View, Array]]:
        """The blocks of all ranks, in rank order."""
        return [block for each in self.allgather(mine) for block in each]

    @property
    def local(self) -> int:
        """The number of this process among those of its machine."""
        return self.rank

    def agree(self, bundle: Bundle) -> Bundle:
        """The first process's program, for all: kernels measured elsewhere may be named otherwise.

        Raises DeviceError where ranks and devices differ in number, or what was compiled does.
        """
        devices = bundle.train.mesh.size
        if self.size != devices:
            message = f"{self.size} ranks were started for {devices} devices."
            hint = "'mpiexec -n' and '--devices' must agree."
            raise DeviceError(Diagnostic("E074", message, help=hint))
        bundles = self.allgather((_digest(bundle), "" if self.rank else bundle_text(bundle)))
        if len({digest for digest, _ in bundles}) > 1:
            message = "the ranks have different programs."
            hint = "give every rank the same network, options and version of netc."
            raise DeviceError(Diagnostic("E074", message, help=hint))
        return parse_bundle(bundles[0][1]) if self.rank else bundle


class Alone(Ranks):
    """A run of one process."""

    rank, size = 0, 1

    def allgather(self, value: Any) -> list[Any]:
        """What this process gives."""
        return [value]


def _clock_name() -> tuple[str, ...]:
    """What processes share whose `time.perf_counter_ns` is one clock; empty where nothing says so:
    on Linux it is that of the running system, moved for those of a name space of time.
    """
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        how = time.get_clock_info("perf_counter").implementation
        return boot, how, os.readlink("/proc/self/ns/time")
    return ()


def _ahead(first: list[tuple[int, int]], other: list[tuple[int, int]]) -> tuple[int, int]:
    """How far a clock is ahead of the first one's, at least and at most: both at meetings, when
    they came and when they left.
    """
    least = max(came - left for (_, left), (came, _) in zip(first, other, strict=True))
    most = min(left - came for (came, _), (_, left) in zip(first, other, strict=True))
    return least, most


def _digest(bundle: Bundle) -> str:
    """Of what is computed and where, whatever kernels do it."""
    train = bundle.train
    order = [(i.node, i.classes, i.stream, i.waits) for i in train.instructions]
    # Machines of one run may have other kernels and numbers of threads.
    facts = replace(bundle.facts, threads=0, blas_threads=0, kernels="")
    said = repr((facts, train.mesh, train.classes, train.inputs, train.state, order))
    return hashlib.sha256(said.encode()).hexdigest()
