"""What a step waits for: a chain of instructions on the clock, without a gap, from start to end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from netc.ir.clock import Timeline, meeting_classes
from netc.ir.program import Collective, Program

Place = tuple[int, int]
"""An instruction, by number, on a class of devices."""


def critical_path(program: Program, line: Timeline) -> tuple[Place, ...]:
    """Instructions of which each begins at the moment when the one before ends, up to the last.

    The clock begins an instruction when the last thing ends that it needs, so there is always such
    a chain; of several it is one that stays on a class of devices, of lowest numbers. `line` is the
    program's, overlapped.
    """
    if not line.ends:
        return ()
    needed = _needed(program)
    here = max(line.ends, key=lambda place: (line.ends[place], -place[0], -place[1]))
    path = [here]
    while line.starts[here] > 0.0:
        start, class_ = line.starts[here], here[1]
        ended = (place for place in needed[here] if line.ends[place] == start)
        here = min(ended, key=lambda place: (place[1] != class_, place))
        path.append(here)
    return tuple(reversed(path))


def _needed(program: Program) -> dict[Place, list[Place]]:
    """By instruction and class all that must have ended before."""
    found: dict[Place, list[Place]] = defaultdict(list)
    last: dict[tuple[int, str], int] = {}
    for number, each in enumerate(program.instructions):
        own = {class_: list(_before(program, last, number, class_)) for class_ in each.classes}
        groups = meeting_classes(program, each) if isinstance(each, Collective) else {}
        for class_ in each.classes:
            for other in groups.get(class_, (class_,)):
                found[number, class_] += own[other]
        last.update(dict.fromkeys(((class_, each.stream) for class_ in each.classes), number))
    return found


def _before(
    program: Program, last: dict[tuple[int, str], int], number: int, class_: int
) -> Iterator[Place]:
    """What comes before on its stream, and what it waits for, on one class."""
    each = program.instructions[number]
    if (class_, each.stream) in last:
        yield last[class_, each.stream], class_
    waits = (w for w in each.waits if class_ in program.instructions[w].classes)
    yield from ((wait, class_) for wait in waits)
