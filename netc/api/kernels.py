"""Kernels of a program as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from netc.api.figures import bytes_text, seconds_text, shape_text
from netc.api.rows import Rows
from netc.ir.calls import calls_of, variants_of
from netc.ir.facts import Facts
from netc.ir.joined import own_of
from netc.ir.program import Bundle, Launch, Program
from netc.ir.programs import TRAIN
from netc.spelling import in_python
from netc.work import is_workspace
from netc_kernels import cpu, cuda
from netc_runtime.cpu.kernels import CpuKernels
from netc_runtime.measure.tuning import load_times

CHOSEN_BY = ("measured", "shipped", "heuristic")

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
    chosen_by: str = ""
    """By what its kernels were chosen, or are where it runs: "measured" on this machine, "shipped":
    measured on one like it, or "heuristic". Empty where nothing is chosen, or not known here.
    """

    def cells(self) -> tuple[str, ...]:
        """As text."""
        used, took = bytes_text(self.workspace_bytes), seconds_text(self.seconds)
        shown = self.layer, self.phase, self.kernels, self.shapes, used, took
        return *shown, self.chosen_by or "-"


class LaunchRows(Rows[LaunchRow]):
    """What computes a step on the first device, launch by launch; a table of that."""

    header = ("layer", "phase", "kernels", "reads, result", "workspace", "time", "chosen by")
    left = 4
    spare = ("workspace", "phase", "chosen by")

    @property
    def notes(self) -> tuple[str, ...]:
        """Where the times come from, and by what kernels were chosen."""
        return tuple(in_python(each) for each in (TIMES_ABOUT, choices_text(self)) if each)


def choices_text(rows: Sequence[LaunchRow]) -> str:
    """By what kernels were chosen, in a sentence, where not all were measured on this machine."""
    found = Counter(row.chosen_by for row in rows if row.chosen_by)
    if found.keys() <= {"measured"}:
        return ""
    return (
        f"Of {found.total()} launches with several kernels {found['measured']} were measured on "
        f"this machine, {found['shipped']} on one like it; for {found['heuristic']} a heuristic "
        "chooses. 'netc tune' measures all."
    )


def rows(bundle: Bundle) -> Iterator[LaunchRow]:
    """The launches of device 0 in the program that was planned for, in their order."""
    program = bundle.train if bundle.facts.goal == TRAIN else bundle.eval
    class_ = program.class_of[0]
    chosen = _chooser(program, bundle.facts)
    for launch in program.instructions:
        if isinstance(launch, Launch) and launch.class_ == class_:
            scratch = (v for v in launch.writes if is_workspace(v))
            yield LaunchRow(
                launch.layer, launch.phase, kernels_text(launch),
                " ".join(shape_text(view.shape) for view in (*launch.reads, launch.writes[0])),
                launch.seconds, sum(program.buffer[view.buffer].nbytes for view in scratch),
                chosen(launch),
            )  # fmt: skip


def _chooser(program: Program, facts: Facts) -> Callable[[Launch], str]:
    """By what a launch's kernels are chosen here."""
    if facts.target == "cuda" and not cuda.available():
        # Imported here: programs for the CPU need none of it.
        from netc_runtime.cuda.kernels import products_of
        from netc_runtime.cuda.plans import KeptPlans, chosen_by

        plans, precision = KeptPlans(), facts.precision
        return lambda launch: _least(
            chosen_by(plans, product, steps[0].variant or "")
            for steps, _, product in products_of(program, launch, precision)
        )
    if facts.target == "cpu" and facts.threads and not cpu.available():
        kernels = CpuKernels(facts.threads, load_times(facts.threads))
        return lambda launch: _least(
            "measured" if kernels.measured.get(call) else "heuristic"
            for call, variant in zip(calls_of(program, launch), variants_of(launch), strict=True)
            if variant and len(kernels.variants(call)) > 1
        )
    return lambda launch: ""


def _least(found: Iterable[str]) -> str:
    """What is said of a launch with several kernels: the one that is known least of."""
    return max(found, key=CHOSEN_BY.index, default="")


def kernels_text(launch: Launch) -> str:
    """What computes a launch: conv.winograd + bias + relu."""
    if own_of(launch) is not None:
        return f"{launch.joined}.{launch.steps[0].variant or 'reference'}"
    return " + ".join(
        step.operation if step.absorbed else f"{step.operation}.{step.variant or 'reference'}"
        for step in launch.steps
    )
