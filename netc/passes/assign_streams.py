"""assign-streams: nodes become instructions of every device, on streams, in a good order.

Communication starts as early as its operands allow, computation keeps the graph's order, and
updates come last. Exchanges go to streams of their own, so that waits alone decide what overlaps:

    compute   conv ... | fc round 0 fwd+bwd | fc round 1 fwd+bwd | ... | conv backward | updates
    exchange    slice 0 | slice 1           | slice 2            |
    return                                  | gradients of 0     | gradients of 1
    gradient                                                        buckets of weight gradients

A round's slice takes the bytes of the slice two rounds before it: two buffers are enough.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace

from netc.cost import Cluster, exchange_seconds, launch_seconds, local_flops, plan_traffic
from netc.ir.comm import AllReduce, Broadcast, Comm
from netc.ir.graph import Node
from netc.ir.ops import Flatten, Parameter, RoundMerge, RoundSlice, Source, State, Unflatten
from netc.ir.ops.base import Site
from netc.ir.plan import Plan
from netc.ir.program import Buffer, Collective, Instruction, Launch, Part, Port, Program, View
from netc.ir.step import Attributes, Step
from netc.ir.types import ITEM_BYTES, Block, local_block

BUCKET_BYTES = 8 * 2**20
"""Weight gradients are exchanged together up to this size."""
SLOTS = 2
"""Buffers for the slices of the rounds, so that one fills while another is used."""


def assign_streams(plan: Plan, cluster: Cluster, name: str) -> Program:
    """The program of a plan, without waits and without memory."""
    return _Lowering(plan, cluster, name).run()


def schedule(plan: Plan) -> list[Node]:
    """The order of instructions: communication and views as soon as they can, the rest in order."""
    nodes = plan.graph.nodes
    index = {node.name: i for i, node in enumerate(nodes)}
    before: dict[str, set[str]] = {n.name: set(n.inputs) for n in nodes}
    for reader, writer in (*_overwrites(plan), *_slot_reuse(plan)):
        before[writer].add(reader)
    after: dict[str, list[str]] = {n.name: [] for n in nodes}
    missing = {name: len(sources) for name, sources in before.items()}
    for name, sources in before.items():
        for source in sources:
            after[source].append(name)

    def entry(node: Node) -> tuple[int, int]:
        return (0 if isinstance(node.op, Comm | Source) or node.op.view else 1, index[node.name])

    ready = [entry(n) for n in nodes if not missing[n.name]]
    heapq.heapify(ready)
    order = []
    while ready:
        node = nodes[heapq.heappop(ready)[1]]
        order.append(node)
        for name in after[node.name]:
            missing[name] -= 1
            if not missing[name]:
                heapq.heappush(ready, entry(nodes[index[name]]))
    assert len(order) == len(nodes), "the plan's dependences have a cycle"
    return order


def _readers(plan: Plan, name: str) -> Iterator[str]:
    """Everything that reads the bytes of a value, also through what may be stored in them."""
    for user in plan.graph.users[name]:
        yield user
        op = plan.graph[user].op
        if op.view or isinstance(op, Broadcast | RoundMerge):
            yield from _readers(plan, user)


def _overwrites(plan: Plan) -> Iterator[tuple[str, str]]:
    """(reader, writer) where an operation takes over the storage of an operand."""
    for node in plan.graph.nodes:
        if node.op.alias is not None:
            for reader in _readers(plan, node.inputs[node.op.alias]):
                if reader != node.name:
                    yield reader, node.name


def _slot_reuse(plan: Plan) -> Iterator[tuple[str, str]]:
    """(reader of an earlier round's slice, exchange that takes its slot)."""
    slots: dict[str, str] = {}
    for node, slot in _slots(plan):
        if slot in slots:
            for reader in _readers(plan, slots[slot]):
                yield reader, node.name
        slots[slot] = node.name


def _slots(plan: Plan) -> Iterator[tuple[Node, str]]:
    """Exchanged slices of rounds, with the storage that those placed alike take in turn."""
    for node in plan.graph.nodes:
        source = plan.graph[node.inputs[0]] if node.inputs else node
        if isinstance(node.op, Comm) and isinstance(source.op, RoundSlice):
            (place,) = plan.placement[node.name]
            yield node, f"{source.inputs[0]}.{place}.slot{source.op.index % SLOTS}"


class _Lowering:
    """Walks the schedule and writes buffers and instructions."""

    def __init__(self, plan: Plan, cluster: Cluster, name: str) -> None:
        self.plan, self.cluster, self.name = plan, cluster, name
        self.devices = range(plan.mesh.size)
        self.buffers: dict[str, Buffer] = {}
        self.views: dict[tuple[str, int], View] = {}
        self.instructions: list[Instruction] = []
        self.steps: dict[tuple[Step, ...], tuple[Step, ...]] = {}
        self.bucket: list[Node] = []
        self.slots = {node.name: slot for node, slot in _slots(plan)}
        self.traffic = plan_traffic(plan)

    def run(self) -> Program:
        """The program."""
        for node in schedule(self.plan):
            if self.bucket and self._reads_bucket(node):
                self._flush()
            self._lower(node)
        if self.bucket:
            self._flush()
        graph = self.plan.graph
        sources = [n for n in graph.nodes if isinstance(n.op, Source)]
        kept = [n for n in sources if isinstance(n.op, Parameter | State)]
        given = [n for n in sources if not isinstance(n.op, Parameter | State)]
        return Program(
            self.name,
            self.plan.mesh,
            tuple(self.buffers.values()),
            tuple(self.instructions),
            tuple(self._port(n) for n in given),
            tuple(
                replace(self._port(graph[node]), name=name)
                for name, node in zip(self.plan.results, graph.outputs, strict=True)
            ),
            tuple(self._port(n) for n in kept),
        )

    def _port(self, node: Node) -> Port:
        views = (self.views.get((node.name, d)) for d in self.devices)
        own = tuple(v for v in views if v is not None)
        return Port(node.name, node.type.dtype, node.type.shape, own)

    def _block(self, name: str, device: int) -> Block | None:
        type_ = self.plan.graph[name].type
        return local_block(type_, self.plan.placement[name], self.plan.mesh, device)

    def _lower(self, node: Node) -> None:
        if isinstance(node.op, Source):
            kind = "persistent" if isinstance(node.op, Parameter | State) else "input"
            for device in self.devices:
                self._allocate(node, device, kind)
        elif node.op.view:
            for device in self.devices:
                self._see(node, device)
        elif isinstance(node.op, Comm) and not node.op.on_device:
            self._communicate(node)
        else:
            for device in self.devices:
                self._launch(node, device)

    def _allocate(self, node: Node, device: int, kind: str = "temporary") -> View | None:
        """A new buffer for the device's block, and the view of all of it."""
        block = self._block(node.name, device)
        if block is None:
            return None
        name = f"{node.name}@{device}"
        nbytes = block.elements * ITEM_BYTES[node.type.dtype]
        storage = self.slots.get(node.name, node.name)
        if node.op.alias is not None:
            taken = self.buffers[self.views[node.inputs[node.op.alias], device].buffer]
            storage, kind = taken.storage, taken.kind
        self.buffers[name] = Buffer(name, device, nbytes, node.type.dtype, storage, kind)
        view = View(name, 0, block.shape, block.where, self.plan.format.get(node.name, ""))
        self.views[node.name, device] = view
        return view

    def _see(self, node: Node, device: int) -> None:
        """The operand's bytes under another shape, or some of its rows."""
        block = self._block(node.name, device)
        source = self.views.get((node.inputs[0], device))
        if block is None or source is None:
            return
        start = source.start
        if isinstance(node.op, RoundSlice) and node.op.scheme == "c":
            elements = block.elements
            start += node.op.index * elements
        assert isinstance(node.op, Flatten | Unflatten) or source.format == self._format(node)
        view = View(source.buffer, start, block.shape, block.where, self._format(node))
        self.views[node.name, device] = view

    def _format(self, node: Node) -> str:
        return self.plan.format.get(node.name, "")

    def _launch(self, node: Node, device: int) -> None:
        result = self._block(node.name, device)
        if result is None:
            return
        read = (n for i, n in enumerate(node.inputs) if i not in node.op.unread)
        names = [name for name in read if (name, device) in self.views]
        if isinstance(node.op, RoundMerge) and len(names) == 1:
            self.views[node.name, device] = replace(
                self.views[names[0], device], where=result.where
            )
            return
        view = self._allocate(node, device)
        assert view is not None
        if result.elements:
            self.instructions.append(self._kernel(node, device, names, view))

    def _kernel(self, node: Node, device: int, names: list[str], view: View) -> Launch:
        reads = tuple(self.views[name, device] for name in names)
        operands = tuple(Block(v.where, v.shape) for v in reads)
        types = tuple(self.plan.graph[name].type for name in names)
        result = Block(view.where, view.shape)
        steps = self._steps(node, device, Site(operands, types, result, node.type, node.rows))
        blocks = zip((*operands, result), (*types, node.type), strict=True)
        moved = sum(b.elements * ITEM_BYTES[type_.dtype] for b, type_ in blocks)
        flops = local_flops(self.plan.graph, node, operands, result)
        return Launch(
            device, "compute", node.name, "", steps, reads, (view,),
            node.layer, node.phase, node.span.origin if node.span else "",
            launch_seconds(self.cluster, node.type.dtype, flops, moved),
            tuple(i for i in node.op.overwritable() if reads[i].shape == view.shape),
        )  # fmt: skip

    def _steps(self, node: Node, device: int, site: Site) -> tuple[Step, ...]:
        """What a device does for a node; devices share what is equal."""
        steps = node.op.steps(site)
        if isinstance(node.op, Comm):
            cut = {"dim": node.op.attributes()["dim"], "start": self._start(node, device)}
            steps = (Step(node.op.kernel, (0,), Attributes.of(cut), site.result.shape),)
        return self.steps.setdefault(steps, steps)

    def _start(self, node: Node, device: int) -> int:
        """Where a local slice begins inside the block it is cut from."""
        dim = node.op.attributes()["dim"]
        here = self.views[node.name, device].where[dim]
        return int(here - self.views[node.inputs[0], device].where[dim])

    def _communicate(self, node: Node) -> None:
        targets: dict[int, View | None] = {d: self._target(node, d) for d in self.devices}
        if self._bucketed(node):
            self.bucket.append(node)
            if sum(n.type.nbytes for n in self.bucket) >= BUCKET_BYTES:
                self._flush()
            return
        self._emit([node], targets)

    def _target(self, node: Node, device: int) -> View | None:
        """Where the device's block goes; the root of a broadcast has it already."""
        root = getattr(node.op, "root", None)
        assert isinstance(node.op, Comm)
        at_root = self.plan.mesh.coordinates(device)[node.op.axis] == root
        held = self.views.get((node.inputs[0], device))
        if node.op.kernel == "broadcast" and at_root and held is not None:
            self.views[node.name, device] = held
            return None
        return self._allocate(node, device)

    def _bucketed(self, node: Node) -> bool:
        return isinstance(node.op, AllReduce) and node.phase == "update" and node.op.op == "sum"

    def _reads_bucket(self, node: Node) -> bool:
        waiting = {n.name for n in self.bucket}
        axes = {n.op.axis for n in self.bucket if isinstance(n.op, Comm)}
        other_axis = self._bucketed(node) and isinstance(node.op, Comm) and node.op.axis not in axes
        return other_axis or bool(waiting & set(node.inputs))

    def _flush(self) -> None:
        nodes, self.bucket = self.bucket, []
        self._emit(nodes, {})

    def _emit(self, nodes: list[Node], targets: dict[int, View | None]) -> None:
        """One collective for each group of devices along the axis."""
        first = nodes[0]
        assert isinstance(first.op, Comm)
        told = first.op.attributes()
        for group in self.plan.mesh.groups(first.op.axis):
            parts = tuple(p for n in nodes if _moves(p := self._part(n, group, targets)))
            if not parts:
                continue
            seconds = sum(
                exchange_seconds(self.cluster, {d: self.traffic[p.node][d] for d in group})
                for p in parts
            )
            self.instructions.append(
                Collective(
                    group, _stream(self.plan, first), first.op.kernel, told.get("op", ""),
                    told.get("root", -1), parts, first.layer, first.phase,
                    first.span.origin if first.span else "", seconds,
                )
            )  # fmt: skip

    def _part(self, node: Node, group: tuple[int, ...], targets: dict[int, View | None]) -> Part:
        sources = tuple(self.views.get((node.inputs[0], d)) for d in group)
        given = (targets[d] if d in targets else self.views.get((node.name, d)) for d in group)
        return Part(node.name, sources, tuple(given))


def _moves(part: Part) -> bool:
    """Whether any device gets anything: not where the group lies beside what holds the tensor."""
    return any(view is not None and 0 not in view.shape for view in part.targets)


def _stream(plan: Plan, node: Node) -> str:
    """The stream of a communication node, by what it connects."""
    users = [plan.graph[name] for name in plan.graph.users[node.name]]
    if node.phase == "update":
        return "gradient"
    if isinstance(plan.graph[node.inputs[0]].op, RoundSlice):
        return "exchange"
    if any(isinstance(user.op, RoundMerge) for user in users):
        return "return"
    return "inner"
