"""Kernels of a program as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netc.api.figures import bytes_text, seconds_text, shape_text
from netc.api.rows import Rows
from netc.ir.joined import own_of
from netc.ir.program import Bundle, Launch
from netc.ir.programs import TRAIN
from netc.spelling import in_python
from netc.work import is_workspace

TIMES_ABOUT = "Times are measured ('netc tune') or predicted from the cluster file."


@dataclass(frozen=True, slots=True)
class LaunchRow:
    """One launch of the first device that has it."""

    layer: str
    phase: str
    kernels: str
    """Joined by blanks; an operation that another does as well follows a plus."""
    shapes: str
    seconds: float
    """Measured, or predicted from the cluster file."""
    workspace_bytes: int

    def cells(self) -> tuple[str, ...]:
        """As text."""
        used, took = bytes_text(self.workspace_bytes), seconds_text(self.seconds)
        return self.layer, self.phase, self.kernels, self.shapes, used, took


class LaunchRows(Rows[LaunchRow]):
    """What computes a step on the first device, launch by launch; a table of that."""

    header = ("layer", "phase", "kernels", "reads, result", "workspace", "time")
    left = 4
    spare = ("workspace", "phase")

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the times come from."""
        return (in_python(TIMES_ABOUT),)


def rows(bundle: Bundle) -> Iterator[LaunchRow]:
    """The launches of device 0 in the program that was planned for, in their order."""
    program = bundle.train if bundle.facts.goal == TRAIN else bundle.eval
    class_ = program.class_of[0]
    for launch in program.instructions:
        if isinstance(launch, Launch) and launch.class_ == class_:
            scratch = (v for v in launch.writes if is_workspace(v))
            yield LaunchRow(
                launch.layer, launch.phase, kernels_text(launch),
                " ".join(shape_text(view.shape) for view in (*launch.reads, launch.writes[0])),
                launch.seconds, sum(program.buffer[view.buffer].nbytes for view in scratch),
            )  # fmt: skip


def kernels_text(launch: Launch) -> str:
    """What computes a launch: conv.winograd + bias + relu."""
    if own_of(launch) is not None:
        return f"{launch.joined}.{launch.steps[0].variant or 'reference'}"
    return " + ".join(
        step.operation if step.absorbed else f"{step.operation}.{step.variant or 'reference'}"
        for step in launch.steps
    )
