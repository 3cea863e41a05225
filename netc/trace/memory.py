"""Memory over a step: what has which bytes of a device, from when to when, in nanoseconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from netc.ir.program import Buffer, Program, accesses, in_place_pairs

Times = Mapping[int, tuple[int, int]]
"""By instruction of a device, by its number in the program, when it begins and ends."""


@dataclass(slots=True)
class StorageLife:
    """Buffers that share their bytes, on the devices of a class."""

    storage: str
    kind: str
    """Of its buffers: persistent, input, temporary; or output, which the runtime reads later."""
    offset: int
    """First byte in the device's arena."""
    nbytes: int
    start: int
    """First written; what is not temporary is there from the start of the step."""
    end: int
    """Last used; state, inputs and results are there until the end."""


def storage_lives(
    program: Program, class_: int, times: Times, begun: int, ended: int
) -> list[StorageLife]:
    """The storages of a class that are used in a step from `begun` to `ended`, in order of their
    buffers. The program's memory is planned.
    """
    lives: dict[str, StorageLife] = {}
    for buffer in program.buffers_of[class_]:
        assert buffer.offset >= 0, "memory is planned"
        life = lives.setdefault(buffer.storage, _life(buffer, begun, ended))
        life.nbytes = max(life.nbytes, buffer.nbytes)
    for number in program.numbers[class_]:
        _use(program, number, class_, times[number], lives)
    for view in (view for port in program.outputs for view in port.views):
        own = program.buffer[view.buffer]
        if own.class_ == class_ and own.kind == "temporary":
            lives[own.storage].kind, lives[own.storage].end = "output", ended
    return [life for life in lives.values() if life.start <= life.end]


def _life(buffer: Buffer, begun: int, ended: int) -> StorageLife:
    """Before anything is known of when it is used: a temporary one never."""
    always = buffer.kind != "temporary"
    start, end = (begun, ended) if always else (ended, begun)
    return StorageLife(buffer.storage, buffer.kind, buffer.offset, buffer.nbytes, start, end)


def _use(
    program: Program, number: int, class_: int, span: tuple[int, int], lives: dict[str, StorageLife]
) -> None:
    """An instruction lengthens the lives of all that it reads and writes, but for those whose bytes
    its result takes over.
    """
    instruction = program.instructions[number]
    for view in (view for views in accesses(instruction, class_) for view in views):
        life = lives[program.buffer[view.buffer].storage]
        life.start, life.end = min(life.start, span[0]), max(life.end, span[1])
    for old, new in in_place_pairs(program, instruction, class_):
        if old.storage != new.storage and old.offset == new.offset and old.kind == "temporary":
            lives[old.storage].end = span[0]


def levels(lives: Iterable[StorageLife]) -> list[tuple[int, int]]:
    """The moments at which the bytes in use change, with the bytes from then on. What stays from
    step to step does so after the last moment, too.
    """
    changes: dict[int, int] = defaultdict(int)
    for life in lives:
        changes[life.start] += life.nbytes
        if life.kind != "persistent":
            changes[life.end] -= life.nbytes
    moments = sorted(moment for moment, change in changes.items() if change)
    return [*zip(moments, accumulate(changes[moment] for moment in moments), strict=True)]
