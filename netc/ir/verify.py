"""The verifiers: one for each value. A failure names the property, and is always our mistake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod

from netc.ir.collectives import disjoint, problem_of
from netc.ir.comm import Comm, transition
from netc.ir.graph import Graph, Node
from netc.ir.joined import overwritten
from netc.ir.launches import check_launch
from netc.ir.ops import Copy, Fused, Op, RoundMerge, RoundSlice, Source, Sum
from netc.ir.ops.base import ShapeError, parse_labels
from netc.ir.order import DeviceOrder, device_order
from netc.ir.plan import Plan, Split
from netc.ir.program import (
    STREAMS,
    Buffer,
    Bundle,
    Instruction,
    Launch,
    Port,
    Program,
    View,
    in_place_pairs,
)
from netc.ir.types import ITEM_BYTES, On, Partial, Placement, Placements, Replicate, Shard

ALIGNMENT_BYTES = 256
"""Between two buffers no more than this is left free."""


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
    for link in node.op.links:
        names = tuple(node.name if a < 0 else node.inputs[a] for a in link.args)
        _verify_op(plan, node, link.op, effective_split(plan, link.layer), names)


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
    """M1 every temporary buffer is written once, all of it, state and inputs only through an alias;
    M2 every read comes after the write of its buffer; M3 accesses to shared bytes are ordered, or
    one element after the other in place; M4 views and buffers lie inside what they are cut from,
    and are read as they were made; M5 waits point backward and all ranks see one order; M6 the
    program can follow itself: nothing but state shares bytes with state, and each state has one
    last value; M7 a collective takes and gives what its kind says; M8 so does a launch; M9 a port
    is covered by its views.

    M1, M2, M3 and M6 hold of every device by itself; `devices` names those to check alone, without
    M8 and M9 (all).
    """
    _verify_buffers(program)
    made = _made(program)
    for number, instruction in enumerate(program.instructions):
        _verify_instruction(program, number, instruction)
        for device, view in _views(instruction):
            _verify_view(program, device, view, made)
            # Only exchanges take some rows of what was made, those of a round.
            if isinstance(instruction, Launch) and not _is_whole(view, made.get(view.buffer, view)):
                raise VerifyError(f"M4: {instruction.node} accesses a part of {view.buffer}")
    if devices is None:
        for launch in program.instructions:
            if isinstance(launch, Launch):
                _verify_launch(program, launch)
        for ports in (program.inputs, program.outputs, program.state):
            _verify_ports(program, ports, made)
    for device in range(program.mesh.size) if devices is None else devices:
        _DeviceCheck(program, device_order(program, device)).run()


def _verify_buffers(program: Program) -> None:
    _require(len(program.buffer) == len(program.buffers), "M4", "two buffers of one name")
    for b in program.buffers:
        placed = b.offset >= 0 and b.offset % ITEM_BYTES[b.dtype] == 0
        if not placed or not 0 <= b.device < program.mesh.size:
            raise VerifyError(f"M4: {b.name} is at byte {b.offset} of device {b.device}")


def _made(program: Program) -> dict[str, View]:
    """How the contents of buffers were made: by what writes them, or as inputs or state."""
    views = [view for port in (*program.inputs, *program.state) for view in port.views]
    views += [view for instruction in program.instructions for view in instruction.writes]
    return {view.buffer: view for view in views}


def _verify_instruction(program: Program, number: int, instruction: Instruction) -> None:
    devices = set(instruction.devices)
    known = len(devices) == len(instruction.devices) and min(devices, default=-1) >= 0
    if not known or max(devices) >= program.mesh.size:
        raise VerifyError(f"M5: {instruction.node} is on devices {instruction.devices}")
    for wait in instruction.waits:
        if wait >= number or devices.isdisjoint(program.instructions[wait].devices):
            raise VerifyError(f"M5: {instruction.node} waits for instruction {wait}")
    for view in (*instruction.reads, *instruction.writes):
        if view.buffer not in program.buffer:
            raise VerifyError(f"M4: {instruction.node} accesses {view.buffer}, which is no buffer")
    if isinstance(instruction, Launch):
        if instruction.stream != STREAMS[0]:
            raise VerifyError(f"M5: {instruction.node} does not compute")
    elif problem := problem_of(program, instruction):
        raise VerifyError(f"M7: {problem}")


def _views(instruction: Instruction) -> Iterator[tuple[int, View]]:
    """Everything an instruction accesses, with the device that does."""
    if isinstance(instruction, Launch):
        yield from ((instruction.device, v) for v in (*instruction.reads, *instruction.writes))
        return
    for part in instruction.parts:
        for views in (part.sources, part.targets):
            pairs = zip(instruction.devices, views, strict=True)
            yield from ((device, view) for device, view in pairs if view is not None)


def _verify_view(program: Program, device: int, view: View, made: Mapping[str, View]) -> None:
    buffer, first = program.buffer[view.buffer], made.get(view.buffer)
    end = (view.start + prod(view.shape)) * ITEM_BYTES[buffer.dtype]
    if buffer.device != device or view.start < 0 or end > buffer.nbytes:
        raise VerifyError(f"M4: {view} is not inside of {view.buffer} on device {device}")
    if first is not None and view is not first and not _seen_as_made(view, first):
        raise VerifyError(f"M4: {view.buffer} is read as {view}, and made as {first}")


def _seen_as_made(view: View, made: View) -> bool:
    """Whether a view is some rows of what was made, all of each, as images or flat."""
    row, whole = prod(view.shape[1:]), prod(made.shape[1:])
    if len(view.shape) == len(made.shape):
        alike = (view.shape[1:], view.where[1:], view.format) == (
            made.shape[1:], made.where[1:], made.format)  # fmt: skip
    else:
        flat = {_flat(view), _flat(made)}
        alike = len(flat) == 1 and None not in flat
    # A round of some rows counts them from its own first one.
    return alike and row == whole and view.start % max(row, 1) == 0


def _is_whole(view: View, made: View) -> bool:
    """Whether a view is all rows of what was made."""
    return view.start == 0 and view.shape[:1] == made.shape[:1]


def _flat(view: View) -> int | None:
    """Where the rows of a block begin, seen as rows of numbers; None where they are no such."""
    if len(view.shape) == 2:
        return view.where[1]
    if len(view.shape) != 4:
        return None
    pixels = view.shape[2] * view.shape[3]
    whole = not any(view.where[2:]) and (view.format == "" or pixels == 1)
    return view.where[1] * pixels if whole else None


def _verify_launch(program: Program, launch: Launch) -> None:
    try:
        check_launch(program, launch)
    except (ShapeError, IndexError) as problem:
        raise VerifyError(f"M8: {launch.node} on device {launch.device}: {problem}") from None


def _verify_ports(program: Program, ports: tuple[Port, ...], made: Mapping[str, View]) -> None:
    _require(len({port.name for port in ports}) == len(ports), "M9", "two ports of one name")
    for port in ports:
        _require(bool(port.views), "M9", f"{port.name} is nowhere")
        for view in port.views:
            known = view.buffer in program.buffer
            _require(known, "M9", f"{port.name} is in {view.buffer}, which is no buffer")
            _verify_view(program, program.buffer[view.buffer].device, view, made)
            if not _is_block(program.buffer[view.buffer], view, port):
                raise VerifyError(f"M9: {view} is no block of {port.name}")
        _require(_covers(port), "M9", f"{port.name} is not covered by its blocks")
    for kind, lasting in (("input", program.inputs), ("persistent", program.state)):
        if lasting is ports:
            _verify_given(program, kind, [view for port in ports for view in port.views])


def _is_block(buffer: Buffer, view: View, port: Port) -> bool:
    return (
        buffer.dtype == port.dtype
        and len(view.shape) == len(port.shape)
        and all(w + n <= e for w, n, e in zip(view.where, view.shape, port.shape, strict=True))
    )


def _verify_given(program: Program, kind: str, views: list[View]) -> None:
    """What is there when a step begins is of that kind, and each in a whole buffer of its own."""
    names = {view.buffer for view in views}
    _require(len(names) == len(views), "M9", "two ports in one buffer")
    for view in views:
        b = program.buffer[view.buffer]
        whole = prod(view.shape) * ITEM_BYTES[b.dtype] == b.nbytes
        _require(b.kind == kind and whole, "M9", f"{view.buffer} is not the memory of {kind}")


def _covers(port: Port) -> bool:
    """Whether every element of a port is in exactly one of its different blocks."""
    blocks = {(view.where, view.shape): view for view in port.views if 0 not in view.shape}
    return disjoint(list(blocks.values())) and prod(port.shape) == sum(
        prod(view.shape) for view in blocks.values()
    )


class _DeviceCheck:
    """The properties of one device's memory."""

    def __init__(self, program: Program, order: DeviceOrder) -> None:
        self.program, self.order = program, order
        self.buffers = [b for b in program.buffers if b.device == order.device and b.nbytes]
        self.reads: dict[str, int] = dict.fromkeys((b.name for b in self.buffers), 0)
        self.writes: dict[str, list[int]] = {b.name: [] for b in self.buffers}
        self.written: dict[str, int] = {}
        """Elements that the last write of a buffer wrote."""
        self.in_place: set[tuple[str, str]] = set()
        self.replaced: set[str] = set()
        """Buffers that a launch overwrites state with."""
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
                    self.written[view.buffer] = prod(view.shape)
            pairs = in_place_pairs(self.program, instruction, self.order.device)
            self.in_place |= {(old.name, new.name) for old, new in pairs}
            if isinstance(instruction, Launch):
                self.in_place |= set(self._aliases(instruction))
        self._written_once()
        self._one_last_value()
        for a, b in self._sharing():
            self._follows_itself(a, b)
            self._ordered(a, b)

    def _aliases(self, launch: Launch) -> Iterator[tuple[str, str]]:
        """State that a launch reads and overwrites: buffers of one storage."""
        for before, after in overwritten(launch):
            new = self.program.buffer[after.buffer]
            old = new if before is None else self.program.buffer[before.buffer]
            same = (old.storage, old.offset, old.nbytes) == (new.storage, new.offset, new.nbytes)
            whole = before is None or (before.start, before.format) == (0, after.format)
            if not same or not whole:
                raise VerifyError(f"M6: {after.buffer} does not take over what it overwrites")
            self.replaced.add(new.name)
            yield old.name, new.name

    def _one_last_value(self) -> None:
        """State is written by what overwrites it alone, in its place."""
        given = (self.program.buffer[name] for name in self.initial)
        state = {(b.storage, b.offset) for b in given}
        for b in self.buffers:
            if b.kind == "persistent" and b.name not in self.initial:
                right = b.name in self.replaced and (b.storage, b.offset) in state
                _require(right, "M6", f"{b.name} is in the memory of state, and overwrites none")

    def _written_once(self) -> None:
        for b in self.buffers:
            given, writes = b.name in self.initial, self.writes[b.name]
            if len(writes) != (0 if given else 1):
                raise VerifyError(f"M1: {b.name} is written {len(writes)} times")
            if not given and self.written[b.name] * ITEM_BYTES[b.dtype] != b.nbytes:
                raise VerifyError(f"M1: {b.name} is not written whole")
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
        if a.kind == b.kind == "temporary":
            return
        same = (a.storage, a.offset, a.kind) == (b.storage, b.offset, b.kind)
        if not same or a.kind != "persistent":
            raise VerifyError(f"M6: {a.name} overlaps {b.name}, one of them lasting")


