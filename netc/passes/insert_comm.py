"""insert-comm: splits become placements, and every change of placement a communication node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from netc.ir.comm import redistribute
from netc.ir.derive import placements_of
from netc.ir.graph import Graph, GraphBuilder, Node
from netc.ir.ops import Sum
from netc.ir.plan import Plan, Split, along_axes
from netc.ir.types import Mesh, Partial, Placements, Replicate
from netc.strategies.labels import SCALARS


def insert_comm(graph: Graph, splits: Mapping[str, Split], mesh: Mesh) -> Plan:
    """Derive where every tensor lives from the splits, and redistribute where users disagree.

    A value is redistributed once for every placement that is asked of it. Gradients that meet at a
    fan-out are summed per placement first. Partial results of the graph are reduced.
    """
    inserter = _Inserter(graph, splits, mesh)
    for node in graph.nodes:
        inserter.place(node)
    outputs = tuple(inserter.output(name) for name in graph.outputs)
    placements = tuple(inserter.placement[name] for name in inserter.out.nodes)
    used = {node.layer for node in graph.nodes}
    chosen = tuple((layer, split) for layer, split in splits.items() if layer in used)
    return Plan(inserter.out.build(outputs), mesh, placements, chosen, graph.outputs)


class _Inserter:
    """Copies nodes, redistributing operands on the way."""

    def __init__(self, graph: Graph, splits: Mapping[str, Split], mesh: Mesh) -> None:
        self.graph, self.splits, self.mesh = graph, splits, mesh
        self.out = GraphBuilder(graph.name)
        self.placement: dict[str, Placements] = {}
        self.converted: dict[tuple[str, Placements], str] = {}
        self.renamed: dict[str, str] = {}
        self.everywhere: Split = ("r",) * len(mesh.shape)

    def split(self, node: Node) -> Split:
        """A node's own split or its layer's; an axis of one device splits nothing."""
        if node.layer == SCALARS:
            return self.everywhere
        return along_axes(node.split or self.splits[node.layer], self.mesh)

    def place(self, node: Node) -> None:
        """Add a node where its layer's split puts it."""
        wants, gives = placements_of(self.graph, node, self.split(node), self.mesh)
        if isinstance(node.op, Sum):
            self._sum(node, wants[0])
            return
        pairs = zip(node.inputs, wants, strict=True)
        self._add(node, tuple(self.convert(name, want, node) for name, want in pairs), gives)

    def output(self, name: str) -> str:
        """A result as the runtime can read it: anything but partial, and as users have it."""
        name = self.renamed.get(name, name)
        placement = self.placement[name]
        if _whole(placement):
            return name
        for (source, after), reduced in self.converted.items():
            if source == name and _whole(after):
                return reduced
        want = tuple(Replicate() if isinstance(p, Partial) else p for p in placement)
        return self.convert(name, want, self.out.nodes[name])

    def convert(self, name: str, want: Placements, user: Node) -> str:
        """The value `name` placed as `want`, through new communication nodes if need be."""
        name = self.renamed.get(name, name)
        for operation, after in redistribute(self.placement[name], want):
            key = (name, after)
            if key not in self.converted:
                fresh = self.out.fresh(f"{name}.{operation.kernel}")
                value = self.out.nodes[name]
                node = replace(
                    user, name=fresh, op=operation, inputs=(name,), type=value.type,
                    rows=value.rows, split=(),
                )  # fmt: skip
                self._add(node, (name,), after)
                self.converted[key] = fresh
            name = self.converted[key]
        return name

    def _add(self, node: Node, inputs: tuple[str, ...], placement: Placements) -> None:
        self.out.add(replace(node, inputs=inputs))
        self.placement[node.name] = placement

    def _sum(self, node: Node, want: Placements) -> None:
        """Sum what lives alike where it lives, then move each sum once."""
        groups: dict[Placements, list[str]] = {}
        for name in node.inputs:
            placement = self.placement[self.renamed.get(name, name)]
            groups.setdefault(placement, []).append(name)
        moved = []
        for number, (placement, names) in enumerate(groups.items()):
            part = self.renamed.get(names[0], names[0])
            if len(names) > 1:
                part = self.out.fresh(f"{node.name}.part{number}")
                own = tuple(self.renamed.get(name, name) for name in names)
                self._add(replace(node, name=part), own, placement)
            moved.append(self.convert(part, want, node))
        if len(moved) == 1:
            self.renamed[node.name] = moved[0]
        else:
            self._add(node, tuple(moved), want)


def _whole(placement: Placements) -> bool:
    """Whether blocks hold values, not shares of a sum."""
    return not any(isinstance(p, Partial) for p in placement)
