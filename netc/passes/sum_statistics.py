"""sum-statistics: where devices have terms of a mean and a variance, sums of both travel at once.

A variance about the mean waits for a mean that devices have exchanged, and is exchanged itself. The
sum of the squares waits for nothing: with the sum it is made in one pass over memory, both are one
exchange, and every device makes mean and variance of them (docs/adr/0030-one-exchange.md). Where a
device has all that a statistic is of, the variance about the mean stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from netc.ir.derive import placements_of
from netc.ir.graph import Graph, GraphBuilder, Node
from netc.ir.ops import (
    BnMean,
    BnSums,
    BnVar,
    GroupedMean,
    GroupedSums,
    GroupedVar,
    MeanOfSums,
    Op,
    VarOfSums,
)
from netc.ir.plan import Split, along_axes
from netc.ir.types import Mesh, Partial


def sum_statistics(graph: Graph, splits: Mapping[str, Split], mesh: Mesh) -> Graph:
    """The graph with mean and variance made of sums, where several devices have terms of them."""
    split = [
        var for var in graph.nodes
        if isinstance(var.op, BnVar | GroupedVar)
        and is_divided(graph, var, node_split(var, splits), mesh)
    ]  # fmt: skip
    return of_sums(graph, split)


def node_split(node: Node, splits: Mapping[str, Split]) -> Split:
    """A node's own split or its layer's."""
    return node.split or splits[node.layer]


def is_divided(graph: Graph, var: Node, split: Split, mesh: Mesh) -> bool:
    """Whether several devices have terms of a variance, and so of the mean before it."""
    _, gives = placements_of(graph, var, along_axes(split, mesh), mesh)
    return any(isinstance(place, Partial) for place in gives)


def of_sums(graph: Graph, variances: list[Node]) -> Graph:
    """The graph in which some variances, and the means before them, are made of sums."""
    if not variances:
        return graph
    means = {var.inputs[1]: var for var in variances}
    made = {var.name for var in variances}
    out = GraphBuilder(graph.name)
    for node in graph.nodes:
        if node.name in means:
            _add_sums(out, graph, node, means[node.name])
        elif node.name not in made:
            out.add(node)
    return out.build(graph.outputs)


def _add_sums(out: GraphBuilder, graph: Graph, mean: Node, var: Node) -> None:
    """Add sums, and what is made of them under the names that it has."""
    assert mean.inputs == var.inputs[:1], "a variance about the mean of something else"
    op = mean.op
    assert isinstance(op, BnMean | GroupedMean)
    apart = isinstance(op, GroupedMean) and op.apart
    sums: Op = BnSums(op.count)
    if isinstance(op, GroupedMean):
        sums = GroupedSums(op.group, op.count, apart=apart)
    name = out.fresh(f"{mean.layer}.sums")
    out.emit(name, sums, mean.inputs, mean)
    makers: tuple[tuple[Node, Callable[..., Op]], ...] = ((mean, MeanOfSums), (var, VarOfSums))
    for node, maker in makers:
        out.add(replace(node, op=maker(node.type.dtype, apart=apart), inputs=(name,)))