def verify_bundle(bundle: Bundle) -> None:
    """B1 every program is sound, on the same devices; B2 all have the same state at the same bytes,
    evaluation some of it; B3 `init` fills all of it; B4 no memory is reserved that nothing is in.
    """
    programs = (bundle.init, bundle.train, bundle.eval)
    state = {port.name: port for port in bundle.train.state}
    places: dict[str, int] = {}
    for program in programs:
        _require(program.mesh == bundle.train.mesh, "B1", "programs of several meshes")
        verify_program(program)
        for port in program.state:
            _require(state.get(port.name) == port, "B2", f"{port.name} is not the same state")
            for view in port.views:
                offset = places.setdefault(view.buffer, program.buffer[view.buffer].offset)
                same = offset == program.buffer[view.buffer].offset
                _require(same, "B2", f"{view.buffer} is at two places")
    _require(bundle.init.state == bundle.train.state, "B3", "not all state is filled")
    filled = {v.buffer for i in bundle.init.instructions for v in i.writes}
    filled_storages = {(b.device, b.storage) for b in bundle.init.buffers if b.name in filled}
    for b in bundle.init.buffers:
        right = not b.nbytes or b.kind != "persistent" or (b.device, b.storage) in filled_storages
        _require(right, "B3", f"{b.name} is not filled")
    buffers = [b for program in programs for b in program.buffers]
    needed = [max(each) for each in zip(*(p.arena_bytes for p in programs), strict=True)]
    room = [0] * len(needed)
    for b in buffers:
        room[b.device] += b.nbytes + ALIGNMENT_BYTES
    for device, (wanted, most) in enumerate(zip(needed, room, strict=True)):
        _require(wanted <= most, "B4", f"device {device} reserves {wanted} bytes for {most}")
