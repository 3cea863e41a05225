"""fuse-pooling: a convolution pools what it makes, where the target has a kernel that can.

Then what is pooled is never in memory. The gradient of the pooling asks only which pixel of each
window had the maximum: the convolution notes that in a byte, and neither pass reads more of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from netc.ir.calls import calls_of
from netc.ir.joined import join
from netc.ir.program import Buffer, Instruction, Launch, Program, View, rewritten
from netc.ir.step import Attributes, Step
from netc.passes.assign_formats import Target


def fuse_pooling(program: Program, target: Target) -> Program:
    """The program with pooling joined to the convolutions before it. It has no waits yet."""
    done: dict[int, Instruction] = {}
    gone: set[int] = set()
    buffers = list(program.buffers)
    for found in _found(program):
        joined, gradient = found.joined(program), found.gradient(program)
        choice = None if joined is None else target.choose(calls_of(program, joined))
        if joined is None or choice is None:
            continue
        able = choice.variants[-1] is None
        if able and (gradient is None or target.choose(calls_of(program, gradient))):
            done[found.conv] = joined
            gone |= {found.pool, found.places}
            if found.slope is not None and gradient is not None:
                done[found.slope] = gradient
                buffers += [] if found.noted else [_buffer(joined)]
    return rewritten(replace(program, buffers=tuple(buffers)), done, gone)


@dataclass(frozen=True, slots=True)
class _Pooled:
    """A convolution, the pooling of its result, and the gradient of that, by their numbers."""

    conv: int
    pool: int
    slope: int | None
    """The gradient that reads the convolution's result."""
    places: int = -1
    """What notes places, where the plan has it do so."""

    @property
    def noted(self) -> bool:
        """Whether the plan has places noted."""
        return self.places >= 0

    def joined(self, program: Program) -> Launch | None:
        """What convolves and pools, and notes places if there is a gradient."""
        conv, pool = (_launch(program, number) for number in (self.conv, self.pool))
        parts, name = [conv, pool], "conv_maxpool"
        if self.slope is not None or self.noted:
            views = _launch(program, self.places).writes if self.noted else (_places(pool),)
            parts, name = [*parts, _noting(conv, pool, views)], "conv_maxpool_places"
        joined = join(name, parts, pool)
        if joined is None:
            return None
        return replace(joined, layer=conv.layer, origin=conv.origin, seconds=conv.seconds)

    def gradient(self, program: Program) -> Launch | None:
        """What the gradient becomes: it reads places in place of images."""
        if self.slope is None:
            return None
        pool, slope = (_launch(program, number) for number in (self.pool, self.slope))
        head = slope.steps[0]
        noted = slope.reads[head.operands[0]] if self.noted else _places(pool)
        reads = (noted, slope.reads[head.operands[-1]])
        step = replace(head, operation="maxpool_places_dx", operands=(0, 1))
        share = _elements(*reads, *slope.writes) / _elements(*slope.reads, *slope.writes)
        return replace(
            slope, steps=(step,), reads=reads,
            seconds=slope.seconds * share, in_place=(),
        )  # fmt: skip


def _noting(conv: Launch, pool: Launch, writes: tuple[View, ...]) -> Launch:
    """What notes the places of maxima."""
    relu = conv.steps[-1].operation == "relu"
    noted = Attributes.of({**pool.steps[0].attributes, "relu": relu})
    step = Step("maxpool_places", (0, 1), noted, pool.writes[0].shape)
    reads = (pool.reads[0], pool.writes[0])
    return replace(pool, steps=(step,), reads=reads, writes=writes)


def _places(pool: Launch) -> View:
    """A byte for every maximum."""
    return replace(pool.writes[0], buffer=f"{pool.node}.places@{pool.class_}", start=0)


def _buffer(joined: Launch) -> Buffer:
    """The memory of the places that a launch notes."""
    view, storage = joined.writes[1], f"{joined.node}.places"
    return Buffer(view.buffer, joined.class_, prod(view.shape), "u8", storage, "temporary")


def _found(program: Program) -> Iterator[_Pooled]:
    """Every pooling that alone reads a convolution's result, together with its own gradient."""
    ports = (*program.inputs, *program.outputs, *program.state)
    kept = {view.buffer for port in ports for view in port.views}
    readers: dict[str, list[int]] = {}
    for number, instruction in enumerate(program.instructions):
        for buffer in dict.fromkeys(view.buffer for view in instruction.reads):
            readers.setdefault(buffer, []).append(number)
    for number, pool in enumerate(program.instructions):
        if not isinstance(pool, Launch) or pool.name != "maxpool":
            continue
        image = pool.reads[0]
        before = program.writer.get(image.buffer)
        if before is None or image.buffer in kept or not _can_pool(program, before, image):
            continue
        others = [reader for reader in readers[image.buffer] if reader != number]
        noting = [each for each in others if _notes(program, each, pool)]
        slopes = [each for each in others if each not in noting]
        relu = _launch(program, before).steps[-1].operation == "relu"
        if len(noting) > 1 or len(slopes) > 1 or (noting and relu and not slopes):
            continue
        if all(_is_slope(program, each, pool, relu, bool(noting)) for each in slopes):
            slope = slopes[0] if slopes else None
            yield _Pooled(before, number, slope, *noting)


def _can_pool(program: Program, number: int, image: View) -> bool:
    conv = program.instructions[number]
    return isinstance(conv, Launch) and conv.writes == (image,)


def _notes(program: Program, number: int, pool: Launch) -> bool:
    """Whether an instruction notes the places of the maxima of a pooling."""
    launch = program.instructions[number]
    if not isinstance(launch, Launch) or launch.name != "maxpool_places":
        return False
    return launch.reads == (pool.reads[0], pool.writes[0])


def _is_slope(program: Program, number: int, pool: Launch, relu: bool, noted: bool) -> bool:
    """Whether an instruction is the gradient of a pooling, through the relu before it if any; of
    maxima found again, or whose places were noted.
    """
    slope = program.instructions[number]
    if not isinstance(slope, Launch):
        return False
    head, *rest = slope.steps
    through = [(step.operation, [slope.reads[a] for a in step.operands if a >= 0]) for step in rest]
    if through != ([("relu_dx", [pool.reads[0]])] if relu else []):
        return False
    if noted:
        return head.operation == "maxpool_places_dx"
    found = head.operation == "maxpool_dx" and head.attributes == pool.steps[0].attributes
    return found and [slope.reads[a] for a in head.operands[:2]] == [pool.reads[0], pool.writes[0]]


def _launch(program: Program, number: int) -> Launch:
    launch = program.instructions[number]
    assert isinstance(launch, Launch)
    return launch


def _elements(*views: View) -> int:
    return sum(prod(view.shape) for view in views)
