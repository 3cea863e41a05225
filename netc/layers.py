"""What a network or a plan costs, layer by layer: the figures behind every table."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from netc.cost import Cluster, local_flops, plan_traffic
from netc.ir.classes import ClassBlocks
from netc.ir.derive import placements_of
from netc.ir.graph import Graph, Node
from netc.ir.ops import Conv, Fc, Fused, Parameter, SourceOp
from netc.ir.plan import Plan, Split
from netc.ir.program import Collective, Launch, Program
from netc.ir.traffic import summed
from netc.ir.types import ITEM_BYTES, TensorPart, local_block
from netc.syntax.network import Network


@dataclass(frozen=True, slots=True)
class LayerSize:
    """A layer without a plan."""

    layer: str
    kind: str
    shape: tuple[int, ...]
    """Of one image's result."""
    parameters: int
    multiply_adds: int
    """Forward, for one image; convolutions and products only, as papers count."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """A layer in a plan: one training step, on the device where each figure is largest."""

    layer: str
    kind: str
    split: Split
    shape: tuple[int, ...]
    """Global shape of the result."""
    local_shape: tuple[int, ...]
    """What the first device that holds any of it holds."""
    flops: int
    """Forward, backward and update."""
    sent_bytes: int
    """What a device sends for this layer."""
    weight_bytes: int
    """Parameters and optimizer state of a device."""
    activation_bytes: int
    """Everything else the layer writes on a device, before memory is shared."""
    seconds: float
    """Predicted computation."""
    exchange_seconds: float
    """Predicted communication, hidden or not."""
    bound: str
    """What limits the layer: compute, memory, link or launch; "-" where it does nothing itself."""


def layer_facts(network: Network, graph: Graph) -> list[LayerSize]:
    """Every layer of the forward graph of one image, in order."""
    kinds = _kinds(network)
    facts = []
    for layer, nodes in graph.by_layer.items():
        computing = [n for n in nodes if n.inputs and n.phase == "forward"]
        if not computing:
            continue
        weights = sum(n.type.elements for n in nodes if isinstance(n.op, Parameter))
        products = [n for n in computing if isinstance(n.op, Conv | Fc)]
        work = sum(n.op.flops(_shapes(graph, n), n.type.shape) // 2 for n in products)
        kind = kinds.get(layer, "flatten")
        facts.append(LayerSize(layer, kind, computing[-1].type.shape[1:], weights, work))
    return facts


def _kinds(network: Network) -> dict[str, str]:
    return {layer.name: layer.kind for layer in network.layers}


def _shapes(graph: Graph, node: Node) -> tuple[tuple[int, ...], ...]:
    return tuple(t.shape for t in graph.operand_types(node))


def layer_costs(
    network: Network, graph: Graph, plan: Plan, program: Program, cluster: Cluster
) -> list[LayerCost]:
    """Every layer of a plan, in the order of `graph`, the graph before rounds were made."""
    sums = _Sums(plan, program)
    kinds = _kinds(network)
    costs = []
    for layer, every in graph.by_layer.items():
        nodes = [n for n in every if n.phase == "forward" and n.inputs]
        if not nodes:
            continue
        last = graph.index.get(layer, nodes[-1])
        split = plan.split[layer]
        local, shape = _local(plan, graph, last, split), last.type
        bound = _bound(sums, layer, cluster, shape.dtype)
        costs.append(
            LayerCost(
                layer, kinds.get(layer, "flatten"), split, shape.shape, local,
                max(sums.flops[layer]), max(sums.sent[layer]), max(sums.weights[layer]),
                max(sums.written[layer]), max(sums.seconds[layer]), max(sums.exchange[layer]),
                bound,
            )
        )  # fmt: skip
    return costs


def _local(plan: Plan, graph: Graph, node: Node, split: Split) -> tuple[int, ...]:
    """The part of a result on the first device that holds any, all rounds together."""
    _, gives = placements_of(graph, node, split, plan.mesh)
    blocks = (local_block(node.type, gives, plan.mesh, d) for d in range(plan.mesh.size))
    return next(block.shape for block in blocks if block is not None)


class _Sums:
    """Figures by layer, of each device of every class."""

    def __init__(self, plan: Plan, program: Program) -> None:
        self.plan, self.program = plan, program
        self.classes = range(len(program.classes))
        self.blocks = ClassBlocks(plan, program.classes)
        zero = [0 for _ in self.classes]
        self.flops: defaultdict[str, list[int]] = defaultdict(zero.copy)
        self.weights: defaultdict[str, list[int]] = defaultdict(zero.copy)
        self.written: defaultdict[str, list[int]] = defaultdict(zero.copy)
        self.moved: defaultdict[str, list[int]] = defaultdict(zero.copy)
        self.launches: defaultdict[str, list[int]] = defaultdict(zero.copy)
        blank = [0.0 for _ in self.classes]
        self.seconds: defaultdict[str, list[float]] = defaultdict(blank.copy)
        self.exchange: defaultdict[str, list[float]] = defaultdict(blank.copy)
        devices = [0] * plan.mesh.size
        self.sent: defaultdict[str, list[int]] = defaultdict(devices.copy)
        """Of every device: the last of a class may have shorter shards to reduce."""
        self._plan()
        self._program()

    def _plan(self) -> None:
        graph = self.plan.graph
        for name, traffic in plan_traffic(self.plan).items():
            layer = self.sent[graph[name].layer]
            for device, (sent, _) in traffic.items():
                layer[device] += sent
        for node in graph.nodes:
            for class_ in self.classes:
                block = self.blocks.of(node.name, class_)
                if block is None:
                    continue
                if isinstance(node.op, SourceOp):
                    kept = node.op.kernel in ("parameter", "state")
                    table = self.weights if kept else self.written
                    table[node.layer][class_] += block.elements * ITEM_BYTES[node.type.dtype]
                else:
                    self._compute(node, class_, block)

    def _compute(self, node: Node, class_: int, result: TensorPart) -> None:
        operands = [self.blocks.of(name, class_) for name in node.inputs]
        here = tuple(b for b in operands if b is not None)
        if isinstance(node.op, Fused) and len(here) == len(operands):
            for link in node.op.links:
                shapes = tuple(result.shape if a < 0 else here[a].shape for a in link.args)
                self.flops[link.layer][class_] += link.op.flops(shapes, result.shape)
        elif not node.op.view:
            self.flops[node.layer][class_] += local_flops(self.plan.graph, node, here, result)

    def _program(self) -> None:
        for instruction in self.program.instructions:
            if isinstance(instruction, Collective):
                for class_ in instruction.classes:
                    self.exchange[instruction.layer][class_] += instruction.seconds
            else:
                self._launch(instruction)

    def _launch(self, launch: Launch) -> None:
        layer, class_ = launch.layer, launch.class_
        self.seconds[layer][class_] += launch.seconds
        self.launches[layer][class_] += 1
        for view in (*launch.reads, *launch.writes):
            item = ITEM_BYTES[self.program.buffer[view.buffer].dtype]
            self.moved[layer][class_] += math.prod(view.shape) * item
        for view in launch.writes:
            buffer = self.program.buffer[view.buffer]
            if buffer.kind == "temporary":
                self.written[layer][class_] += buffer.nbytes


def _bound(sums: _Sums, layer: str, cluster: Cluster, dtype: str) -> str:
    """The largest of the times that computing, moving, launching or exchanging alone takes."""
    launches = max(sums.launches[layer])
    times = {
        "compute": max(sums.flops[layer]) / cluster.flops(dtype) if launches else 0.0,
        "memory": max(sums.moved[layer]) / cluster.memory_bytes_per_second,
        "link": max(sums.exchange[layer]),
        "launch": launches * cluster.launch_seconds,
    }
    worst = max(times, key=lambda name: times[name])
    return worst if times[worst] else "-"


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes of one device."""

    persistent: int
    inputs: int
    peak: int
    """The whole arena: what is needed at once, with bytes shared over time."""

    @property
    def temporary(self) -> int:
        """Activations and gradients."""
        return self.peak - self.persistent - self.inputs


def memory_use(program: Program) -> list[MemoryUse]:
    """Memory of every device."""
    by_class = []
    for buffers, peak in zip(program.buffers_of, program.arena_bytes, strict=True):
        kept = {b.storage: b.nbytes for b in buffers if b.kind == "persistent"}
        given = sum(b.nbytes for b in buffers if b.kind == "input")
        by_class.append(MemoryUse(sum(kept.values()), given, peak))
    return [by_class[class_] for class_ in program.class_of]


def sent_bytes(plan: Plan) -> list[tuple[int, int]]:
    """Bytes that every device sends and receives in a step."""
    total = summed(plan_traffic(plan).values())
    return [total.get(device, (0, 0)) for device in range(plan.mesh.size)]
