"""assign-kernels: every launch gets the kernels that the target's table has for its blocks, and the
seconds that such a launch takes on the machine, where any like it was measured.
"""

from __future__ import annotations

from dataclasses import replace

from netc.cost import Cluster, LaunchTable, launch_text, like_measured
from netc.ir.calls import calls_of, variants_of, with_kernels
from netc.ir.program import Buffer, Instruction, Launch, Program, View
from netc.ir.types import ITEM_BYTES
from netc.passes.assign_formats import Target
from netc.work import launch_bytes, launch_flops

_NOTHING = LaunchTable()


def assign_kernels(program: Program, target: Target, cluster: Cluster, setting: str) -> Program:
    """The program with a kernel for every step that the target has one for, and their workspaces.

    It has no waits yet. Classes are asked for one by one: the workspace of a small block may be
    larger than that of a large one. `setting` names the measurements of the machine.
    """
    table = cluster.launches.get(setting, _NOTHING)
    buffers = list(program.buffers)
    instructions: list[Instruction] = []
    for instruction in program.instructions:
        if isinstance(instruction, Launch):
            calls = calls_of(program, instruction)
            choice = target.choose(calls)
            if choice is not None:
                instruction = with_kernels(instruction, choice)
            if table.launches:
                text = launch_text(calls, variants_of(instruction))
                if text in table.launches or not (choice and choice.seconds):
                    instruction = _priced(program, instruction, text, table, cluster)
            if choice is not None and choice.workspace_bytes:
                buffer, view = _workspace(instruction, calls[0].dtype, choice.workspace_bytes)
                buffers.append(buffer)
                instruction = replace(instruction, writes=(*instruction.writes, view))
        instructions.append(instruction)
    return replace(program, buffers=tuple(buffers), instructions=tuple(instructions))


def _priced(
    program: Program, launch: Launch, text: str, table: LaunchTable, cluster: Cluster
) -> Launch:
    """The launch with the seconds of those like it."""
    flops, moved = launch_flops(launch), launch_bytes(program, launch)
    seconds = like_measured(cluster, table, text, flops, moved)
    return launch if seconds is None else replace(launch, seconds=seconds)


def _workspace(launch: Launch, dtype: str, nbytes: int) -> tuple[Buffer, View]:
    """Memory that the launch writes and nobody reads, of the type that its kernels are for."""
    name, elements = f"{launch.node}.workspace@{launch.class_}", -(-nbytes // ITEM_BYTES[dtype])
    size, storage = elements * ITEM_BYTES[dtype], f"{launch.node}.workspace"
    buffer = Buffer(name, launch.class_, size, dtype, storage, "temporary")
    return buffer, View(name, 0, (elements,), (0,))
