"""Placements derived from splits: the rule that makes every strategy mechanical."""

from __future__ import annotations

from netc.ir.graph import Graph, Node
from netc.ir.ops import RoundMerge, RoundSlice
from netc.ir.ops.base import parse_labels
from netc.ir.plan import Split
from netc.ir.types import On, Partial, Placement, Placements, Replicate, Shard


def placements_of(
    graph: Graph, node: Node, split: Split
) -> tuple[tuple[Placements, ...], Placements]:
    """What a node wants of its operands and gives as its result, derived from its labels.

    Splitting label L: an operand that carries L is sharded, one that lacks it replicated; a result
    that carries it is sharded, one that lacks it though an operand has it is partial.
    """
    if isinstance(node.op, RoundSlice | RoundMerge):
        return _round_placements(node)
    operands, result = parse_labels(node.op.labels(graph.operand_types(node)))
    carried = "".join(operands)
    wants = tuple(tuple(_place(label, own) for label in split) for own in operands)
    gives = tuple(
        Partial(node.op.reduction)
        if label in carried and label not in result
        else _place(label, result)
        for label in split
    )
    return wants, gives


def _place(label: str, own: str) -> Placement:
    if label.startswith("@"):
        return On(int(label[1:]))
    return Shard(own.index(label)) if label in own else Replicate()


def _round_placements(node: Node) -> tuple[tuple[Placements, ...], Placements]:
    """Scheme b: a round's rows live on their worker; scheme c: they stay sharded."""
    sharded: Placements = (Shard(0),)
    if isinstance(node.op, RoundSlice):
        gives: Placements = (On(node.op.worker),) if node.op.scheme == "b" else sharded
        return (sharded,), gives
    assert isinstance(node.op, RoundMerge)
    if node.op.scheme == "b":
        return tuple((On(worker),) for worker in node.op.workers), sharded
    return tuple(sharded for _ in node.inputs), sharded
