"""The verifiers: one for each value. A failure names the property, and is always our mistake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from netc.ir.collectives import problem_of
from netc.ir.comm import Comm, transition
from netc.ir.graph import Graph, Node
from netc.ir.ops import Copy, Fused, Op, RoundMerge, RoundSlice, Source, Sum
from netc.ir.ops.base import parse_labels
from netc.ir.order import DeviceOrder, device_order
from netc.ir.plan import Plan, Split
from netc.ir.program import (
    Buffer,
    Bundle,
    Collective,
    Instruction,
    Launch,
    Program,
    View,
    in_place_pairs,
)
from netc.ir.types import ITEM_BYTES, On, Partial, Placement, Placements, Replicate, Shard


class VerifyError(AssertionError):
    """A value breaks a numbered property: the compiler is wrong, not the user."""


def _require(condition: bool, rule: str, what: str) -> None:
    """For checks made seldom: `what` is written out even if nothing is wrong."""
    if not condition:
        raise VerifyError(f"{rule}: {what}")


def verify_graph(graph: Graph) -> None:
    """G1 names are unique; G2 operands come before their users; G3 types are what the operation
    infers; G4 the outputs exist; G5 nothing reads state after it was overwritten.
    """
    seen: set[str] = set()
    overwritten: dict[str, str] = {}
    for node in graph.nodes:
        _require(node.name not in seen, "G1", f"two nodes named {node.name}")
        for name in node.inputs:
            _require(name in seen, "G2", f"{node.name} reads {name} before it is there")
            by = overwritten.get(name)
            _require(by is None, "G5", f"{node.name} reads {name} after {by} overwrote it")
        if not isinstance(node.op, Source):
            inferred = node.op.infer(*graph.operand_types(node))
            if inferred != node.type:
                raise VerifyError(f"G3: {node.name} is {node.type}, not {inferred}")
        if node.op.alias is not None:
            overwritten[node.inputs[node.op.alias]] = node.name
        seen.add(node.name)
    for name in graph.outputs:
        _require(name in seen, "G4", f"no node {name} to put out")


def verify_plan(plan: Plan) -> None:
    """P1 the graph is sound; P2 every node has one placement per mesh axis that its shape allows;
    P3 a computing node's operands and result live as its layer's split says; P4 communication is
    exactly the table's; P5 no result is left partial.
    """
    verify_graph(plan.graph)
    for node in plan.graph.nodes:
        if not _fits(plan, node):
            raise VerifyError(f"P2: {node.name} of {node.type} is placed {_where(plan, node)}")
        if isinstance(node.op, Comm):
            _verify_comm(plan, node)
        elif not isinstance(node.op, RoundSlice | RoundMerge):
            _verify_split(plan, node)
        else:
            _verify_round(plan, node)
    for name in plan.graph.outputs:
        left = any(isinstance(p, Partial) for p in plan.placement[name])
        _require(not left, "P5", f"the result {name} is partial")


def _where(plan: Plan, node: Node) -> str:
    return ",".join(str(p) for p in plan.placement[node.name])


def _fits(plan: Plan, node: Node) -> bool:
    places = plan.placement[node.name]
    return len(places) == len(plan.mesh.shape) and all(
        (not isinstance(p, Shard) or 0 <= p.dim < node.type.rank)
        and (not isinstance(p, On) or 0 <= p.rank < extent)
        for p, extent in zip(places, plan.mesh.shape, strict=True)
    )


def _verify_comm(plan: Plan, node: Node) -> None:
    assert isinstance(node.op, Comm)
    source, target = plan.placement[node.inputs[0]], plan.placement[node.name]
    axis = node.op.axis
    others = all(s == t for a, (s, t) in enumerate(zip(source, target, strict=True)) if a != axis)
    right = source[axis] != target[axis] and transition(source[axis], target[axis], axis) == node.op
    _require(others and right, "P4", f"{node.name} turns {source} into {target}")
    later = (source[axis], target[axis])
    blocked = any(isinstance(p, Shard) and p in later for p in source[axis + 1 :])
    _require(not blocked, "P4", f"{node.name} changes a dimension that a later axis divides")


def _verify_round(plan: Plan, node: Node) -> None:
    """Rounds live on their worker (b) or stay sharded (c), and come from or go to shards."""
    part: Placements = (Shard(0),)
    op = node.op
    if isinstance(op, RoundSlice):
        gives = (On(op.worker),) if op.scheme == "b" else part
        right = plan.placement[node.inputs[0]] == (Shard(0),) and plan.placement[node.name] == gives
    else:
        assert isinstance(op, RoundMerge)
        wants = [(On(w),) if op.scheme == "b" else part for w in op.workers]
        right = [plan.placement[i] for i in node.inputs] == wants
        right = right and plan.placement[node.name] == part
    _require(right, "P3", f"{node.name} is a round, placed {_where(plan, node)}")


def _verify_split(plan: Plan, node: Node) -> None:
    if not isinstance(node.op, Fused):
        _verify_op(plan, node, node.op, effective_split(plan, node.layer), node.inputs)
        return
    for step in node.op.steps:
        names = tuple(node.name if a < 0 else node.inputs[a] for a in step.args)
        _verify_op(plan, node, step.op, effective_split(plan, step.layer), names)


def effective_split(plan: Plan, layer: str) -> Split:
    """The split that applies to a layer's nodes; an axis of one device splits nothing.

    The layer of scalars has none: it is on every device.
    """
    split = plan.split.get(layer, ("r",) * len(plan.mesh.shape))
    return tuple(s if e > 1 else "r" for s, e in zip(split, plan.mesh.shape, strict=True))


def _verify_op(plan: Plan, node: Node, op: Op, split: Split, names: tuple[str, ...]) -> None:
    if isinstance(op, Sum | Copy):
        alike = {plan.placement[name] for name in (*names, node.name)}
        _require(len(alike) == 1, "P3", f"{node.name} takes values that live apart")
        return
    operands, result = parse_labels(op.labels(tuple(plan.graph[name].type for name in names)))
    carried = "".join(operands)
    for axis, label in enumerate(split):
        for name, own in zip(names, operands, strict=True):
            want = _expected(label, own)
            have = plan.placement[name][axis]
            if have != want:
                what = f"{name} as {want} under split {label}, it is {have}"
                raise VerifyError(f"P3: {node.name} wants {what}")
        partial = label in carried and label not in result
        given = Partial(op.reduction) if partial else _expected(label, result)
        have = plan.placement[node.name][axis]
        if have != given:
            raise VerifyError(f"P3: {node.name} is {have}, not {given}, under split {label}")


def _expected(label: str, own: str) -> Placement:
    if label[0] == "@":
        return On(int(label[1:]))
    return Shard(own.index(label)) if label in own else Replicate()


def verify_program(program: Program, devices: Iterable[int] | None = None) -> None:
    """M1 every temporary buffer is written once, state and inputs only through an alias; M2 every
    read comes after the write of its buffer; M3 accesses to shared bytes are ordered, or one
    element after the other in place; M4 views and buffers lie inside what they are cut from;
    M5 waits point backward and all ranks see one order; M6 the program can follow itself: nothing
    but state shares bytes with state or inputs, and each state has one last value; M7 a collective
    takes and gives what its kind says.

    M1, M2, M3 and M6 hold of every device by itself; `devices` names those to check (all).
    """
    for number, instruction in enumerate(program.instructions):
        for wait in instruction.waits:
            shared = wait < number and set(instruction.devices) & set(
                program.instructions[wait].devices
            )
            _require(bool(shared), "M5", f"{instruction.node} waits for instruction {wait}")
        for device, view in _views(instruction):
            _verify_view(program, device, view)
        problem = problem_of(instruction) if isinstance(instruction, Collective) else ""
        _require(not problem, "M7", problem)
    for device in range(program.mesh.size) if devices is None else devices:
        _DeviceCheck(program, device_order(program, device)).run()


def _views(instruction: Instruction) -> Iterator[tuple[int, View]]:
    """Everything an instruction accesses, with the device that does."""
    if isinstance(instruction, Launch):
        yield from ((instruction.device, v) for v in (*instruction.reads, *instruction.writes))
        return
    for part in instruction.parts:
        for views in (part.sources, part.targets):
            pairs = zip(instruction.devices, views, strict=True)
            yield from ((device, view) for device, view in pairs if view is not None)


def _verify_view(program: Program, device: int, view: View) -> None:
    buffer = program.buffer[view.buffer]
    end = (view.start + prod(view.shape)) * ITEM_BYTES[buffer.dtype]
    _require(buffer.device == device, "M4", f"{view.buffer} is not on device {device}")
    _require(view.start >= 0 and end <= buffer.nbytes, "M4", f"a view outside {view.buffer}")
    aligned = buffer.offset >= 0 and buffer.offset % ITEM_BYTES[buffer.dtype] == 0
    _require(aligned, "M4", f"{view.buffer} is placed at byte {buffer.offset}")


class _DeviceCheck:
    """The properties of one device's memory."""

    def __init__(self, program: Program, order: DeviceOrder) -> None:
        self.program, self.order = program, order
        self.buffers = [b for b in program.buffers if b.device == order.device and b.nbytes]
        self.reads: dict[str, int] = dict.fromkeys((b.name for b in self.buffers), 0)
        self.writes: dict[str, list[int]] = {b.name: [] for b in self.buffers}
        self.in_place: set[tuple[str, str]] = set()
        self.results = {v.buffer for port in program.outputs for v in port.views}
        self.initial = {v.buffer for port in (*program.inputs, *program.state) for v in port.views}

    def run(self) -> None:
        """Check M1, M2, M3 and M6."""
        for position, number in enumerate(self.order.ids):
            instruction = self.program.instructions[number]
            for view in instruction.reads:
                if view.buffer in self.reads:
                    self.reads[view.buffer] |= 1 << position
            for view in instruction.writes:
                if view.buffer in self.writes:
                    self.writes[view.buffer].append(position)
            pairs = in_place_pairs(self.program, instruction, self.order.device)
            self.in_place |= {(old.name, new.name) for old, new in pairs}
            if isinstance(instruction, Launch):
                self.in_place |= set(self._aliases(instruction))
        self._written_once()
        for a, b in self._sharing():
            self._follows_itself(a, b)
            self._ordered(a, b)

    def _aliases(self, launch: Launch) -> Iterator[tuple[str, str]]:
        """State that a launch reads and overwrites: buffers of one storage."""
        for write in launch.writes:
            for read in launch.reads:
                old, new = self.program.buffer[read.buffer], self.program.buffer[write.buffer]
                whole = (read.start, read.shape, read.format) == (0, write.shape, write.format)
                if old.storage == new.storage and old.offset == new.offset and whole:
                    yield old.name, new.name

    def _written_once(self) -> None:
        for b in self.buffers:
            given, writes = b.name in self.initial, self.writes[b.name]
            right = len(writes) == (0 if given else 1)
            _require(right, "M1", f"{b.name} is written {len(writes)} times")
            for write in writes:
                early = self.reads[b.name] & ~self._after(write, self.reads[b.name])
                _require(not early, "M2", f"{b.name} is read before it is written")

    def _after(self, position: int, among: int) -> int:
        """Those of a set of instructions that start after this one has ended."""
        later = 0
        while among:
            other = among.bit_length() - 1
            among ^= 1 << other
            later |= (self.order.before[other] >> position & 1) << other
        return later

    def _sharing(self) -> Iterator[tuple[Buffer, Buffer]]:
        """Pairs of buffers whose bytes overlap."""
        active: list[Buffer] = []
        for b in sorted(self.buffers, key=lambda b: b.offset):
            active = [a for a in active if a.offset + a.nbytes > b.offset]
            for a in active:
                yield a, b
            active.append(b)

    def _ordered(self, a: Buffer, b: Buffer) -> None:
        if not (self._over_before(a, b) or self._over_before(b, a)):
            what = f"share bytes ({a.offset}+{a.nbytes} and {b.offset}+{b.nbytes})"
            raise VerifyError(f"M3: {a.name} and {b.name} {what} while both are in use")

    def _over_before(self, a: Buffer, b: Buffer) -> bool:
        """Every access of `a` ends before `b` is written, or ends in that very place."""
        if not self.writes[b.name] or (a.name in self.results):
            return False
        write = self.writes[b.name][0]
        accesses = self.reads[a.name]
        for position in self.writes[a.name]:
            accesses |= 1 << position
        allowed = self.order.before[write]
        if (a.name, b.name) in self.in_place and a.offset == b.offset:
            allowed |= 1 << write
        return not accesses & ~allowed

    def _follows_itself(self, a: Buffer, b: Buffer) -> None:
        """What the next step reads shares its bytes with its own successor only."""
        lasting = {"persistent", "input"} & {a.kind, b.kind}
        same = a.storage == b.storage and a.offset == b.offset
        _require(same or not lasting, "M6", f"{a.name} overlaps {b.name}, one of them lasting")


def verify_bundle(bundle: Bundle) -> None:
    """B1 every program is sound; B2 all address the same state at the same bytes."""
    places: dict[str, int] = {}
    for program in (bundle.init, bundle.train, bundle.eval):
        verify_program(program)
        for port in program.state:
            for view in port.views:
                offset = places.setdefault(view.buffer, program.buffer[view.buffer].offset)
                same = offset == program.buffer[view.buffer].offset
                _require(same, "B2", f"{view.buffer} is at two places")
