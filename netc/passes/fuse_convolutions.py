"""fuse-convolutions: what batch normalization asks of a convolution's result, or of the gradient
that one makes of its image, is made with it, where the target has a kernel that can.

Mean and variance are of what was convolved; the gradients of scale and shift are of what comes out
of a convolution's gradient through the relu before it, to which a block's other branch was added.
Each was a pass over that tensor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod

from netc.ir.calls import calls_of
from netc.ir.joined import join
from netc.ir.program import Buffer, Instruction, Launch, Program, View, rewritten
from netc.passes.assign_formats import Target


def fuse_convolutions(program: Program, target: Target) -> Program:
    """The program with convolutions joined to what reads their results. It has no waits yet."""
    done: dict[int, Instruction] = {}
    gone: set[int] = set()
    buffers = list(program.buffers)
    finder = _Finder(program)
    for found in (*finder.statistics(), *finder.slopes()):
        joined = found.joined()
        if joined is not None and target.choose(calls_of(program, joined)):
            gone |= set(found.numbers)
            done |= {found.place: joined, **found.others}
            buffers += found.buffers
    return rewritten(replace(program, buffers=tuple(buffers)), done, gone - done.keys())


@dataclass(frozen=True, slots=True)
class _Found:
    """Launches to join."""

    name: str
    """What joins them."""
    parts: tuple[Launch, ...]
    """In its order, the convolution first."""
    numbers: tuple[int, ...]
    """Theirs in the program."""
    place: int
    """The number in whose place they come."""
    others: Mapping[int, Launch] = field(default_factory=dict)
    """What else changes, by its number."""
    buffers: tuple[Buffer, ...] = ()
    """That it writes."""

    def joined(self) -> Launch | None:
        """All as one, with the seconds that are left of theirs by the elements that are moved: such
        launches wait for memory.
        """
        conv = self.parts[0]
        made = join(self.name, self.parts, self.parts[-3] if self.name in _GRADIENTS else conv)
        if made is None:
            return None
        share = _elements(made) / sum(map(_elements, self.parts))
        seconds = share * sum(each.seconds for each in self.parts)
        return replace(made, layer=conv.layer, origin=conv.origin, seconds=seconds)


_GRADIENTS = ("conv_dx_slopes", "conv_dx_add_slopes")
"""What ends with the gradients of scale and shift, of what the launch before them makes."""


class _Finder:
    """Finds launches to join."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.launches = {n: i for n, i in enumerate(program.instructions) if isinstance(i, Launch)}
        self.readers: dict[str, list[int]] = {}
        for number, instruction in enumerate(program.instructions):
            for buffer in dict.fromkeys(view.buffer for view in instruction.reads):
                self.readers.setdefault(buffer, []).append(number)
        ports = (*program.inputs, *program.outputs, *program.state)
        self.kept = {view.buffer for port in ports for view in port.views}

    def statistics(self) -> Iterator[_Found]:
        """A convolution, and the mean and the variance of its result, or sums of it."""
        for number, conv in self.launches.items():
            if conv.name != "conv":
                continue
            for reader in self._reading(conv.writes[0]):
                launch = self.launches[reader]
                if launch.name == "bn_sums":
                    yield self._found("conv_sums", (number, reader), number)
                elif launch.name == "bn_var":
                    mean = self.program.writer[launch.reads[1].buffer]
                    if mean in self.launches:
                        yield self._found("conv_moments", (number, mean, reader), number)

    def slopes(self) -> Iterator[_Found]:
        """The gradient of a convolution's image, and those of scale and shift made of it."""
        for number, last in self.launches.items():
            operations = tuple(step.operation for step in last.steps)
            ends = next(self._ends(number), None)
            if last.joined or operations[-1] != "relu_dx" or ends is None:
                continue
            if operations == ("conv_dx", "relu_dx"):
                yield self._found("conv_dx_slopes", (number, *ends), number)
            elif operations == ("add", "relu_dx"):
                for conv in self._made(last.reads[last.steps[0].operands[-1]]):
                    yield self._found("conv_dx_add_slopes", (conv, number, *ends), number)
            elif operations == ("conv_dx", "add", "relu_dx"):
                for conv in self._made(last.reads[last.steps[1].operands[-1]]):
                    yield from self._turned(conv, number, ends)

    def _turned(self, conv: int, number: int, ends: tuple[int, int]) -> Iterator[_Found]:
        """Two gradients of convolutions that are added, where the addition was joined to the one
        that cannot go on: that one alone, in the place of both, and then the other one.
        """
        both, place = self.launches[number], min(self.readers[self._made_by(number)])
        if place not in ends:
            return
        operand = both.reads[both.steps[1].operands[-1]]
        view = replace(operand, buffer=f"{both.node}.other@{both.class_}")
        kept = self.program.buffer[operand.buffer]
        buffer = replace(kept, name=view.buffer, storage=f"{both.node}.other")
        first, add, slope = both.steps
        share = _elements(self.launches[conv]) / (_elements(self.launches[conv]) + _elements(both))
        alone = replace(
            both, node=f"{both.node}.other", steps=(first,), writes=(view,), in_place=(),
            reads=tuple(both.reads[a] for a in first.operands), seconds=share * both.seconds,
        )  # fmt: skip
        alone = replace(alone, steps=(replace(first, operands=tuple(range(len(alone.reads)))),))
        then = replace(
            both, steps=(replace(add, operands=(0, 1)), replace(slope, operands=(2, -1))),
            reads=(view, operand, both.reads[slope.operands[0]]), in_place=(),
            seconds=(1 - share) * both.seconds,
        )  # fmt: skip
        parts = (self.launches[conv], then, *(self.launches[end] for end in ends))
        others = {number: alone}
        yield _Found(
            "conv_dx_add_slopes", parts, (conv, number, *ends), place, others, (buffer,)
        )  # fmt: skip

    def _found(self, name: str, numbers: tuple[int, ...], place: int) -> _Found:
        return _Found(name, tuple(self.launches[n] for n in numbers), numbers, place)

    def _ends(self, number: int) -> Iterator[tuple[int, int]]:
        """What makes the gradients of scale and shift of a launch's result, of things that were
        there before.
        """
        readers = list(self._reading(self.launches[number].writes[0]))
        shifts = {self.launches[n].layer: n for n in readers if self.launches[n].name == "bias_db"}
        for scale in readers:
            launch = self.launches[scale]
            if launch.name != "bn_dgamma" or launch.layer not in shifts:
                continue
            if all(self.program.writer.get(view.buffer, -1) < number for view in launch.reads[:-1]):
                yield scale, shifts[launch.layer]

    def _made(self, operand: View) -> Iterator[int]:
        """What makes an operand, if a convolution's gradient does, and nobody else reads that."""
        conv = self.program.writer.get(operand.buffer, -1)
        alone = len(self.readers[operand.buffer]) == 1 and operand.buffer not in self.kept
        if alone and conv in self.launches and self.launches[conv].name == "conv_dx":
            yield conv

    def _made_by(self, number: int) -> str:
        """The buffer of a launch's result."""
        return self.launches[number].writes[0].buffer

    def _reading(self, view: View) -> Iterator[int]:
        """The launches that read a view's buffer."""
        return (n for n in self.readers.get(view.buffer, ()) if n in self.launches)


def _elements(launch: Launch) -> int:
    return sum(prod(view.shape) for view in dict.fromkeys((*launch.reads, *launch.writes)))
