"""The program: everything decided. Buffers, streams, instructions and their waits.

A program is written once for each class of equal devices (`netc.ir.classes`). `Program.of` says
what that is on one device, and that is what a runtime binds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from netc.ir.classes import DeviceClass, class_numbers
from netc.ir.facts import Facts
from netc.ir.step import Step
from netc.ir.types import Affine, Index, Mesh, index_at
from netc.ir.views import Viewed

STREAMS = ("compute", "exchange", "return", "inner", "gradient", "weights")
"""Kinds of stream: computation; the boundary of a round forward and backward; exchanges inside
the model-split layers and all others; weight gradients; weights that are updated in shards."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes of each device of a class that one instruction writes once."""

    name: str
    """Unique in the program: "value@class"."""
    class_: int
    """The class of devices that have it."""
    nbytes: int
    """Size of the contents in bytes."""
    dtype: str
    storage: str
    """Buffers of one storage share their bytes by decree: state and what overwrites it."""
    kind: str
    """persistent (lives from step to step), input (written by the runtime) or temporary."""
    offset: int = -1
    """First byte in each device's arena; -1 until memory is planned."""


@dataclass(frozen=True, slots=True)
class View:
    """A tensor's local block in (a part of) a buffer."""

    buffer: str
    start: int
    """First element of the block, counted in elements from the start of the buffer."""
    shape: tuple[int, ...]
    """Local shape, logical N C H W."""
    where: tuple[Index, ...]
    """Global index of the first element; on one device plain numbers."""
    format: str = ""
    """Memory format; empty is row-major, "nhwc" has the channels innermost."""

    @property
    def varies(self) -> bool:
        """Whether it is another part of the tensor on each device of a class."""
        return Affine in map(type, self.where)

    def at(self, coordinates: tuple[int, ...]) -> View:
        """The view that it is on one device."""
        if not self.varies:
            return self
        where = tuple(index_at(i, coordinates) for i in self.where)
        return View(self.buffer, self.start, self.shape, where, self.format)


@dataclass(frozen=True, slots=True)
class Launch:
    """One or several operations, at once or in turn, on each device of a class."""

    class_: int
    """The class of devices."""
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
    """Instructions of this class, on other streams, that must have ended."""

    @property
    def classes(self) -> tuple[int, ...]:
        """The one class."""
        return (self.class_,)

    def at(self, coordinates: tuple[int, ...]) -> Launch:
        """What it is on one device."""
        if not any(view.varies for view in (*self.reads, *self.writes)):
            return self
        reads, writes = (
            tuple([view.at(coordinates) for view in views]) for views in (self.reads, self.writes)
        )
        return Launch(
            self.class_, self.stream, self.node, self.joined,
            tuple([step.at(coordinates) for step in self.steps]), reads, writes, self.layer,
            self.phase, self.origin, self.seconds, self.in_place, self.waits,
        )  # fmt: skip

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
    """One tensor that a collective moves: a view for each that takes part, or None."""

    node: str
    sources: tuple[View | None, ...]
    """In the order of the collective's classes or devices; None where one gives nothing."""
    targets: tuple[View | None, ...]
    """None where one gets nothing, or already has it."""


@dataclass(frozen=True, slots=True)
class Collective:
    """One communication step along axes of the mesh, on one kind of stream of each device.

    All groups of devices that differ along these axes only do it, each for itself.
    """

    classes: tuple[int, ...]
    """The classes of devices that take part, ascending."""
    axes: tuple[int, ...]
    """The axes of the mesh, ascending; most often one."""
    stream: str
    kind: str
    """all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, reduce, scatter, gather,
    send."""
    op: str
    """sum, max or min where it reduces; empty where it moves."""
    root: int
    """Position in a group that gives or gets all, -1 where there is none."""
    parts: tuple[Part, ...]
    """Several tensors in one step: a bucket."""
    layer: str
    phase: str
    origin: str = ""
    seconds: float = 0.0
    """Predicted duration, of the slowest group, where nothing else uses the links."""
    ports: tuple[tuple[float, float], ...] = ()
    """By class the part of that time in which each device sends, and in which it receives."""
    shared: tuple[tuple[str, float], ...] = ()
    """By name the links that devices share, and the part of that time in which they are in use."""
    keeps: float = 1.0
    """The part of its speed with which a device computes meanwhile."""
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


