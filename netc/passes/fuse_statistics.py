"""fuse-statistics: two sums over the same images become one launch, where the target has a kernel.

Batch normalization asks for the mean and the variance of its input, and for the gradients of scale
and shift: each pair is made in one pass over memory. Mean and variance can be only where the mean
is that of the whole batch already, and nothing is exchanged between the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from netc.ir.program import Instruction, Launch, Program, View
from netc.passes.assign_formats import Target
from netc.passes.assign_kernels import calls_of
from netc.passes.fuse_updates import rewritten


def fuse_statistics(program: Program, target: Target) -> Program:
    """The program with sums joined. It has no waits yet."""
    done: dict[int, Instruction] = {}
    gone: set[int] = set()
    finder = _Finder(program)
    for first, second, joined in (*finder.moments(), *finder.slopes()):
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
            if var.kernel != "bn_var":
                continue
            x, centre = var.reads
            first = self.writer[centre.buffer]
            mean = self.launches.get(first)
            if mean is not None and mean.kernel == "bn_mean" and _is_whole(mean, x):
                writes = (*mean.writes, *var.writes)
                yield first, number, _joined("bn_moments", mean, var, mean.reads, writes, ())

    def slopes(self) -> Iterator[tuple[int, int, Launch]]:
        """The gradients of scale and shift, by the same gradient of the output."""
        shifts = {
            (launch.device, launch.layer, launch.reads[0]): number
            for number, launch in self.launches.items() if launch.kernel == "bias_db"
        }  # fmt: skip
        for number, scale in self.launches.items():
            if scale.kernel != "bn_dgamma":
                continue
            other = shifts.get((scale.device, scale.layer, scale.reads[3]))
            if other is None:
                continue
            first, second = sorted((number, other))
            if all(self.writer.get(view.buffer, -1) < first for view in scale.reads):
                shift = self.launches[other]
                writes = (*scale.writes, *shift.writes)
                told = scale.attributes
                yield first, second, _joined("bn_slopes", scale, shift, scale.reads, writes, told)


def _is_whole(mean: Launch, x: View) -> bool:
    """Whether a launch makes the mean of x, all of it."""
    count = dict(mean.attributes)["count"]
    return mean.reads == (x,) and count * x.shape[1] == prod(x.shape) > 0


def _joined(
    kernel: str, one: Launch, other: Launch, reads: tuple[View, ...], writes: tuple[View, ...],
    told: tuple[tuple[str, object], ...],
) -> Launch:  # fmt: skip
    return replace(
        one, kernel=kernel, attributes=told, reads=reads, writes=writes,
        seconds=max(one.seconds, other.seconds), in_place=(),
    )  # fmt: skip
