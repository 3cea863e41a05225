"""Whether the kernels that a bundle names are those that its target has for such blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Protocol

from netc.ir.kernels import JOINED, Call
from netc.ir.launches import POOLED, UPDATES, plain_name, results_of
from netc.ir.program import Bundle, Launch, Program
from netc.ir.types import ITEM_BYTES
from netc_kernels import cpu
from netc_runtime.cpu.kernels import CpuKernels


class Table(Protocol):
    """Kernels of a target."""

    def has(self, calls: Sequence[Call], variant: str, joined: int) -> bool:
        """Whether a kernel of that name does the first call, and so many after it as well."""
        ...

    def workspace_bytes(self, call: Call, variant: str) -> int:
        """Scratch memory of a call's kernel."""
        ...


def problem_of(bundle: Bundle) -> str:
    """What is wrong with the kernels of a sound bundle, or with their workspaces; empty if nothing.

    Where no fast kernel can run the reference's run, of which there is one for every operation.
    """
    table = _table(bundle)
    if table is None:
        return ""
    for program in (bundle.init, bundle.train, bundle.eval):
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
    calls = _calls(program, launch)
    names = [operation.kernel for operation in launch.operations]
    needed, groups = 0, list(_groups(names))
    for start, variant, joined in groups:
        if variant == JOINED or not table.has(calls[start:], variant, joined):
            return f"there is no kernel {names[start]} for these blocks, with {joined} steps more"
        needed = max(needed, table.workspace_bytes(calls[start], variant))
    pooled = plain_name(launch.kernel) in POOLED and len(groups) > 1
    if pooled and any("." in name for name in names):
        return "what convolves does not pool as well"
    if plain_name(launch.kernel) in UPDATES and not groups[0][1]:
        return f"there is no kernel {launch.kernel}"
    held = _workspace(program, launch)
    return "" if held >= needed else f"its workspace has {held} bytes, not {needed}"


def _calls(program: Program, launch: Launch) -> list[Call]:
    dtype = program.buffer[launch.writes[0].buffer].dtype
    return [
        Call(
            plain_name(each.kernel), dtype, tuple(sorted(each.told.items())), each.args,
            each.operands, each.result,
        )
        for each in launch.operations
    ]  # fmt: skip


def _groups(names: Sequence[str]) -> Iterator[tuple[int, str, int]]:
    """Every kernel that does something of its own: its place, its variant, and how many steps
    after it it does as well.
    """
    joined = [name.endswith("." + JOINED) for name in names]
    for start, name in enumerate(names):
        if not joined[start] or not start:
            end = start + 1
            while end < len(names) and joined[end]:
                end += 1
            yield start, name.partition(".")[2], end - start - 1


def _workspace(program: Program, launch: Launch) -> int:
    """Bytes of what a launch writes last, if that is no result."""
    results = results_of(plain_name(launch.kernel))
    return sum(
        prod(view.shape) * ITEM_BYTES[program.buffer[view.buffer].dtype]
        for view in launch.writes[results:]
    )
