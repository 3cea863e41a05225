"""init-graph: the program that fills weights and state, placed as the training plan has them."""

from __future__ import annotations

from dataclasses import replace

from netc.ir import ops
from netc.ir.graph import Graph, GraphBuilder, Node
from netc.ir.ops.base import Op
from netc.ir.plan import Plan
from netc.ir.types import TensorType
from netc.passes.build_graph import SCALARS, key_of
from netc.passes.insert_comm import insert_comm


def init_plan(trained: Plan) -> Plan:
    """A plan that overwrites every parameter and state of `trained` with its initial value.

    Values are drawn by the global index of each element, so they do not depend on the placement.
    """
    out = GraphBuilder(trained.graph.name)
    seed = out.add(Node("seed", ops.Scalar(), (), TensorType("i64", ()), SCALARS))
    kept = [n for n in trained.graph.nodes if isinstance(n.op, ops.Parameter | ops.State)]
    for node in kept:
        out.add(node)
        op = _initial(trained.graph, node)
        inputs = (node.name, seed.name) if isinstance(op, ops.InitNormal) else (node.name,)
        like = replace(node, phase="update")
        out.add(replace(like, name=f"{node.name}.initial", op=op, inputs=inputs))
    plan = insert_comm(out.build(()), trained.split, trained.mesh)
    formats = tuple(
        (name, trained.format[node.name])
        for node in kept
        if node.name in trained.format
        for name in (node.name, f"{node.name}.initial")
    )
    return replace(plan, formats=formats)


def _initial(graph: Graph, node: Node) -> Op:
    """What fills a parameter or state."""
    if isinstance(node.op, ops.Averaged):
        return _initial(graph, graph[node.op.weight])
    op = node.op
    assert isinstance(op, ops.Parameter | ops.State)
    if isinstance(op, ops.Parameter) and op.std:
        return ops.InitNormal(op.dims, node.type, op.std, key_of(node.name))
    return ops.InitConstant(op.dims, node.type, op.value)
