"""assign-kernels: every launch gets the kernels that the target's table has for its blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from netc.ir.kernels import Call, Choice
from netc.ir.program import Buffer, Instruction, Launch, Program, View
from netc.ir.types import ITEM_BYTES
from netc.passes.assign_formats import Target

_PLACE = ("first_filter", "offset", "rows")
"""Attributes that say where a block lies; no choice depends on them."""


def assign_kernels(program: Program, target: Target) -> Program:
    """The program with a kernel for every step that the target has one for, and their workspaces.

    It has no waits yet. Devices are asked for one by one: the workspace of a small block may be
    larger than that of a large one.
    """
    buffers = list(program.buffers)
    instructions: list[Instruction] = []
    for instruction in program.instructions:
        choice = None
        if isinstance(instruction, Launch):
            choice = target.choose(calls_of(program, instruction))
        if isinstance(instruction, Launch) and choice is not None:
            instruction = _named(instruction, choice)
            if choice.workspace_bytes:
                buffer, view = _workspace(program, instruction, choice.workspace_bytes)
                buffers.append(buffer)
                instruction = replace(instruction, writes=(*instruction.writes, view))
        instructions.append(instruction)
    return replace(program, buffers=tuple(buffers), instructions=tuple(instructions))


def calls_of(program: Program, launch: Launch) -> tuple[Call, ...]:
    """What a launch asks of its kernels, step by step."""
    dtype = program.buffer[launch.writes[0].buffer].dtype
    return tuple(
        Call(each.kernel, dtype, _lasting(each.told), each.args, each.operands, each.result)
        for each in launch.operations
    )


def _lasting(told: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    kept = {name: value for name, value in told.items() if name not in _PLACE}
    if told.get("groups", 1) > 1:
        # Which groups the filters of a block belong to decides what is computed.
        kept["first_filter"] = told["first_filter"]
    return tuple(sorted(kept.items()))


def _named(launch: Launch, choice: Choice) -> Launch:
    """The launch with its kernels' variants, such as conv.winograd."""
    told, seconds = dict(launch.attributes), choice.seconds or launch.seconds
    if "steps" not in told:
        return replace(launch, kernel=_name(launch.kernel, *choice.variants), seconds=seconds)
    steps = zip(told["steps"], choice.variants, strict=True)
    told["steps"] = tuple((_name(name, variant), *rest) for (name, *rest), variant in steps)
    return replace(launch, attributes=tuple(sorted(told.items())), seconds=seconds)


def _name(kernel: str, variant: str) -> str:
    return f"{kernel}.{variant}" if variant else kernel


def _workspace(program: Program, launch: Launch, nbytes: int) -> tuple[Buffer, View]:
    """Memory that the launch writes and nobody reads."""
    dtype = program.buffer[launch.writes[0].buffer].dtype
    name, elements = f"{launch.node}.workspace@{launch.device}", -(-nbytes // ITEM_BYTES[dtype])
    size, storage = elements * ITEM_BYTES[dtype], f"{launch.node}.workspace"
    buffer = Buffer(name, launch.device, size, dtype, storage, "temporary")
    return buffer, View(name, 0, (elements,), (0,))
