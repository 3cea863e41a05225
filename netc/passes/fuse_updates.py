"""fuse-updates: the launches that update one weight become one, where the target has such a kernel.

The velocity and the weight move in one pass over their memory; the gradient of a fully connected
layer, if nobody else reads it, is then never in memory at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from netc.ir.program import Instruction, Launch, Program, View
from netc.passes.assign_formats import Target
from netc.passes.assign_kernels import calls_of


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
    """Finds, for every launch that applies a velocity, the launches that led to it."""

    def __init__(self, program: Program, target: Target) -> None:
        self.program, self.target = program, target
        self.writer = {v.buffer: n for n, i in enumerate(program.instructions) for v in i.writes}
        self.readers = Counter(v.buffer for i in program.instructions for v in i.reads)
        self.results = {v.buffer for port in program.outputs for v in port.views}
        self.done: dict[int, Instruction] = {}
        """What stands in the place of a launch that applies a velocity."""
        self.gone: set[int] = set()
        """Launches that it does as well."""
        for number, instruction in enumerate(program.instructions):
            if isinstance(instruction, Launch) and instruction.kernel == "sgd_apply":
                self._join(number, instruction)

    def _join(self, number: int, apply: Launch) -> None:
        velocity = self._made_by(apply.reads[1], "sgd_velocity")
        if velocity is None:
            return
        gradient = self._made_by(velocity[1].reads[2], "fc_dw")
        if gradient is not None and gradient[1].writes[0].buffer not in self.results:
            joined = self._launch("fc_dw_sgd", apply, velocity[1], gradient[1].reads)
            if joined is not None:
                self.done[number] = joined
                self.gone |= {velocity[0], gradient[0]}
                return
        joined = self._launch("sgd", apply, velocity[1], velocity[1].reads[2:3])
        if joined is not None:
            self.done[number] = joined
            self.gone.add(velocity[0])

    def _made_by(self, view: View, kernel: str) -> tuple[int, Launch] | None:
        """The launch of a kernel that wrote what one instruction alone reads."""
        number = self.writer.get(view.buffer)
        if number is None or self.readers[view.buffer] > 1:
            return None
        launch = self.program.instructions[number]
        fits = isinstance(launch, Launch) and launch.kernel == kernel
        whole = view == replace(launch.writes[0], where=view.where)
        return (number, launch) if isinstance(launch, Launch) and fits and whole else None

    def _launch(
        self, kernel: str, apply: Launch, velocity: Launch, operands: tuple[View, ...]
    ) -> Launch | None:
        """One launch that reads (operands, v, w, lr) and writes (v, w), if there is a kernel."""
        v, w, _, rate = velocity.reads
        joined = replace(
            apply,
            kernel=kernel,
            attributes=velocity.attributes,
            reads=(*operands, v, w, rate),
            writes=(velocity.writes[0], apply.writes[0]),
            seconds=velocity.seconds + apply.seconds,
            in_place=(),
        )
        return joined if self.target.choose(calls_of(self.program, joined)) else None
