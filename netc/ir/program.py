"""The program: everything decided. Buffers, streams, instructions and their waits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from netc.ir.facts import Facts
from netc.ir.step import Step
from netc.ir.types import Mesh

STREAMS = ("compute", "exchange", "return", "inner", "gradient")
"""Kinds of stream: computation; the boundary of a round forward and backward; exchanges inside
the model-split layers and all others; weight gradients."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes of one device that one instruction writes once."""

    name: str
    """Unique in the program: "value@device"."""
    device: int
    nbytes: int
    """Size of the contents in bytes."""
    dtype: str
    storage: str
    """Buffers of one storage share their bytes by decree: state and what overwrites it."""
    kind: str
    """persistent (lives from step to step), input (written by the runtime) or temporary."""
    offset: int = -1
    """First byte in the device's arena; -1 until memory is planned."""


@dataclass(frozen=True, slots=True)
class View:
    """A tensor's local block in (a part of) a buffer."""

    buffer: str
    start: int
    """First element of the block, counted in elements from the start of the buffer."""
    shape: tuple[int, ...]
    """Local shape, logical N C H W."""
    where: tuple[int, ...]
    """Global index of the first element."""
    format: str = ""
    """Memory format; empty is row-major, "nhwc" has the channels innermost."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One or several operations on one device, at once or one right after the other."""

    device: int
    stream: str
    node: str
    """The plan's node."""
    joined: str
    """What it does at once, a name of `netc.ir.joined`; empty where it is a chain: the first step
    makes the result, the others change it in place."""
    steps: tuple[Step, ...]
    """What it does, in order."""
    reads: tuple[View, ...]
    writes: tuple[View, ...]
    layer: str
    phase: str
    origin: str = ""
    """Place in the source, "vgg16.net:12:9"."""
    seconds: float = 0.0
    """Predicted duration."""
    in_place: tuple[int, ...] = ()
    """Reads, by position, whose bytes the write may take over."""
    waits: tuple[int, ...] = ()
    """Instructions of this device, on other streams, that must have ended."""

    @property
    def devices(self) -> tuple[int, ...]:
        """The one device."""
        return (self.device,)

    @property
    def name(self) -> str:
        """What people call it: "conv", "fused", "bn_moments"."""
        return self.joined or (self.steps[0].operation if len(self.steps) == 1 else "fused")

    @property
    def shapes(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """The local shapes of the operands of each step."""
        made = [step.result for step in self.steps]
        return tuple(
            tuple(self.reads[a].shape if a >= 0 else made[number + a] for a in step.operands)
            for number, step in enumerate(self.steps)
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor that a collective moves: per participating device its view, or None."""

    node: str
    sources: tuple[View | None, ...]
    """In the order of the collective's devices; None where a device gives nothing."""
    targets: tuple[View | None, ...]
    """None where a device gets nothing, or already has it."""


@dataclass(frozen=True, slots=True)
class Collective:
    """One communication step of a group of devices, on one kind of stream of each."""

    devices: tuple[int, ...]
    """The group, in axis order."""
    stream: str
    kind: str
    """all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, reduce, scatter, gather,
    send."""
    op: str
    """sum, max or min where it reduces; empty where it moves."""
    root: int
    """Position in `devices` that gives or gets all, -1 where there is none."""
    parts: tuple[Part, ...]
    """Several tensors in one step: a bucket."""
    layer: str
    phase: str
    origin: str = ""
    seconds: float = 0.0
    waits: tuple[int, ...] = ()
    """Instructions that must have ended, on every device of both."""

    @property
    def node(self) -> str:
        """The plan's nodes."""
        return "+".join(part.node for part in self.parts)

    @property
    def reads(self) -> tuple[View, ...]:
        """All sources."""
        return tuple(v for part in self.parts for v in part.sources if v is not None)

    @property
    def writes(self) -> tuple[View, ...]:
        """All targets."""
        return tuple(v for part in self.parts for v in part.targets if v is not None)


Instruction = Launch | Collective


@dataclass(frozen=True, slots=True)
class Port:
    """A global tensor that the runtime fills or fetches, and its local blocks."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """Global shape."""
    views: tuple[View, ...]
    """Blocks that cover it; copies of a block may repeat on other devices."""


@dataclass(frozen=True)
class Program:
    """Instructions in an order that respects every dependence. Not slotted: it caches views.

    Every device runs its own instructions, stream by stream in this order, each after its waits.
    A step begins with a join: nothing starts before all streams of the device ended the last step.
    """

    name: str
    mesh: Mesh
    buffers: tuple[Buffer, ...]
    instructions: tuple[Instruction, ...]
    inputs: tuple[Port, ...]
    """Written by the runtime before a step."""
    outputs: tuple[Port, ...]
    """Read by the runtime after a step."""
    state: tuple[Port, ...]
    """Persistent tensors as they are before a step, under their source names."""

    @cached_property
    def buffer(self) -> Mapping[str, Buffer]:
        """Buffers by name."""
        return MappingProxyType({b.name: b for b in self.buffers})

    @cached_property
    def writer(self) -> Mapping[str, int]:
        """The number of the instruction that writes a buffer, by the buffer's name."""
        numbered = enumerate(self.instructions)
        return MappingProxyType({v.buffer: n for n, i in numbered for v in i.writes})

    @cached_property
    def arena_bytes(self) -> tuple[int, ...]:
        """Bytes of memory of every device."""
        sizes = [0] * self.mesh.size
        for b in self.buffers:
            sizes[b.device] = max(sizes[b.device], b.offset + b.nbytes)
        return tuple(sizes)


def in_place_pairs(
    program: Program, instruction: Instruction, device: int
) -> list[tuple[Buffer, Buffer]]:
    """Buffers (read, written) that an instruction may hold at one and the same offset."""
    if isinstance(instruction, Launch):
        pairs = [(instruction.reads[i], instruction.writes[0]) for i in instruction.in_place]
    elif instruction.kind == "all_reduce":
        both = (zip(p.sources, p.targets, strict=True) for p in instruction.parts)
        pairs = [(s, t) for part in both for s, t in part if s is not None and t is not None]
    else:
        return []
    found = []
    for source, target in pairs:
        old, new = program.buffer[source.buffer], program.buffer[target.buffer]
        whole = (source.start, source.shape, source.format) == (0, target.shape, target.format)
        if whole and target.start == 0 and old.nbytes == new.nbytes and new.device == device:
            found.append((old, new))
    return found


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


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that the runtime needs: three programs over one set of persistent buffers."""

    init: Program
    """Fills the persistent buffers from a seed."""
    train: Program
    """One step: forward, backward, update."""
    eval: Program
    """One batch, forward only, with masked loss, count of right answers, and class scores."""
    facts: Facts
    """What is fixed, and the recipe of training."""
