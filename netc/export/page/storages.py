"""Memory over a step, for a page: what has which bytes of a device, from when to when.

names    of storages
classes  by class of equal devices: bytes (of the arena), and rows
         [name, layer, kind, offset, bytes, start, end]
         name, layer, kind   numbers; layer is -1 for what is no layer's
         start, end          nanoseconds: first written, and last used; state, inputs and
                             results are there all the time that somebody may want them
"""

from __future__ import annotations

from typing import Any

from netc.export.describe import Description
from netc.ir.clock import Timeline
from netc.ir.plan import Plan
from netc.ir.program import Program
from netc.trace.memory import StorageLife, storage_lives
from netc.trace.spans import class_times, nanoseconds

KINDS = ("persistent", "input", "temporary", "output")
"""State that lives from step to step; what the runtime writes before a step; what lives inside a
step; what the runtime reads after it."""


def storage_rows(
    plan: Plan, program: Program, line: Timeline, description: Description
) -> dict[str, Any]:
    """The memory of a program of `plan`, planned; keys and rows are told above."""
    names: dict[str, int] = {}
    layers = {each.name: number for number, each in enumerate(description.layers)}

    def row(life: StorageLife) -> list[int]:
        found = plan.graph.index.get(life.storage)
        layer = layers.get(found.layer, -1) if found is not None else -1
        name = names.setdefault(life.storage, len(names))
        place = life.offset, life.nbytes
        return [name, layer, KINDS.index(life.kind), *place, life.start, life.end]

    spans = (class_times(program, line, class_) for class_ in range(len(program.classes)))
    whole = nanoseconds(line.seconds)
    classes = [
        {"bytes": nbytes, "rows": [*map(row, storage_lives(program, class_, times, 0, whole))]}
        for class_, (nbytes, times) in enumerate(zip(program.arena_bytes, spans, strict=True))
    ]
    return {"names": list(names), "classes": classes}
