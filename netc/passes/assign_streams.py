"""assign-streams: nodes become instructions of every class of devices, on streams, in a good order.

Communication starts as early as its operands allow, computation keeps the graph's order, and
updates come last. Exchanges go to streams of their own, so that waits alone decide what overlaps:

    compute   conv ... | fc round 0 fwd+bwd | fc round 1 fwd+bwd | ... | conv backward | updates
    exchange    slice 0 | slice 1           | slice 2            |
    return                                  | gradients of 0     | gradients of 1
    gradient                                                        buckets of weight gradients
    weights   buckets of weights that are kept in shards

What is exchanged otherwise is on the stream `inner`, from where `exchange-in-line` takes what is
small and awaited.

A round's slice takes the bytes of the slice two rounds before it: two buffers are enough.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import replace
from math import prod

from netc.cost import (
    Cluster,
    ExchangePrice,
    after,
    copied_bytes,
    exchange_price,
    kernel_kind,
    launch_seconds,
    local_flops,
    moved_bytes,
    node_traffic,
)
from netc.ir.carriers import is_large
from netc.ir.classes import ClassBlocks, DeviceClass, class_numbers
from netc.ir.comm import AllGather, AllReduce, Broadcast, Comm, ReduceScatter
from netc.ir.graph import Node
from netc.ir.ops import (
    Cast,
    Flatten,
    Parameter,
    RoundMerge,
    RoundSlice,
    SourceOp,
    State,
    Unflatten,
    Update,
)
from netc.ir.ops.base import Site
from netc.ir.plan import Plan
from netc.ir.program import Buffer, Collective, Instruction, Launch, Part, Port, Program, View
from netc.ir.step import Attributes, Step
from netc.ir.types import ITEM_BYTES, Index, TensorPart, difference, local_block

BUCKET_BYTES = 8 * 2**20
"""Weight gradients are exchanged together up to this size."""
TOGETHER_BYTES = 2**18
"""Sums up to this size that one operation waits for are exchanged together: what such an exchange
takes is how long a message is on its way."""
SLOTS = 2
"""Buffers for the slices of the rounds, so that one fills while another is used."""


def assign_streams(
    plan: Plan, cluster: Cluster, name: str, classes: tuple[DeviceClass, ...]
) -> Program:
    """The program of a plan for classes of equal devices, without waits and without memory."""
    return _Lowering(plan, cluster, name, classes).run()


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
        return (0 if _is_soon(plan, node) else 1, index[node.name])

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


def _is_soon(plan: Plan, node: Node) -> bool:
    """Whether a node goes before what computes: also a weight that is cast to be sent."""
    if isinstance(node.op, Comm | SourceOp) or node.op.view:
        return True
    users = plan.graph.users[node.name] if isinstance(node.op, Cast) else ()
    return bool(users) and all(isinstance(plan.graph[user].op, Comm) for user in users)


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

    def __init__(
        self, plan: Plan, cluster: Cluster, name: str, classes: tuple[DeviceClass, ...]
    ) -> None:
        self.plan, self.cluster, self.name = plan, cluster, name
        self.classes = classes
        self.buffers: dict[str, Buffer] = {}
        self.views: dict[tuple[str, int], View] = {}
        """By value and class."""
        self.instructions: list[Instruction] = []
        self.steps: dict[tuple[Step, ...], tuple[Step, ...]] = {}
        self.bucket: list[Node] = []
        self.together: list[Node] = []
        """Small sums that wait for others, which the same operation reads."""
        self.gathered = 0
        """Bytes of weights that were gathered so far."""
        self.blocks = ClassBlocks(plan, classes)
        self.slots = {node.name: slot for node, slot in _slots(plan)}
        self.groups: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        """By axes the different groups of devices that there are."""

    def run(self) -> Program:
        """The program."""
        for node in schedule(self.plan):
            if self.bucket and self._ends_bucket(node):
                self._flush()
            if {n.name for n in self.together} & set(node.inputs):
                self._send_together()
            self._lower(node)
        if self.together:
            self._send_together()
        if self.bucket:
            self._flush()
        graph = self.plan.graph
        sources = [n for n in graph.nodes if isinstance(n.op, SourceOp)]
        kept = [n for n in sources if isinstance(n.op, Parameter | State)]
        given = [n for n in sources if not isinstance(n.op, Parameter | State)]
        return Program(
            self.name,
            self.plan.mesh,
            self.classes,
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
        views = (self.views.get((node.name, c)) for c in range(len(self.classes)))
        own = tuple(v for v in views if v is not None)
        return Port(node.name, node.type.dtype, node.type.shape, own)

    def _lower(self, node: Node) -> None:
        if isinstance(node.op, Comm) and not node.op.on_device:
            self._communicate(node)
            return
        for class_ in range(len(self.classes)):
            if isinstance(node.op, SourceOp):
                lasting = isinstance(node.op, Parameter | State)
                self._allocate(node, class_, "persistent" if lasting else "input")
            elif node.op.view:
                self._see(node, class_)
            else:
                self._launch(node, class_)

    def _allocate(self, node: Node, class_: int, kind: str = "temporary") -> View | None:
        """A new buffer for the block of each device, and the view of all of it."""
        block = self.blocks.of(node.name, class_)
        if block is None:
            return None
        name = f"{node.name}@{class_}"
        nbytes = block.elements * ITEM_BYTES[node.type.dtype]
        storage = self.slots.get(node.name, node.name)
        if node.op.alias is not None:
            taken = self.buffers[self.views[node.inputs[node.op.alias], class_].buffer]
            storage, kind = taken.storage, taken.kind
        self.buffers[name] = Buffer(name, class_, nbytes, node.type.dtype, storage, kind)
        view = View(name, 0, block.shape, block.where, self.plan.format.get(node.name, ""))
        self.views[node.name, class_] = view
        return view

    def _see(self, node: Node, class_: int) -> None:
        """The operand's bytes under another shape, or some of its rows."""
        block = self.blocks.of(node.name, class_)
        source = self.views.get((node.inputs[0], class_))
        if block is None or source is None:
            return
        start = source.start
        if isinstance(node.op, RoundSlice) and node.op.scheme == "c":
            elements = block.elements
            start += node.op.index * elements
        assert isinstance(node.op, Flatten | Unflatten) or source.format == self._format(node)
        view = View(source.buffer, start, block.shape, block.where, self._format(node))
        self.views[node.name, class_] = view

    def _format(self, node: Node) -> str:
        return self.plan.format.get(node.name, "")

    def _launch(self, node: Node, class_: int) -> None:
        result = self.blocks.of(node.name, class_)
        if result is None:
            return
        read = (n for i, n in enumerate(node.inputs) if i not in node.op.unread)
        names = [name for name in read if (name, class_) in self.views]
        if isinstance(node.op, RoundMerge) and len(names) == 1:
            self.views[node.name, class_] = replace(
                self.views[names[0], class_], where=result.where
            )
            return
        view = self._allocate(node, class_)
        assert view is not None
        if result.elements:
            self.instructions.append(self._kernel(node, class_, names, view))

    def _kernel(self, node: Node, class_: int, names: list[str], view: View) -> Launch:
        reads = tuple(self.views[name, class_] for name in names)
        operands = tuple(TensorPart(v.where, v.shape) for v in reads)
        types = tuple(self.plan.graph[name].type for name in names)
        result = TensorPart(view.where, view.shape)
        steps = self._steps(node, class_, Site(operands, types, result, node.type, node.rows))
        blocks = zip((*operands, result), (*types, node.type), strict=True)
        moved = sum(b.elements * ITEM_BYTES[type_.dtype] for b, type_ in blocks)
        flops = local_flops(self.plan.graph, node, operands, result)
        return Launch(
            class_, "compute", node.name, "", steps, reads, (view,),
            node.layer, node.phase, node.span.origin if node.span else "",
            launch_seconds(self.cluster, kernel_kind(node.op), node.type.dtype, flops, moved),
            tuple(i for i in node.op.overwritable() if reads[i].shape == view.shape),
        )  # fmt: skip

    def _steps(self, node: Node, class_: int, site: Site) -> tuple[Step, ...]:
        """What each device does for a node; classes share what is equal."""
        steps = node.op.steps(site)
        if isinstance(node.op, Comm):
            cut = {"dim": node.op.attributes()["dim"], "start": self._start(node, class_)}
            steps = (Step(node.op.kernel, (0,), Attributes.of(cut), site.result.shape),)
        return self.steps.setdefault(steps, steps)

    def _start(self, node: Node, class_: int) -> Index:
        """Where a local slice begins inside the block it is cut from."""
        dim = node.op.attributes()["dim"]
        whole = self.views[node.inputs[0], class_].where[dim]
        return difference(self.views[node.name, class_].where[dim], whole)

    def _communicate(self, node: Node) -> None:
        for class_ in range(len(self.classes)):
            self._target(node, class_)
        if others := self._read_together(node):
            self._put_together(node, others)
            return
        if not self._bucketed(node):
            self._emit([node])
            return
        self.bucket.append(node)
        if sum(n.type.nbytes for n in self.bucket) >= self._room(node):
            self._flush()

    def _read_together(self, node: Node) -> set[str]:
        """The small sums that an operation reads beside one, which are exchanged alike."""
        if not self._is_small_sum(node):
            return set()
        graph = self.plan.graph
        readers = (graph[user] for user in graph.users[node.name])
        beside = (graph[name] for user in readers for name in user.inputs if name != node.name)
        return {
            other.name for other in beside
            if self._is_small_sum(other) and self._way(other) == self._way(node)
        }  # fmt: skip

    def _is_small_sum(self, node: Node) -> bool:
        """Whether a node is a small sum that the next operation waits for."""
        op = node.op
        sums = isinstance(op, AllReduce) and op.op == "sum"
        return sums and node.type.nbytes <= TOGETHER_BYTES and _stream(self.plan, node) == "inner"

    def _put_together(self, node: Node, others: set[str]) -> None:
        """Exchange a small sum with those beside it, once the last of them is there."""
        if self.together and self._way(node) != self._way(self.together[0]):
            self._send_together()
        self.together.append(node)
        if others <= {n.name for n in self.together}:
            self._send_together()

    def _send_together(self) -> None:
        nodes, self.together = self.together, []
        self._emit(nodes)

    def _room(self, node: Node) -> int:
        """Bytes at which a bucket is full. The step waits for its first weights, so buckets of
        weights begin small, and grow to as much as went before.
        """
        return BUCKET_BYTES if node.phase == "update" else min(self.gathered, BUCKET_BYTES)

    def _target(self, node: Node, class_: int) -> None:
        """Where the blocks go; the root of a broadcast has it already."""
        held = self.views.get((node.inputs[0], class_))
        if self._has_already(node, class_) and held is not None:
            self.views[node.name, class_] = held
        else:
            self._allocate(node, class_)

    def _has_already(self, node: Node, class_: int) -> bool:
        op = node.op
        return isinstance(op, Broadcast) and self.classes[class_].first[op.axis] == op.root

    def _bucketed(self, node: Node) -> bool:
        """Whether a node is one of many: a gradient's sum, or a weight that is kept in shards."""
        op, stream = node.op, _stream(self.plan, node)
        sums = isinstance(op, AllReduce | ReduceScatter) and op.op == "sum"
        return (sums and stream == "gradient") or stream == "weights"

    def _ends_bucket(self, node: Node) -> bool:
        """Whether the bucket goes before a node: one that reads of it, that is exchanged otherwise,
        or computes while weights wait to be sent.
        """
        if {n.name for n in self.bucket} & set(node.inputs):
            return True
        if isinstance(node.op, Comm) and self._bucketed(node):
            return self._way(node) != self._way(self.bucket[0])
        return _stream(self.plan, self.bucket[0]) == "weights" and not _is_soon(self.plan, node)

    def _way(self, node: Node) -> tuple[str, str, tuple[int, ...]]:
        """What is alike in all of a bucket."""
        assert isinstance(node.op, Comm)
        return _stream(self.plan, node), node.op.kernel, node.op.axes

    def _flush(self) -> None:
        nodes, self.bucket = self.bucket, []
        if _stream(self.plan, nodes[0]) == "weights":
            self.gathered += sum(node.type.nbytes for node in nodes)
        self._emit(nodes)

    def _emit(self, nodes: list[Node]) -> None:
        """A collective for all groups of devices along the axes, of what moves in the same ones."""
        alike: dict[tuple[int, ...], list[Node]] = {}
        for node in nodes:
            assert isinstance(node.op, Comm)
            moving = (g for g in self._groups(node.op.axes) if self._moves(node, g))
            own = sorted({class_ for group in moving for class_ in group})
            alike.setdefault(tuple(own), []).append(node)
        for classes, moved in alike.items():
            if classes:
                self.instructions.append(self._collective(moved, classes))

    def _groups(self, axes: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The groups of devices along axes that differ, each as the classes it meets."""
        if axes not in self.groups:
            number = class_numbers(self.plan.mesh, self.classes)
            met = (tuple(dict.fromkeys(number[d] for d in g)) for g in self.plan.mesh.groups(axes))
            self.groups[axes] = list(dict.fromkeys(met))
        return self.groups[axes]

    def _collective(self, nodes: list[Node], classes: tuple[int, ...]) -> Collective:
        first = nodes[0]
        assert isinstance(first.op, Comm)
        attributes, price = first.op.attributes(), self._price(nodes, first.op)
        devices = (self.plan.mesh.device(self.classes[c].first) for c in classes)
        return Collective(
            classes, first.op.axes, _stream(self.plan, first), first.op.kernel,
            attributes.get("op", ""), attributes.get("root", -1),
            tuple(self._part(node, classes) for node in nodes), first.layer, first.phase,
            first.span.origin if first.span else "", price.seconds,
            tuple(price.ports[device] for device in devices), price.shared,
            self.cluster.while_exchanging,
        )  # fmt: skip

    def _part(self, node: Node, classes: tuple[int, ...]) -> Part:
        sources = (self.views.get((node.inputs[0], c)) for c in classes)
        given = (self._has_already(node, c) for c in classes)
        targets = (
            None if there else self.views.get((node.name, c))
            for there, c in zip(given, classes, strict=True)
        )
        return Part(node.name, tuple(sources), tuple(targets))

    def _moves(self, node: Node, group: tuple[int, ...]) -> bool:
        """Whether any device of a group gets anything: not where it lies beside what holds the
        tensor.
        """
        views = (
            None if self._has_already(node, c) else self.views.get((node.name, c)) for c in group
        )
        return any(view is not None and 0 not in view.shape for view in views)

    def _price(self, nodes: list[Node], op: Comm) -> ExchangePrice:
        """What moving several tensors at once takes."""
        mesh = self.plan.mesh
        moved = moved_bytes([node_traffic(self.plan, node) for node in nodes], mesh)
        # The first device has the largest blocks.
        blocks = (local_block(n.type, self.plan.placement[n.name], mesh, 0) for n in nodes)
        elements = sum(prod(block.shape) for block in blocks if block is not None)
        large = is_large(op.kernel, elements)
        strided = any(isinstance(node.op, Comm) and node.op.strided for node in nodes)
        price = exchange_price(self.cluster.links, mesh, op.axes, op.kernel, moved, large, strided)
        copied = sum(copied_bytes(self.plan, node) for node in nodes)
        return after(2 * copied / self.cluster.memory_bytes_per_second, price)


def _stream(plan: Plan, node: Node) -> str:
    """The stream of a communication node, by what it connects."""
    users = [plan.graph[name] for name in plan.graph.users[node.name]]
    if node.phase == "update":
        return "gradient"
    if isinstance(node.op, AllGather) and _is_weight(plan, node):
        return "weights"
    if isinstance(plan.graph[node.inputs[0]].op, RoundSlice):
        return "exchange"
    if any(isinstance(user.op, RoundMerge) for user in users):
        return "return"
    return "inner"


def _is_weight(plan: Plan, node: Node) -> bool:
    """Whether a communication node moves a weight, or what was cast of one."""
    source = plan.graph[node.inputs[0]]
    if isinstance(source.op, Comm):
        return _is_weight(plan, source)
    return isinstance(source.op, Parameter | Cast | Update)
