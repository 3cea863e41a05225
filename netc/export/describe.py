"""A plan seen from afar: its layers and its exchanges, without nodes and copies for rounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from netc.cost import plan_traffic
from netc.ir import ops
from netc.ir.comm import Comm
from netc.ir.facts import REPLICATED
from netc.ir.graph import Node
from netc.ir.ops.base import Op
from netc.ir.plan import Plan, Split
from netc.ir.program import Program
from netc.ir.programs import TRAIN
from netc.ir.traffic import Traffic, summed
from netc.ir.types import TensorPart, TensorType, local_block
from netc.strategies.labels import SCALARS
from netc.syntax.network import Layer, NamedValues, Network
from netc.trace.spans import StepTrace

ROLES = ("activation", "gradient", "weights", "statistics", "places", "labels")
"""What is exchanged: the result of a layer for the next one, its gradient on the way back, a
layer's weights or their gradients, sums within a layer (batch norm, softmax), places of the maxima
of a pooling, the labels."""


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """A layer of the network as the plan has it."""

    name: str
    kind: str
    """As in the network file; "input" for an input."""
    options: NamedValues
    inputs: tuple[str, ...]
    """The layers it reads."""
    type: TensorType
    """Of its result, for the whole batch."""
    split: Split
    local: tuple[int, ...]
    """What the first device that takes part holds of the result, of one round if there are any."""
    parameters: int
    """Trained weights."""
    local_parameters: int
    """Those of the device that holds the most."""
    flops: int
    """Floating-point operations forward, for the whole batch, over all devices."""
    rounds: int
    """How often a step runs it, each time on other examples."""


@dataclass(frozen=True, slots=True)
class ExchangeFacts:
    """One communication node."""

    name: str
    """The plan's node."""
    kind: str
    """all_reduce, all_gather, broadcast ..."""
    axes: tuple[int, ...]
    """Mesh axes whose groups take part."""
    role: str
    """One of `ROLES`."""
    phase: str
    """When: forward, backward or update."""
    source: str
    """The layer that computes what is moved."""
    targets: tuple[str, ...]
    """The layers that read it."""
    round: int | None
    """The round it belongs to; None for once a step."""
    traffic: Traffic
    """Bytes (sent, received) in a step, by device."""


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What a picture or a file of a plan says that the plan itself does not know."""

    strategy: str
    """Name of the strategy, or of the strategy file."""
    scheme: str = ""
    """Exchange scheme in force: a, b or c; empty where nothing is exchanged in rounds."""
    cluster: str = ""
    """Name of the machine that is planned for."""
    memory_bytes: tuple[int, ...] = ()
    """Memory needed, by device; empty if not known."""
    step_seconds: float | None = None
    """Predicted duration of a step."""
    notes: tuple[str, ...] = ()
    """Whatever else there is to say, one sentence each."""
    updates: str = REPLICATED
    """How devices that have the same weights update them."""
    goal: str = TRAIN
    """Whose step it is: training's, or evaluation's ("eval")."""
    phases: bool = False
    """Whether forward and backward pass are drawn as two lanes."""
    program: Program | None = None
    """What the plan became, with memory planned: its clock and its memory are shown."""
    costs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By layer the figures of `netc.layers.LayerCost`."""
    alternatives: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """By layer the splits that it could have, as `netc.planner.why.Alternative`, for pages."""
    trace: StepTrace | None = None
    """A step of the program that was measured, for pages."""


@dataclass(frozen=True, slots=True)
class Description:
    """All layers and exchanges of a plan."""

    layers: tuple[LayerFacts, ...]
    """In topological order, inputs first; flattenings that the compiler inserted are among them."""
    exchanges: tuple[ExchangeFacts, ...]
    """In the order of the plan; what needs no other device is left out."""
    batch: int
    """Examples of a step."""

    @property
    def parameters(self) -> int:
        """Trained weights of the network."""
        return sum(layer.parameters for layer in self.layers)


def describe(plan: Plan, network: Network) -> Description:
    """The layers of `network` with what `plan` makes of them."""
    return _Reader(plan, network).description()


Rows = tuple[tuple[int, int], ...]
"""The examples of a node, as `Node.rows`."""


