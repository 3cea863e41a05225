"""assign-kernels: every launch gets the kernels that the target's table has for its blocks."""

from __future__ import annotations

from dataclasses import replace

from netc.ir.calls import calls_of, with_kernels
from netc.ir.program import Buffer, Instruction, Launch, Program, View
from netc.ir.types import ITEM_BYTES
from netc.passes.assign_formats import Target


def assign_kernels(program: Program, target: Target) -> Program:
    """The program with a kernel for every step that the target has one for, and their workspaces.

    It has no waits yet. Classes are asked for one by one: the workspace of a small block may be
    larger than that of a large one.
    """
    buffers = list(program.buffers)
    instructions: list[Instruction] = []
    for instruction in program.instructions:
        choice = None
        if isinstance(instruction, Launch):
            choice = target.choose(calls_of(program, instruction))
        if isinstance(instruction, Launch) and choice is not None:
            instruction = with_kernels(instruction, choice)
            if choice.workspace_bytes:
                buffer, view = _workspace(program, instruction, choice.workspace_bytes)
                buffers.append(buffer)
                instruction = replace(instruction, writes=(*instruction.writes, view))
        instructions.append(instruction)
    return replace(program, buffers=tuple(buffers), instructions=tuple(instructions))


def _workspace(program: Program, launch: Launch, nbytes: int) -> tuple[Buffer, View]:
    """Memory that the launch writes and nobody reads."""
    dtype = program.buffer[launch.writes[0].buffer].dtype
    name, elements = f"{launch.node}.workspace@{launch.class_}", -(-nbytes // ITEM_BYTES[dtype])
    size, storage = elements * ITEM_BYTES[dtype], f"{launch.node}.workspace"
    buffer = Buffer(name, launch.class_, size, dtype, storage, "temporary")
    return buffer, View(name, 0, (elements,), (0,))
