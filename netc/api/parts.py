"""Measured launches of a program, by layer and pass, beside what the machine reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netc.api.kernels import kernels_text
from netc.cost import launch_text
from netc.ir.calls import calls_of, variants_of
from netc.ir.program import Launch, Program
from netc.work import launch_bytes, launch_flops
from netc_runtime.backend import Ceilings

FEW_LAUNCHES = 2.0
"""What takes no longer than so many empty launches for each of its own is bound by launches."""


@dataclass(frozen=True, slots=True)
class StepPart:
    """What belongs together: a launch, a layer in one pass, or a pass."""

    layer: str
    phase: str
    """forward, backward or update."""
    kernels: str
    """Of a single launch."""
    call: str
    """A single launch as tables of measurements name it."""
    launches: int
    seconds: float
    flops: int
    moved_bytes: int
    """Read and written, every block once."""
    flops_per_second: float
    bytes_per_second: float
    bound: str
    """compute, memory or launch."""
    reached: float
    """The part of that ceiling that is reached; for launches, the part of the time they take."""


def parts(
    program: Program, seconds: Mapping[int, float], ceilings: Ceilings, single: bool
) -> list[StepPart]:
    """Parts in program order: the timed launches, `single` or those of a layer and pass as one."""
    groups: dict[object, list[int]] = {}
    for number in sorted(seconds):
        launch = _launch(program, number)
        key = number if single else (launch.layer, launch.phase)
        groups.setdefault(key, []).append(number)
    return [_part(program, numbers, seconds, ceilings) for numbers in groups.values()]


def passes(
    program: Program, seconds: Mapping[int, float], ceilings: Ceilings
) -> list[StepPart]:  # fmt: skip
    """The sums of the passes that there are."""
    found = []
    for phase in ("forward", "backward", "update"):
        numbers = [n for n in seconds if _launch(program, n).phase == phase]
        if numbers:
            found.append(_part(program, numbers, seconds, ceilings))
    return found


def _launch(program: Program, number: int) -> Launch:
    launch = program.instructions[number]
    assert isinstance(launch, Launch), "only launches are timed one by one"
    return launch


def _part(
    program: Program, numbers: Sequence[int], seconds: Mapping[int, float], ceilings: Ceilings
) -> StepPart:
    launches = [_launch(program, number) for number in numbers]
    took = sum(seconds[number] for number in numbers) or 1e-12
    flops = sum(map(launch_flops, launches))
    moved = sum(launch_bytes(program, launch) for launch in launches)
    bound, reached = _bound(len(launches), took, flops, moved, ceilings)
    first = launches[0]
    single = len(launches) == 1
    kernels = kernels_text(first) if single else ""
    call = launch_text(calls_of(program, first), variants_of(first)) if single else ""
    return StepPart(
        first.layer, first.phase, kernels, call, len(launches), took, flops, moved, flops / took,
        moved / took, bound, reached,
    )  # fmt: skip


def _bound(
    launches: int, seconds: float, flops: int, moved: int, ceilings: Ceilings
) -> tuple[str, float]:
    """The ceiling that is nearest, and how much of it is reached."""
    launching = launches * ceilings.launch_seconds
    if seconds <= FEW_LAUNCHES * launching:
        return "launch", launching / seconds
    compute = flops / seconds / ceilings.flops_per_second
    memory = moved / seconds / ceilings.bytes_per_second
    return ("compute", compute) if compute > memory else ("memory", memory)
