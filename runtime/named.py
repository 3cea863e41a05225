"""Whether the kernels that a bundle names are those that its target has for such blocks."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Protocol

from netc.ir.calls import calls_of
from netc.ir.joined import own_of, results_of
from netc.ir.kernels import KernelCall
from netc.ir.program import Bundle, Launch, Program
from netc.ir.step import kernels_of
from netc.ir.types import ITEM_BYTES
from netc_kernels import cpu
from netc_runtime.cpu.kernels import CpuKernels


class Table(Protocol):
    """Kernels of a target."""

    parts_run: bool
    """Whether the parts of joined launches run one by one where no kernel is named."""

    def has(self, calls: Sequence[KernelCall], variant: str, absorbed: int) -> bool:
        """Whether a kernel of that name does the first call, and so many after it as well."""
        ...

    def workspace_bytes(self, call: KernelCall, variant: str) -> int:
        """Scratch memory of a call's kernel."""
        ...


def problem_of(bundle: Bundle) -> str:
    """What is wrong with the kernels of a sound bundle, or with their workspaces; empty if nothing.

    Where no fast kernel can run the reference's run, of which there is one for every operation.
    """
    table = _table(bundle)
    if table is None:
        return ""
    for program in bundle.programs:
        for number, launch in enumerate(program.instructions):
            problem = _problem(table, program, launch) if isinstance(launch, Launch) else ""
            if problem:
                return f"instruction {number} of {program.name} ({launch.node}): {problem}"
    return ""


def _table(bundle: Bundle) -> Table | None:
    if bundle.facts.target == "cpu":
        return None if cpu.available() else CpuKernels(max(1, bundle.facts.threads))
    # Imported here: programs for the CPU need none of it.
    from netc_runtime.cuda.kernels import CudaKernels

    return CudaKernels(bundle.facts.precision)


def _problem(table: Table, program: Program, launch: Launch) -> str:
    calls, groups = calls_of(program, launch), kernels_of(launch.steps)
    own = own_of(launch) is not None
    if launch.joined and len(groups) > 1:
        named = any(step.variant or step.absorbed for step in launch.steps)
        return "" if table.parts_run and not named else f"there is no kernel {launch.joined}"
    needed, place = 0, 0
    for group in groups:
        variant, absorbed = group[0].variant, len(group) - 1
        # What has kernels of its own is one call.
        if not table.has(calls[place:], variant, 0 if own and variant else absorbed):
            name = f"{launch.joined}.{variant}" if own else group[0].kernel
            return f"there is no kernel {name} for these blocks, with {absorbed} steps more"
        needed = max(needed, table.workspace_bytes(calls[place], variant))
        place += len(group)
    held = _workspace(program, launch)
    return "" if held >= needed else f"its workspace has {held} bytes, not {needed}"


def _workspace(program: Program, launch: Launch) -> int:
    """Bytes of what a launch writes last, if that is no result."""
    return sum(
        prod(view.shape) * ITEM_BYTES[program.buffer[view.buffer].dtype]
        for view in launch.writes[results_of(launch) :]
    )
