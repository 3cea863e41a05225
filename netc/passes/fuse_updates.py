"""fuse-updates: the launches that update one weight become one, where the target has such a kernel.

The optimizer's state (a velocity, or Adam's moments) and the weight move in one pass over their
memory; the gradient of a fully connected layer, if nobody else reads it, is then never in memory
at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from netc.ir.program import Instruction, Launch, Program, View
from netc.passes.assign_formats import Target
from netc.passes.assign_kernels import calls_of

_JOINED = {
    "sgd_apply": ("sgd", ("sgd_velocity",)),
    "adam_apply": ("adam", ("adam_moment1", "adam_moment2")),
}
"""By the kernel that moves a weight: the name of all in one, and the kernels of its state before.

The former reads (w, state ..., numbers ...), the latter (state, w, g, numbers ...)."""


def fuse_updates(program: Program, target: Target) -> Program:
    """The program with updates joined. It has no waits yet."""
    fuser = _Fuser(program, target)
    return rewritten(program, fuser.done, fuser.gone)


def rewritten(program: Program, done: Mapping[int, Instruction], gone: Collection[int]) -> Program:
    """A program with some instructions replaced and others left out, and the buffers it needs."""
    instructions = tuple(
        done.get(n, i) for n, i in enumerate(program.instructions) if n not in gone
    )
    ports = (*program.inputs, *program.outputs, *program.state)
    used = {v.buffer for i in instructions for v in (*i.reads, *i.writes)}
    used |= {view.buffer for port in ports for view in port.views}
    buffers = (b for b in program.buffers if b.name in used)
    return replace(program, buffers=tuple(buffers), instructions=instructions)


class _Fuser:
    """Finds, for every launch that moves a weight, the launches that led to it."""

    def __init__(self, program: Program, target: Target) -> None:
        self.program, self.target = program, target
        self.readers = Counter(v.buffer for i in program.instructions for v in i.reads)
        self.results = {v.buffer for port in program.outputs for v in port.views}
        self.done: dict[int, Instruction] = {}
        """What stands in the place of a launch that moves a weight."""
        self.gone: set[int] = set()
        """Launches that it does as well."""
        for number, instruction in enumerate(program.instructions):
            if isinstance(instruction, Launch) and instruction.kernel in _JOINED:
                self._join(number, instruction, *_JOINED[instruction.kernel])

    def _join(self, number: int, apply: Launch, name: str, kernels: tuple[str, ...]) -> None:
        views = apply.reads[1 : 1 + len(kernels)]
        found = [self._made_by(*each) for each in zip(views, kernels, strict=True)]
        before = [each for each in found if each is not None]
        if len(before) < len(kernels):
            return
        numbers, state = {n for n, _ in before}, [launch for _, launch in before]
        gradient = self._made_by(state[0].reads[2], "fc_dw", readers=len(kernels))
        if gradient is not None and gradient[1].writes[0].buffer not in self.results:
            joined = self._launch(f"fc_dw_{name}", apply, state, gradient[1].reads)
            if joined is not None:
                self.done[number] = joined
                self.gone |= {*numbers, gradient[0]}
                return
        joined = self._launch(name, apply, state, state[0].reads[2:3])
        if joined is not None:
            self.done[number] = joined
            self.gone |= numbers

    def _made_by(self, view: View, kernel: str, readers: int = 1) -> tuple[int, Launch] | None:
        """The launch of a kernel that wrote what no more than so many instructions read."""
        number = self.program.writer.get(view.buffer)
        if number is None or self.readers[view.buffer] > readers:
            return None
        launch = self.program.instructions[number]
        fits = isinstance(launch, Launch) and launch.kernel == kernel
        whole = view == replace(launch.writes[0], where=view.where)
        return (number, launch) if isinstance(launch, Launch) and fits and whole else None

    def _launch(
        self, kernel: str, apply: Launch, state: list[Launch], operands: tuple[View, ...]
    ) -> Launch | None:
        """One launch that reads (operands, state, w, numbers) and writes (state, w), if there is a
        kernel.
        """
        told = {k: v for launch in (*state, apply) for k, v in launch.attributes}
        numbers = (*state[0].reads[3:], *apply.reads[1 + len(state) :])
        joined = replace(
            apply,
            kernel=kernel,
            attributes=tuple(sorted(told.items())),
            reads=(*operands, *(each.reads[0] for each in state), apply.reads[0], *numbers),
            writes=(*(each.writes[0] for each in state), apply.writes[0]),
            seconds=sum(each.seconds for each in state) + apply.seconds,
            in_place=(),
        )
        return joined if self.target.choose(calls_of(self.program, joined)) else None
