"""fuse-statistics: what batch normalization does in several passes over images becomes one, where
the target has a kernel.

It asks for the mean and the variance of its input, and for the gradients of scale and shift: each
pair is made in one pass over memory. Mean and variance can be only where the mean is that of the
whole batch already; where devices have terms of them, it is their sums that are made in one pass,
and mean and variance of these in one launch.

Where branches meet, more passes are spared. The gradients of scale and shift are made along with
the gradient that they are of, that of an addition or of a concatenation through a relu, where two
batch normalizations are added for both; and of these no more than the sum is ever in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from netc.ir.calls import calls_of
from netc.ir.joined import join
from netc.ir.program import Instruction, Launch, Program, rewritten
from netc.passes.assign_formats import Target
from netc.work import launch_bytes

_MOMENTS = {"bn_var": "bn_moments", "grouped_var": "grouped_moments"}
"""What joins a mean to a variance."""
_SLOPES = {
    "bn_dgamma": ("bn_slopes", "bias_db"),
    "grouped_dgamma": ("grouped_slopes", "grouped_dbeta"),
}
"""What joins the gradient of scale to that of shift, and what makes this."""

_WITH_GRADIENTS = (("add_relu_two_slopes", 2), ("add_relu_slopes", 1), ("slice_relu_slopes", 1))
"""What joins a gradient to those of scale and shift, of so many batch norms, that are of it."""


def fuse_statistics(program: Program, target: Target) -> Program:
    """The program with launches joined. It has no waits yet."""
    done: dict[int, Instruction] = {}
    gone: set[int] = set()
    for found in _Finder(program).found():
        apart = gone.isdisjoint(found.numbers) and done.keys().isdisjoint(found.numbers)
        if apart and target.choose(calls_of(program, found.joined)):
            done[found.place] = found.joined
            gone |= {*found.numbers} - {found.place}
    return rewritten(program, done, gone)


@dataclass(frozen=True, slots=True)
class _Found:
    """Launches that may become one."""

    numbers: tuple[int, ...]
    """In the program's order."""
    place: int
    """The one in whose place the joined launch is."""
    joined: Launch


class _Finder:
    """Finds launches that may become one: their numbers, and what joins them."""

    def __init__(self, program: Program) -> None:
        self.program, self.writer = program, program.writer
        self.launches = {n: i for n, i in enumerate(program.instructions) if isinstance(i, Launch)}

    def found(self) -> Iterator[_Found]:
        """All; of those that have launches in common first what spares most."""
        slopes = list(self._slopes())
        yield from self._with_gradients(slopes)
        yield from self._norms()
        yield from (*self._moments(), *slopes, *self._of_sums())

    def _moments(self) -> Iterator[_Found]:
        """A mean and the variance about it."""
        for number, var in self.launches.items():
            if var.name not in _MOMENTS:
                continue
            first = self.writer[var.reads[1].buffer]
            if first in self.launches:
                yield from self._pair(_MOMENTS[var.name], first, number)

    def _slopes(self) -> Iterator[_Found]:
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
            if other is not None and self._early(scale, min(number, other)):
                yield from self._pair(name, number, other)

    def _of_sums(self) -> Iterator[_Found]:
        """A mean and a variance of the same sums."""
        means = {
            (launch.class_, launch.reads[0]): number
            for number, launch in self.launches.items() if launch.name == "sums_mean"
        }  # fmt: skip
        for number, var in self.launches.items():
            if var.name == "sums_var" and (var.class_, var.reads[0]) in means:
                yield from self._pair("sums_moments", means[var.class_, var.reads[0]], number)

    def _with_gradients(self, slopes: list[_Found]) -> Iterator[_Found]:
        """A gradient with those of scale and shift that are of it."""
        readers: dict[int, list[_Found]] = {}
        for each in slopes:
            number = self.writer.get(each.joined.reads[3].buffer, -1)
            if number in self.launches and self._early(each.joined, number, made_by=number):
                readers.setdefault(number, []).append(each)
        for number, found in readers.items():
            for name, count in _WITH_GRADIENTS:
                for at in range(len(found) - count + 1):
                    yield from self._after(number, name, found[at : at + count])

    def _after(self, number: int, name: str, slopes: list[_Found]) -> Iterator[_Found]:
        """What makes a gradient and, in its place, those of scale and shift by it."""
        gradient = self.launches[number]
        parts = [self.launches[n] for each in slopes for n in self._in_parts(each)]
        joined = join(name, (gradient, *parts), gradient)
        if joined is not None:
            apart = (gradient, *(each.joined for each in slopes))
            numbers = (number, *(n for each in slopes for n in each.numbers))
            yield _Found(numbers, number, self._priced(joined, apart))

    def _in_parts(self, slopes: _Found) -> list[int]:
        """The launches of a pair, that of the scale first."""
        return sorted(slopes.numbers, key=lambda n: self.launches[n].name not in _SLOPES)

    def _norms(self) -> Iterator[_Found]:
        """A normalized image that only an addition to another one reads, and that addition."""
        reads = Counter(v.buffer for i in self.program.instructions for v in {*i.reads})
        ports = (*self.program.inputs, *self.program.outputs, *self.program.state)
        reads.update(view.buffer for port in ports for view in port.views)
        for number, sum_ in self.launches.items():
            if [step.operation for step in sum_.steps] != ["bn_norm", "add", "relu"]:
                continue
            buffer = sum_.reads[max(sum_.steps[1].operands)].buffer
            norm = self.launches.get(self.writer.get(buffer, -1))
            joined = None if norm is None else join("bn_norms_add_relu", (norm, sum_), sum_)
            if norm is not None and joined is not None and reads[buffer] == 1:
                numbers = (self.writer[buffer], number)
                yield _Found(numbers, number, self._priced(joined, (norm, sum_)))

    def _pair(self, name: str, one: int, other: int) -> Iterator[_Found]:
        """Two launches in the place of the earlier, where that name joins them."""
        launches = self.launches[one], self.launches[other]
        first, second = sorted((one, other))
        joined = join(name, launches, launches[0])
        if joined is not None:
            seconds = max(launch.seconds for launch in launches)
            yield _Found((first, second), first, replace(joined, seconds=seconds))

    def _early(self, launch: Launch, number: int, made_by: int = -1) -> bool:
        """Whether all that a launch reads is there before instruction `number`, besides what that
        makes where it is `made_by`.
        """
        writers = (self.writer.get(view.buffer, -1) for view in launch.reads)
        return all(writer < number or writer == made_by for writer in writers)

    def _priced(self, joined: Launch, apart: tuple[Launch, ...]) -> Launch:
        """The launch with the seconds of those that it joins, less the share of the bytes that it
        spares.
        """
        moved = sum(launch_bytes(self.program, each) for each in apart)
        share = launch_bytes(self.program, joined) / moved
        return replace(joined, seconds=sum(each.seconds for each in apart) * share)
