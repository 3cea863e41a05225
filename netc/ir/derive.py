"""Placements derived from splits: the rule that makes every strategy mechanical."""

from __future__ import annotations

from functools import lru_cache

from netc.ir.graph import Graph, Node
from netc.ir.ops import RoundMerge, RoundSlice
from netc.ir.ops.base import Op, parse_labels, place_of
from netc.ir.plan import Split
from netc.ir.types import (
    Halo,
    Mesh,
    On,
    Partial,
    Placement,
    Placements,
    Replicate,
    Shard,
    TensorPart,
    TensorType,
    local_block,
    windowed,
)


def placements_of(
    graph: Graph, node: Node, split: Split, mesh: Mesh
) -> tuple[tuple[Placements, ...], Placements]:
    """What a node wants of its operands and gives as its result, derived from its labels.

    Splitting label L: an operand that carries L is sharded, one that carries its capital is read by
    windows, one that lacks both replicated; a result that carries it is sharded, one that lacks it
    though an operand has it is partial. Windows that read exactly a shard each are that.
    """
    if isinstance(node.op, RoundSlice | RoundMerge):
        return _round_placements(node)
    types = (*graph.operand_types(node), node.type)
    return _placements(node.op, types, split, mesh)


def _placements(
    op: Op, types: tuple[TensorType, ...], split: Split, mesh: Mesh
) -> tuple[tuple[Placements, ...], Placements]:
    operands, result = parse_labels(op.labels(types[:-1]))
    carried = "".join(operands)
    wants: list[Placements] = []
    for number, own in enumerate(operands):
        places = (
            _windows(op, types, number, label) if label.upper() in own else _place(label, own)
            for label in split
        )
        wants.append(tuple(places))
        if windowed(wants[-1]):
            wants[-1] = _plain(types[number], wants[-1], mesh)
    gives = tuple(
        Partial(op.reduction)
        if label in carried and place_of(label, result) < 0
        else _place(label, result)
        for label in split
    )
    return tuple(wants), gives


def _place(label: str, own: str) -> Placement:
    if label.startswith("@"):
        return On(int(label[1:]))
    dim = place_of(label, own)
    return Replicate() if dim < 0 else Shard(dim)


def _windows(op: Op, types: tuple[TensorType, ...], number: int, label: str) -> Halo:
    """What an operand is to be where windows over one dimension of it are split."""
    operands, result = parse_labels(op.labels(types[:-1]))
    of, own = next((t, o) for t, o in zip(types, (*operands, result), strict=True) if label in o)
    divided = own.index(label)
    return Halo(
        operands[number].index(label.upper()),
        of.shape[divided],
        of.unit(divided),
        op.reach(label, number, types[:-1]),
    )


@lru_cache(4096)
def _plain(type_: TensorType, places: Placements, mesh: Mesh) -> Placements:
    """Shards in place of windows where each device's block is the same."""
    shards = tuple(Shard(p.dim) if isinstance(p, Halo) else p for p in places)
    devices = range(mesh.size)
    pairs = ((local_block(type_, each, mesh, d) for each in (places, shards)) for d in devices)
    return shards if all(_same(*pair) for pair in pairs) else places


def _same(one: TensorPart | None, other: TensorPart | None) -> bool:
    """Whether two blocks are the same part, or both empty."""
    empty = [part is None or 0 in part.shape for part in (one, other)]
    return all(empty) or one == other


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
