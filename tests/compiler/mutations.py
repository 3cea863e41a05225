"""Small changes to programs and plans, most of them wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from netc.ir.plan import Plan
from netc.ir.program import Collective, Instruction, Launch, Program, View
from netc.ir.step import Attributes, Step
from netc.ir.types import Affine, Index, Placements


def waits(program: Program) -> Iterator[tuple[int, int]]:
    """Every wait as (instruction, the one waited for)."""
    for number, instruction in enumerate(program.instructions):
        for wait in instruction.waits:
            yield number, wait


def with_instruction(program: Program, number: int, new: Instruction) -> Program:
    changed = (*program.instructions[:number], new, *program.instructions[number + 1 :])
    return replace(program, instructions=changed)


def without_wait(program: Program, number: int, wait: int) -> Program:
    old = program.instructions[number]
    kept = tuple(w for w in old.waits if w != wait)
    return with_instruction(program, number, replace(old, waits=kept))


def shared_classes(program: Program, one: int, other: int) -> set[int]:
    first, second = program.instructions[one], program.instructions[other]
    return set(first.classes) & set(second.classes)


def reordered(program: Program, order: list[int]) -> Program:
    """The instructions of these numbers in this order; waits follow those they name."""
    place = {old: new for new, old in enumerate(order)}
    moved = []
    for old in order:
        instruction = program.instructions[old]
        named = tuple(sorted(place[w] for w in instruction.waits if w in place))
        moved.append(replace(instruction, waits=named))
    return replace(program, instructions=tuple(moved))


def without_instruction(program: Program, number: int) -> Program:
    return reordered(program, [n for n in range(len(program.instructions)) if n != number])


def swapped(program: Program, one: int, other: int) -> Program:
    order = list(range(len(program.instructions)))
    order[one], order[other] = other, one
    return reordered(program, order)


def moved_onto(program: Program, name: str, other: str) -> Program:
    """A buffer, with all that share its storage, put at the first byte of another."""
    one, target = program.buffer[name], program.buffer[other]
    buffers = (
        replace(b, offset=target.offset)
        if (b.class_, b.storage) == (one.class_, one.storage)
        else b
        for b in program.buffers
    )
    return replace(program, buffers=tuple(buffers))


def read_together(program: Program) -> Iterator[tuple[str, str]]:
    """Pairs of buffers that one launch reads, so that both are in use."""
    for instruction in program.instructions:
        if isinstance(instruction, Launch):
            names = [v.buffer for v in instruction.reads if 0 not in v.shape]
            for one, other in pairwise(names):
                if program.buffer[one].storage != program.buffer[other].storage:
                    yield one, other


def wrong_collectives(collective: Collective, devices: int) -> Iterator[Collective]:
    """Another root, kind or reduction; a part that gives or gets something else."""
    for kind in ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "reduce"):
        if kind != collective.kind:
            yield replace(collective, kind=kind)
    for root in range(-1, devices):
        if root != collective.root:
            yield replace(collective, root=root)
    for op in ("", "sum", "max", "min"):
        if (op == "") != (collective.op == ""):
            yield replace(collective, op=op)
    part, *others = collective.parts
    yield replace(collective, parts=(replace(part, sources=part.sources[::-1]), *others))
    yield replace(collective, parts=(replace(part, targets=part.targets[::-1]), *others))


def other_blocks(program: Program) -> Iterator[Program]:
    """Each program has one block of one launch that is elsewhere, larger, smaller or stored
    otherwise.
    """
    for number, launch in enumerate(program.instructions):
        if not isinstance(launch, Launch):
            continue
        for name in ("reads", "writes"):
            views = getattr(launch, name)
            for position, view in enumerate(views):
                for other in _other_views(view):
                    changed: dict[str, Any] = {
                        name: (*views[:position], other, *views[position + 1 :])
                    }
                    yield with_instruction(program, number, replace(launch, **changed))


def _other_views(view: View) -> Iterator[View]:
    yield replace(view, start=view.start + 1)
    if len(view.shape) == 4:
        yield replace(view, format="" if view.format else "nhwc")
    for i, (first, extent) in enumerate(zip(view.where, view.shape, strict=True)):
        before, after = view.where[:i], view.where[i + 1 :]
        for other in _other_indices(first):
            yield replace(view, where=(*before, other, *after))
        yield replace(view, shape=(*view.shape[:i], extent + 1, *view.shape[i + 1 :]))
        if extent:
            yield replace(view, shape=(*view.shape[:i], extent - 1, *view.shape[i + 1 :]))


def _other_indices(index: Index) -> Iterator[Index]:
    if isinstance(index, int):
        yield index + 1
        return
    yield replace(index, base=index.base + 1)
    for axis, step in enumerate(index.steps):
        if step:
            steps = (*index.steps[:axis], step + 1, *index.steps[axis + 1 :])
            yield replace(index, steps=steps)


def other_attributes(program: Program) -> Iterator[Program]:
    """Each program has one step that is told, or makes, another number than its blocks say."""
    for number, launch in enumerate(program.instructions):
        if isinstance(launch, Launch):
            for place, step in enumerate(launch.steps):
                for other in _other_steps(step):
                    steps = (*launch.steps[:place], other, *launch.steps[place + 1 :])
                    yield with_instruction(program, number, replace(launch, steps=steps))


def _other_steps(step: Step) -> Iterator[Step]:
    for shape in _changed(step.result):
        yield replace(step, result=shape)
    for name, value in step.attributes.items():
        for new in _changed(value, name) if name in GEOMETRY else ():
            told = Attributes.of({**step.attributes, name: new})
            yield replace(step, attributes=told)


def _changed(value: Any, name: str = "") -> Iterator[Any]:
    """A value with one whole number changed."""
    if isinstance(value, tuple):
        for i, inner in enumerate(value):
            if name == "rows" and i == 0 and type(inner) is int:
                continue
            for new in _changed(inner, name):
                yield (*value[:i], new, *value[i + 1 :])
    elif isinstance(value, Affine):
        yield from _other_indices(value)
    elif type(value) is int:
        yield from (value + 1, value - 1)


GEOMETRY = (
    "filters", "first_filter", "first_class", "groups", "inside", "offset", "pad", "rows", "whole",
)  # fmt: skip
"""Attributes of which the blocks leave no choice, but for where the rows of a round begin in the
batch: that is written there alone.
"""


def with_placement(plan: Plan, index: int, placements: Placements) -> Plan:
    changed = (*plan.placements[:index], placements, *plan.placements[index + 1 :])
    return replace(plan, placements=changed)
