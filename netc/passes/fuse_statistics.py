"""fuse-statistics: two sums over the same images become one launch, where the target has a kernel.

Batch normalization asks for the mean and the variance of its input, and for the gradients of scale
and shift: each pair is made in one pass over memory. Mean and variance can be only where the mean
is that of the whole batch already; where devices have terms of them, it is their sums that are made
in one pass, and mean and variance of these in one launch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from netc.ir.calls import calls_of
from netc.ir.joined import join
from netc.ir.program import Instruction, Launch, Program, rewritten
from netc.passes.assign_formats import Target

_MOMENTS = {"bn_var": "bn_moments", "grouped_var": "grouped_moments"}
"""What joins a mean to a variance."""
_SLOPES = {
    "bn_dgamma": ("bn_slopes", "bias_db"),
    "grouped_dgamma": ("grouped_slopes", "grouped_dbeta"),
}
"""What joins the gradient of scale to that of shift, and what makes this."""


def fuse_statistics(program: Program, target: Target) -> Program:
    """The program with sums joined. It has no waits yet."""
    done: dict[int, Instruction] = {}
    gone: set[int] = set()
    finder = _Finder(program)
    for first, second, joined in (*finder.moments(), *finder.slopes(), *finder.of_sums()):
        if target.choose(calls_of(program, joined)):
            done[first] = joined
            gone.add(second)
    return rewritten(program, done, gone)


class _Finder:
    """Finds pairs of launches: the number of each, in the program's order, and what joins them."""

    def __init__(self, program: Program) -> None:
        self.launches = {n: i for n, i in enumerate(program.instructions) if isinstance(i, Launch)}
        self.writer = program.writer

    def moments(self) -> Iterator[tuple[int, int, Launch]]:
        """A mean and the variance about it."""
        for number, var in self.launches.items():
            if var.name not in _MOMENTS:
                continue
            first = self.writer[var.reads[1].buffer]
            mean = self.launches.get(first)
            joined = None if mean is None else _joined(_MOMENTS[var.name], mean, var)
            if joined is not None:
                yield first, number, joined

    def slopes(self) -> Iterator[tuple[int, int, Launch]]:
        """The gradients of scale and shift, by the same gradient of the output."""
        shifts = {
            (launch.name, launch.class_, launch.layer, launch.reads[0]): number
            for number, launch in self.launches.items() if launch.reads
        }  # fmt: skip
        for number, scale in self.launches.items():
            if scale.name not in _SLOPES:
                continue
            name, shift = _SLOPES[scale.name]
            other = shifts.get((shift, scale.class_, scale.layer, scale.reads[3]))
            if other is None:
                continue
            first, second = sorted((number, other))
            joined = _joined(name, scale, self.launches[other])
            early = all(self.writer.get(view.buffer, -1) < first for view in scale.reads)
            if early and joined is not None:
                yield first, second, joined

    def of_sums(self) -> Iterator[tuple[int, int, Launch]]:
        """A mean and a variance of the same sums."""
        means = {
            (launch.class_, launch.reads[0]): number
            for number, launch in self.launches.items() if launch.name == "sums_mean"
        }  # fmt: skip
        for number, var in self.launches.items():
            if var.name == "sums_var" and (var.class_, var.reads[0]) in means:
                first = means[var.class_, var.reads[0]]
                joined = _joined("sums_moments", self.launches[first], var)
                if joined is not None:
                    yield first, number, joined


def _joined(name: str, one: Launch, other: Launch) -> Launch | None:
    """Both in the place of the first."""
    joined = join(name, (one, other), one)
    return None if joined is None else replace(joined, seconds=max(one.seconds, other.seconds))
