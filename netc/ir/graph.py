"""The graph: nodes in topological order, each owning its ordered operands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from netc.errors import Span
from netc.ir.ops import Op
from netc.ir.types import TensorType
from netc.ir.views import Viewed

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True)
class Node:
    """One operation and its result."""

    name: str
    """Unique in the graph; weights carry the name of their layer, such as "conv1.weight"."""
    op: Op
    """What is computed."""
    inputs: tuple[str, ...]
    """Operands in order, by name."""
    type: TensorType
    """Global type of the result."""
    layer: str
    """The layer that it is of, whose split applies where it has none of its own."""
    phase: str = "forward"
    """forward, backward or update."""
    rows: tuple[tuple[int, int], ...] = ()
    """Global batch rows, as (start, count), behind dimension 0 in a round; empty: all of them."""
    split: tuple[str, ...] = ()
    """Its own split, a label for each mesh axis; empty: its layer's."""
    span: Span | None = field(default=None, compare=False)
    """Where the layer stands in the source."""


@dataclass(frozen=True)
class Graph(Viewed):
    """Nodes in topological order, and the names of the results. Not slotted: it caches views."""

    name: str
    """Name of the network."""
    nodes: tuple[Node, ...]
    """Every operand stands before its users."""
    outputs: tuple[str, ...]
    """Results that are kept: the loss, new state."""

    def __repr__(self) -> str:
        """One line."""
        return f"<Graph {self.name}: {len(self.nodes)} nodes>"

    def __getitem__(self, name: str) -> Node:
        return self.index[name]

    @cached_property
    def index(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return MappingProxyType({node.name: node for node in self.nodes})

    @cached_property
    def users(self) -> Mapping[str, tuple[str, ...]]:
        """For every node the nodes that read it, once for each use."""
        users: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for operand in node.inputs:
                users[operand].append(node.name)
        return MappingProxyType({name: tuple(names) for name, names in users.items()})

    @cached_property
    def by_layer(self) -> Mapping[str, tuple[Node, ...]]:
        """For every layer its nodes; layers in order of first appearance."""
        nodes: dict[str, list[Node]] = {}
        for node in self.nodes:
            nodes.setdefault(node.layer, []).append(node)
        return MappingProxyType({layer: tuple(own) for layer, own in nodes.items()})

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers in order of first appearance."""
        return tuple(self.by_layer)

    @cached_property
    def trains(self) -> bool:
        """Whether anything but forward values is computed."""
        return any(node.phase != "forward" for node in self.nodes)

    def operand_types(self, node: Node) -> tuple[TensorType, ...]:
        """Global types of a node's operands."""
        return tuple(self.index[name].type for name in node.inputs)

    def networkx(self) -> nx.MultiDiGraph[Any]:
        """A frozen networkx view; `add(x, x)` has two edges, each with its operand's position."""
        import networkx as nx

        view: nx.MultiDiGraph[Any] = nx.MultiDiGraph(name=self.name)
        view.add_nodes_from((node.name, {"node": node}) for node in self.nodes)
        for node in self.nodes:
            for position, operand in enumerate(node.inputs):
                view.add_edge(operand, node.name, position=position)
        return nx.freeze(view)


class GraphBuilder:
    """Collects nodes in order; passes use it to write their result."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: dict[str, Node] = {}

    def add(self, node: Node) -> Node:
        """Append a node whose operands are already there."""
        assert node.name not in self.nodes, f"two nodes named {node.name}"
        self.nodes[node.name] = node
        return node

    def emit(self, name: str, op: Op, inputs: tuple[str, ...], like: Node, **changes: Any) -> Node:
        """Append an operation that belongs to the layer, phase and place of `like`."""
        type_ = op.infer(*(self.nodes[i].type for i in inputs))
        node = replace(like, name=name, op=op, inputs=inputs, type=type_, **changes)
        return self.add(node)

    def fresh(self, name: str) -> str:
        """`name`, or `name.2` and so on where it is taken."""
        if name not in self.nodes:
            return name
        number = 2
        while f"{name}.{number}" in self.nodes:
            number += 1
        return f"{name}.{number}"

    def build(self, outputs: tuple[str, ...]) -> Graph:
        """The finished graph."""
        return Graph(self.name, tuple(self.nodes.values()), outputs)
