"""Memory over a step, for a page: what has which bytes of a device, from when to when.

names    of storages
classes  by class of equal devices: bytes (of the arena), and rows
         [name, layer, kind, offset, bytes, start, end]
         name, layer, kind   numbers; layer is -1 for what is no layer's
         start, end          nanoseconds: first written, and last used; state, inputs and
                             results are there all the time that somebody may want them
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netc.export.describe import Description
from netc.ir.clock import Timeline
from netc.ir.plan import Plan
from netc.ir.program import Buffer, Program, accesses, in_place_pairs
from netc.trace.spans import nanoseconds

KINDS = ("persistent", "input", "temporary", "output")
"""State that lives from step to step; what the runtime writes before a step; what lives inside a
step; what the runtime reads after it."""


def storage_rows(
    plan: Plan, program: Program, line: Timeline, description: Description
) -> dict[str, Any]:
    """The memory of a program of `plan`, planned; keys and rows are told above."""
    names: dict[str, int] = {}
    layers = {each.name: number for number, each in enumerate(description.layers)}

    def row(life: _Life) -> list[int]:
        found = plan.graph.index.get(life.storage)
        layer = layers.get(found.layer, -1) if found is not None else -1
        name = names.setdefault(life.storage, len(names))
        times = nanoseconds(life.start), nanoseconds(life.end)
        return [name, layer, KINDS.index(life.kind), life.offset, life.nbytes, *times]

    classes = [
        {"bytes": nbytes, "rows": [row(life) for life in _lives(program, line, class_)]}
        for class_, nbytes in enumerate(program.arena_bytes)
    ]
    return {"names": list(names), "classes": classes}


@dataclass(slots=True)
class _Life:
    """A storage on the devices of a class."""

    storage: str
    kind: str
    offset: int
    nbytes: int
    start: float
    end: float


def _lives(program: Program, line: Timeline, class_: int) -> Iterator[_Life]:
    """The storages of a class, in order of their buffers."""
    lives: dict[str, _Life] = {}
    for buffer in program.buffers_of[class_]:
        assert buffer.offset >= 0, "memory is planned"
        life = lives.setdefault(buffer.storage, _life(buffer, line.seconds))
        life.nbytes = max(life.nbytes, buffer.nbytes)
    for number in program.numbers[class_]:
        _use(program, line, number, class_, lives)
    for view in (view for port in program.outputs for view in port.views):
        own = program.buffer[view.buffer]
        if own.class_ == class_ and own.kind == "temporary":
            lives[own.storage].kind, lives[own.storage].end = "output", line.seconds
    yield from (life for life in lives.values() if life.start <= life.end)


def _life(buffer: Buffer, seconds: float) -> _Life:
    """Before anything is known of when it is used: a temporary one never."""
    always = buffer.kind != "temporary"
    start, end = (0.0, seconds) if always else (seconds, 0.0)
    return _Life(buffer.storage, buffer.kind, buffer.offset, buffer.nbytes, start, end)


def _use(
    program: Program, line: Timeline, number: int, class_: int, lives: dict[str, _Life]
) -> None:
    """An instruction lengthens the lives of all that it reads and writes, but for those whose bytes
    its result takes over.
    """
    place, instruction = (number, class_), program.instructions[number]
    for view in (view for views in accesses(instruction, class_) for view in views):
        life = lives[program.buffer[view.buffer].storage]
        life.start = min(life.start, line.starts[place])
        life.end = max(life.end, line.ends[place])
    for old, new in in_place_pairs(program, instruction, class_):
        if old.storage != new.storage and old.offset == new.offset and old.kind == "temporary":
            lives[old.storage].end = line.starts[place]
