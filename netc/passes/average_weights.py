"""average-weights: evaluation reads the moving averages of weights, where training keeps some."""

from __future__ import annotations

from dataclasses import replace

from netc.ir import ops
from netc.ir.graph import Graph
from netc.ir.optimizers import AVERAGE, Chosen


def average_weights(graph: Graph, optimizer: Chosen) -> Graph:
    """A graph that does not train, with the average of every weight that moves in its place.

    Running statistics and frozen weights are as they are.
    """
    if optimizer.ema is None:
        return graph
    averaged = {
        node.name: node.name + AVERAGE
        for node in graph.nodes
        if isinstance(node.op, ops.Parameter) and not optimizer.rule(node.name).frozen
    }
    nodes = (
        replace(
            node,
            name=averaged.get(node.name, node.name),
            inputs=tuple(averaged.get(name, name) for name in node.inputs),
        )
        for node in graph.nodes
    )
    return Graph(graph.name, tuple(nodes), graph.outputs)
