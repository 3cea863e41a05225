"""fuse: elementwise neighbours join the operation before them and run in one launch.

A bias, activation, dropout or slope joins its producer where nothing else reads the value between
them, nothing is communicated between them, and both live alike. It comes after the choice of
splits, so it never restricts one.
"""

from __future__ import annotations

from dataclasses import replace

from netc.ir.comm import Comm
from netc.ir.graph import Graph, Node
from netc.ir.ops import Fused, Link, RoundMerge, SourceOp, SquareSum
from netc.ir.plan import Plan
from netc.ir.types import Placements


def fuse(plan: Plan) -> Plan:
    """Join every chain that can be joined."""
    merged: dict[str, Node] = {}
    for node in plan.graph.nodes:
        merged[node.name] = node
        position = _chained(plan, node, merged)
        if position is not None:
            before = merged.pop(node.inputs[position])
            merged[node.name] = _join(before, node, position)
    nodes = tuple(merged.values())
    placements: tuple[Placements, ...] = tuple(plan.placement[n.name] for n in nodes)
    graph = Graph(plan.graph.name, nodes, plan.graph.outputs)
    return replace(plan, graph=graph, placements=placements)


def _chained(plan: Plan, node: Node, merged: dict[str, Node]) -> int | None:
    """The operand whose producer `node` can join."""
    if node.op.alias is not None or isinstance(node.op, Comm):
        return None
    for position in node.op.overwritable():
        name = node.inputs[position]
        if name in merged and _can_join(plan, merged[name], node):
            return position
    return None


def _can_join(plan: Plan, before: Node, node: Node) -> bool:
    same = plan.placement[before.name] == plan.placement[node.name]
    return same and may_join(plan.graph, before, node)


def may_join(graph: Graph, before: Node, node: Node) -> bool:
    """Whether a node can run in the launch of the one before it, where both live alike."""
    op = before.op
    # Squares of gradients are added up across layers, whose splits differ.
    apart = isinstance(op, Comm | SourceOp | RoundMerge | SquareSum)
    plain = not (op.view or op.alias is not None or apart)
    alone = graph.users[before.name] == (node.name,) and before.name not in graph.outputs
    alike = (before.type, before.phase, before.rows) == (node.type, node.phase, node.rows)
    return plain and alone and alike


def _links(node: Node) -> tuple[Link, ...]:
    if isinstance(node.op, Fused):
        return node.op.links
    return (Link(node.op, tuple(range(len(node.inputs))), node.layer),)


def _join(before: Node, node: Node, position: int) -> Node:
    """One node of both, named after the later, in the layer of the first."""
    inputs = list(before.inputs)
    args = []
    for index, name in enumerate(node.inputs):
        if index == position:
            args.append(-1)
            continue
        if name not in inputs:
            inputs.append(name)
        args.append(inputs.index(name))
    last = Link(node.op, tuple(args), node.layer)
    fused = Fused((*_links(before), last))
    return replace(
        node, op=fused, inputs=tuple(inputs), layer=before.layer, span=before.span or node.span
    )