def accesses(instruction: Instruction, class_: int) -> tuple[list[View], list[View]]:
    """What each device of a class reads and writes by itself; it takes part."""
    if isinstance(instruction, Launch):
        return list(instruction.reads), list(instruction.writes)
    place = instruction.classes.index(class_)
    reads = [v for part in instruction.parts if (v := part.sources[place]) is not None]
    writes = [v for part in instruction.parts if (v := part.targets[place]) is not None]
    return reads, writes


@dataclass(frozen=True, slots=True)
class GroupCollective:
    """A collective as one group of devices does it."""

    devices: tuple[int, ...]
    """The group, in axis order."""
    stream: str
    kind: str
    op: str
    root: int
    """Position in `devices`, as in a Collective."""
    parts: tuple[Part, ...]
    layer: str
    phase: str
    waits: tuple[int, ...]
    """Of all devices; each waits for those that it takes part in."""

    @property
    def node(self) -> str:
        """The plan's nodes."""
        return "+".join(part.node for part in self.parts)


DeviceInstruction = Launch | GroupCollective


def word_of(instruction: Launch | Collective | GroupCollective) -> str:
    """What an instruction does: "conv + relu", "bn_moments", "all_reduce"."""
    if isinstance(instruction, Launch):
        return instruction.joined or " + ".join(step.operation for step in instruction.steps)
    return instruction.kind


@dataclass(frozen=True, slots=True)
class Port:
    """A global tensor that the runtime fills or fetches, and its local blocks."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """Global shape."""
    views: tuple[View, ...]
    """Blocks that cover it, one for each class that has some; copies of a block may repeat."""


@dataclass(frozen=True, slots=True)
class DeviceProgram:
    """A program as it is on one device."""

    device: int
    instructions: Mapping[int, DeviceInstruction]
    """By their numbers in the program, in its order; they wait for instructions of this device."""


@dataclass(frozen=True)
class Program(Viewed):
    """Instructions in an order that respects every dependence. Not slotted: it caches views.

    Every device runs its own instructions, stream by stream in this order, each after its waits.
    A step begins with a join: nothing starts before all streams of the device ended the last step.
    """

    name: str
    mesh: Mesh
    classes: tuple[DeviceClass, ...]
    """Equal devices, for which everything is said once; by their first devices."""
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
    def buffers_of(self) -> tuple[tuple[Buffer, ...], ...]:
        """Buffers by class."""
        found: list[list[Buffer]] = [[] for _ in self.classes]
        for b in self.buffers:
            found[b.class_].append(b)
        return tuple(map(tuple, found))

    @cached_property
    def writer(self) -> Mapping[str, int]:
        """The number of the instruction that writes a buffer, by the buffer's name."""
        numbered = enumerate(self.instructions)
        return MappingProxyType({v.buffer: n for n, i in numbered for v in i.writes})

    @cached_property
    def arena_bytes(self) -> tuple[int, ...]:
        """Bytes of memory of each device of every class."""
        sizes = [0] * len(self.classes)
        for b in self.buffers:
            sizes[b.class_] = max(sizes[b.class_], b.offset + b.nbytes)
        return tuple(sizes)

    @cached_property
    def class_of(self) -> tuple[int, ...]:
        """By device the number of its class."""
        return class_numbers(self.mesh, self.classes)

    @cached_property
    def numbers(self) -> tuple[tuple[int, ...], ...]:
        """By class the numbers of the instructions that its devices take part in."""
        found: list[list[int]] = [[] for _ in self.classes]
        for number, instruction in enumerate(self.instructions):
            for class_ in instruction.classes:
                found[class_].append(number)
        return tuple(map(tuple, found))

    @cached_property
    def coordinates(self) -> tuple[tuple[int, ...], ...]:
        """By device where it is in the mesh."""
        return tuple(map(self.mesh.coordinates, range(self.mesh.size)))

    def groups(self, collective: Collective) -> list[tuple[int, ...]]:
        """The groups of devices that do a collective, in the order of devices each."""
        every = self.mesh.groups(collective.axes)
        return [g for g in every if self.class_of[g[0]] in collective.classes]

    def in_group(self, collective: Collective, devices: tuple[int, ...]) -> GroupCollective:
        """What a collective is in one group of devices, which all take part."""
        place = {class_: i for i, class_ in enumerate(collective.classes)}
        places = [place[self.class_of[d]] for d in devices]

        def spread(views: tuple[View | None, ...]) -> tuple[View | None, ...]:
            if not any(view is not None and view.varies for view in views):
                return tuple([views[i] for i in places])
            pairs = zip(places, devices, strict=True)
            return tuple(
                [None if (v := views[i]) is None else v.at(self.coordinates[d]) for i, d in pairs]
            )

        parts = (Part(p.node, spread(p.sources), spread(p.targets)) for p in collective.parts)
        return GroupCollective(
            devices, collective.stream, collective.kind, collective.op, collective.root,
            tuple(parts), collective.layer, collective.phase, collective.waits,
        )  # fmt: skip

    def of(self, device: int) -> DeviceProgram:
        """The program as it is on one device."""
        coordinates, class_ = self.mesh.coordinates(device), self.class_of[device]
        numbers = self.numbers[class_]
        known = set(numbers)
        found: dict[int, DeviceInstruction] = {}
        for number in numbers:
            instruction = self.instructions[number]
            if isinstance(instruction, Launch):
                found[number] = instruction.at(coordinates)
            else:
                group = self.in_group(instruction, self.mesh.group(device, instruction.axes))
                waits = tuple(w for w in group.waits if w in known)
                found[number] = replace(group, waits=waits)
        return DeviceProgram(device, MappingProxyType(found))

    def block(self, port: Port, device: int) -> View | None:
        """What a device has of a global tensor."""
        class_ = self.class_of[device]
        own = (view for view in port.views if self.buffer[view.buffer].class_ == class_)
        found = next(own, None)
        return None if found is None else found.at(self.mesh.coordinates(device))


