"""fuse-convolutions: what batch normalization asks of a convolution's result, or of the gradient
that one makes of its image, is made with it, where the target has a kernel that can.

Mean and variance are of what was convolved; the gradients of scale and shift are of what comes out
of a convolution's gradient through the relu before it, to which a block's other branch was added.
Each was a pass over that tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from netc.ir.calls import calls_of
from netc.ir.joined import join
from netc.ir.program import Instruction, Launch, Program, View, rewritten
from netc.passes.assign_formats import Target


def fuse_convolutions(program: Program, target: Target) -> Program:
    """The program with convolutions joined to what reads their results. It has no waits yet."""
    done: dict[int, Instruction] = {}
    gone: set[int] = set()
    finder = _Finder(program)
    for name, parts, place in (*finder.statistics(), *finder.slopes()):
        joined = finder.joined(name, parts, place)
        if joined is not None and target.choose(calls_of(program, joined)):
            done[place] = joined
            gone |= set(parts) - {place}
    return rewritten(program, done, gone)


Found = tuple[str, tuple[int, ...], int]
"""What joins launches, their numbers in its order, and in which one's place."""


class _Finder:
    """Finds launches to join, by their numbers in the program's order."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.launches = {n: i for n, i in enumerate(program.instructions) if isinstance(i, Launch)}
        self.readers: dict[str, list[int]] = {}
        for number, instruction in enumerate(program.instructions):
            for buffer in dict.fromkeys(view.buffer for view in instruction.reads):
                self.readers.setdefault(buffer, []).append(number)
        ports = (*program.inputs, *program.outputs, *program.state)
        self.kept = {view.buffer for port in ports for view in port.views}

    def statistics(self) -> Iterator[Found]:
        """A convolution, and the mean and the variance of its result, or sums of it."""
        for number, conv in self.launches.items():
            if conv.name != "conv":
                continue
            for reader in self._reading(conv.writes[0]):
                launch = self.launches[reader]
                if launch.name == "bn_sums":
                    yield "conv_sums", (number, reader), number
                elif launch.name == "bn_var":
                    mean = self.program.writer[launch.reads[1].buffer]
                    if mean in self.launches:
                        yield "conv_moments", (number, mean, reader), number

    def slopes(self) -> Iterator[Found]:
        """The gradient of a convolution's image, and those of scale and shift made of it."""
        for number, last in self.launches.items():
            operations = [step.operation for step in last.steps]
            if last.joined or operations[-1] != "relu_dx":
                continue
            for ends in self._ends(number):
                if operations[0] == "conv_dx":
                    yield "conv_dx_slopes", (number, *ends), number
                elif operations[0] == "add":
                    for conv in self._added(last):
                        yield "conv_dx_add_slopes", (conv, number, *ends), number
                break

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

    def _added(self, last: Launch) -> Iterator[int]:
        """What makes the last operand of a sum, if a convolution does, and for this alone."""
        operand = last.reads[last.steps[0].operands[-1]]
        conv = self.program.writer.get(operand.buffer, -1)
        alone = len(self.readers[operand.buffer]) == 1 and operand.buffer not in self.kept
        if alone and conv in self.launches and self.launches[conv].name == "conv_dx":
            yield conv

    def _reading(self, view: View) -> Iterator[int]:
        """The launches that read a view's buffer."""
        return (n for n in self.readers.get(view.buffer, ()) if n in self.launches)

    def joined(self, name: str, parts: tuple[int, ...], place: int) -> Launch | None:
        """Launches as one, with the seconds that are left of theirs by the elements that are moved:
        such launches wait for memory.
        """
        launches = [self.launches[number] for number in parts]
        made = join(name, launches, self.launches[place])
        if made is None:
            return None
        share = _elements(made) / sum(map(_elements, launches))
        seconds = share * sum(each.seconds for each in launches)
        conv = launches[0]
        return replace(made, layer=conv.layer, origin=conv.origin, seconds=seconds)


def _elements(launch: Launch) -> int:
    return sum(prod(view.shape) for view in dict.fromkeys((*launch.reads, *launch.writes)))