def round_numbers(plan: Plan) -> dict[Rows, int]:
    """The numbers of rounds, from 0 up, by the examples that they run."""
    rows = {node.rows for node in plan.graph.nodes if node.rows}
    return {each: number for number, each in enumerate(sorted(rows))}


def layers_of(node: Node) -> tuple[str, ...]:
    """The layers that a node, which may be fused, computes something of, in order."""
    own = (link.layer for link in node.op.links) if isinstance(node.op, ops.Fused) else ()
    return tuple(dict.fromkeys((node.layer, *own)))


def total_traffic(exchanges: Iterable[ExchangeFacts]) -> Traffic:
    """Bytes (sent, received) of all of them, by device."""
    return summed(exchange.traffic for exchange in exchanges)


def most_sent(traffic: Traffic) -> int:
    """Bytes that the device sends which sends the most."""
    return max((sent for sent, _ in traffic.values()), default=0)


def owner(node: Node) -> str:
    """The layer whose result a node is."""
    return node.op.links[-1].layer if isinstance(node.op, ops.Fused) else node.layer


_MOVES = (Comm, ops.RoundSlice, ops.RoundMerge, ops.Copy)
"""Operations that compute nothing; their node is in the layer that it was put in for."""


@dataclass(slots=True)
class _Reader:
    plan: Plan
    network: Network
    flops: dict[str, int] = field(default_factory=dict)
    results: dict[str, dict[object, Node]] = field(default_factory=dict)
    """By layer and by round the node that gives its result."""
    weights: dict[str, list[Node]] = field(default_factory=dict)
    """Parameters by layer."""

    def description(self) -> Description:
        for node in self.plan.graph.nodes:
            if node.phase == "forward" and not isinstance(node.op, (*_MOVES, ops.Accumulate)):
                self._compute(node)
        inputs = (
            Layer(spec.name, "input", NamedValues(), (), spec.span) for spec in self.network.inputs
        )
        known = [*inputs, *self._with_flattenings()]
        layers = tuple(self._layer(layer) for layer in self._present(known))
        batch = self.plan.graph["labels"].type.shape[0]
        return Description(layers, tuple(self._exchanges()), batch)

    def _present(self, layers: Iterable[Layer]) -> Iterator[Layer]:
        """Those that the plan has: inference leaves some out, and what follows them reads what they
        would.
        """
        stands: dict[str, str] = {}
        for layer in layers:
            inputs = tuple(stands.get(name, name) for name in layer.inputs)
            if layer.name in self.results:
                yield replace(layer, inputs=inputs)
            else:
                (stands[layer.name],) = inputs

    def _compute(self, node: Node) -> None:
        """Count a node of the forward pass for the layers it belongs to."""
        shapes = tuple(t.shape for t in self.plan.graph.operand_types(node))
        for layer, op, operands in _steps(node, shapes):
            if not isinstance(op, ops.SourceOp | ops.Flatten):
                flops = op.flops(operands, node.type.shape)
                self.flops[layer] = self.flops.get(layer, 0) + flops
            if isinstance(op, ops.Parameter):
                self.weights.setdefault(layer, []).append(node)
            elif not isinstance(op, ops.State | ops.MaxPoolPlaces):
                self.results.setdefault(layer, {})[node.rows] = node

    def _with_flattenings(self) -> Iterator[Layer]:
        """The network's layers, and in front of their readers those that build-graph inserted."""
        written = {layer.name for layer in self.network.layers}
        inserted = [name for name in self.results if self._is_flatten(name) and name not in written]
        readers = {name: self._readers(name) for name in inserted}
        for layer in self.network.layers:
            for name in inserted:
                if layer.name in readers[name]:
                    before = self._origin(next(iter(self.results[name].values())).inputs[0])
                    yield Layer(name, "flatten", NamedValues(), (owner(before),))
                    inputs = tuple(name if x == owner(before) else x for x in layer.inputs)
                    layer = replace(layer, inputs=inputs)
            yield layer

    def _is_flatten(self, layer: str) -> bool:
        return any(isinstance(node.op, ops.Flatten) for node in self.results[layer].values())

    def _readers(self, layer: str) -> set[str]:
        values = (node.name for node in self.results[layer].values())
        return {name for value in values for name in self._targets(value)}

    def _layer(self, layer: Layer) -> LayerFacts:
        rounds = tuple(self.results[layer.name].values())
        first, plan = rounds[0], self.plan
        images = sum(node.type.shape[0] for node in rounds) if first.type.shape else 0
        shape = (images, *first.type.shape[1:]) if first.type.shape else ()
        return LayerFacts(
            layer.name,
            layer.kind,
            layer.options,
            layer.inputs,
            replace(first.type, shape=shape),
            plan.split[layer.name],
            next(block.shape for block in self._blocks(first) if block is not None),
            sum(node.type.elements for node in self.weights.get(layer.name, ())),
            self._local_parameters(layer.name),
            self.flops.get(layer.name, 0),
            len(rounds),
        )

    def _blocks(self, node: Node) -> Iterator[TensorPart | None]:
        """What each device holds of a value."""
        mesh, places = self.plan.mesh, self.plan.placement[node.name]
        return (local_block(node.type, places, mesh, device) for device in range(mesh.size))

    def _local_parameters(self, layer: str) -> int:
        held = [0] * self.plan.mesh.size
        for node in self.weights.get(layer, ()):
            for device, block in enumerate(self._blocks(node)):
                held[device] += block.elements if block is not None else 0
        return max(held)

    def _exchanges(self) -> Iterator[ExchangeFacts]:
        traffic = plan_traffic(self.plan)
        rounds = round_numbers(self.plan)
        for node in self.plan.graph.nodes:
            if isinstance(node.op, Comm) and not node.op.on_device:
                index = rounds.get(node.rows)
                role, source, targets = self._route(node)
                yield ExchangeFacts(
                    node.name, node.op.kernel, node.op.axes, role, node.phase, source, targets,
                    index, traffic[node.name],
                )  # fmt: skip

    def _route(self, node: Node) -> tuple[str, str, tuple[str, ...]]:
        """Role, source and targets of a communication node."""
        if node.layer == SCALARS:
            # One number of all gradients together stands beside the loss, where they begin.
            last = self.network.layers[-1].name
            return "weights", last, (last,)
        origin = self._origin(node.name)
        source = owner(origin)
        weight = re.sub(r"@[\d.]+$", "", origin.name).removesuffix(".grad")
        weighs = isinstance(origin.op, ops.Parameter | ops.Cast | ops.Update)
        if weighs or (weight != origin.name and self._is_weight(weight)):
            return "weights", source, (node.layer,)
        if origin.phase != "forward":
            return "gradient", source, (node.layer,)
        targets = self._targets(node.name) or (node.layer,)
        if source == "labels":
            return "labels", source, targets
        inside = "places" if node.type.dtype == "u8" else "statistics"
        return (inside if source in targets else "activation"), source, targets

    def _is_weight(self, name: str) -> bool:
        found = self.plan.graph.index.get(name)
        return found is not None and isinstance(found.op, ops.Parameter)

    def _origin(self, name: str) -> Node:
        """The node that computes a value, before it was moved or cut in rounds."""
        node = self.plan.graph[name]
        return self._origin(node.inputs[0]) if isinstance(node.op, _MOVES) else node

    def _targets(self, name: str) -> tuple[str, ...]:
        """The layers that read a value in the forward pass, once it has been moved."""
        found: dict[str, None] = {}
        for user in dict.fromkeys(self.plan.graph.users[name]):
            node = self.plan.graph[user]
            if node.phase == "forward":
                moved = isinstance(node.op, _MOVES)
                found |= dict.fromkeys(self._targets(user) if moved else _reading(node, name))
        return tuple(found)


def _steps(
    node: Node, shapes: tuple[tuple[int, ...], ...]
) -> Iterator[tuple[str, Op, tuple[tuple[int, ...], ...]]]:
    """(layer, operation, shapes of its operands) of everything a node computes."""
    if not isinstance(node.op, ops.Fused):
        yield node.layer, node.op, shapes
        return
    for link in node.op.links:
        operands = (node.type.shape if a < 0 else shapes[a] for a in link.args)
        yield link.layer, link.op, tuple(operands)


def _reading(node: Node, name: str) -> tuple[str, ...]:
    """The layers of a node, which may be fused, that read `name`."""
    if not isinstance(node.op, ops.Fused):
        return (node.layer,)
    wanted = {position for position, operand in enumerate(node.inputs) if operand == name}
    return tuple(link.layer for link in node.op.links if wanted.intersection(link.args))