def in_place_pairs(
    program: Program, instruction: Instruction, class_: int
) -> list[tuple[Buffer, Buffer]]:
    """Buffers (read, written) that an instruction may hold at one and the same offset."""
    if isinstance(instruction, Launch):
        pairs = [(instruction.reads[i], instruction.writes[0]) for i in instruction.in_place]
    elif instruction.kind == "all_reduce":
        place = instruction.classes.index(class_)
        both = ((p.sources[place], p.targets[place]) for p in instruction.parts)
        pairs = [(s, t) for s, t in both if s is not None and t is not None]
    else:
        return []
    found = []
    for source, target in pairs:
        old, new = program.buffer[source.buffer], program.buffer[target.buffer]
        whole = (source.start, source.shape, source.format) == (0, target.shape, target.format)
        if whole and target.start == 0 and old.nbytes == new.nbytes:
            found.append((old, new))
    return found


def rewritten(program: Program, done: Mapping[int, Instruction], gone: Collection[int]) -> Program:
    """A program with some instructions replaced and others left out, and the buffers it needs; the
    program itself where there are none.
    """
    if not done:
        return program
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
    """All that the runtime needs: programs over one set of persistent buffers."""

    init: Program
    """Fills the persistent buffers from a seed."""
    train: Program
    """One step: forward, backward, update."""
    eval: Program
    """One batch, forward only, with masked loss, count of right answers, and class scores."""
    facts: Facts
    """What is fixed, and the recipe of training."""
    part: Program | None = None
    """One step that moves no weight: its gradients are added to those before. None where each
    step moves weights."""

    def __repr__(self) -> str:
        """One line."""
        return f"<Bundle {self.facts.network}: {len(self.train.instructions)} instructions>"

    @property
    def programs(self) -> tuple[Program, ...]:
        """All there are."""
        parts = () if self.part is None else (self.part,)
        return (self.init, self.train, *parts, self.eval)
