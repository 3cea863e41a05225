"""Placements derived from splits: the rule that makes every strategy mechanical."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product

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
    TensorType,
    shard_of,
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
    (found,) = placements_by_split(node.op, types, (split,), mesh)
    return found


def placements_by_split(
    op: Op, types: tuple[TensorType, ...], splits: Iterable[Split], mesh: Mesh
) -> list[tuple[tuple[Placements, ...], Placements]]:
    """For each of some splits, what an operation wants of operands and gives, of types."""
    own = list(splits)
    along = placements_by_label(op, types, dict.fromkeys(label for split in own for label in split))
    found = []
    for split in own:
        wants = zip(*(along[label][0] for label in split), strict=True)
        found.append((
            tuple(without_windows(t, want, mesh) for t, want in zip(types, wants, strict=False)),
            tuple(along[label][1] for label in split),
        ))  # fmt: skip
    return found


def placements_by_label(
    op: Op, types: tuple[TensorType, ...], labels: Iterable[str]
) -> dict[str, tuple[tuple[Placement, ...], Placement]]:
    """For each of some labels, what an operation wants of operands and gives along one mesh axis,
    of types, where all windows are told.
    """
    known = parse_labels(op.labels(types[:-1]))
    return {label: _along(op, types, known, label) for label in labels}


def _along(
    op: Op, types: tuple[TensorType, ...], labels: tuple[tuple[str, ...], str], label: str
) -> tuple[tuple[Placement, ...], Placement]:
    operands, result = labels
    wants = tuple(
        _windows(op, types, number, label) if label.upper() in own else _place(label, own)
        for number, own in enumerate(operands)
    )
    carried = any(label in own for own in operands)
    summed = carried and place_of(label, result) < 0
    return wants, Partial(op.reduction) if summed else _place(label, result)


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


def without_windows(type_: TensorType, places: Placements, mesh: Mesh) -> Placements:
    """What is wanted with shards in place of windows where each device's block is the same: then it
    is so along each dimension, since each of its positions is that of a device that has some of all
    others.
    """
    for dim, (windows, axes) in windowed(places).items():
        extents = tuple(mesh.shape[axis] for axis in axes)
        if not _reads_its_shard(type_.shape[dim], type_.unit(dim), windows, extents):
            return places
    return tuple(Shard(p.dim) if isinstance(p, Halo) else p for p in places)


@lru_cache(4096)
def _reads_its_shard(size: int, unit: int, windows: Halo, extents: tuple[int, ...]) -> bool:
    """Whether windows read at each position what its shard is, or nothing where that is empty."""
    for positions in product(*map(range, extents)):
        parts = list(zip(extents, positions, strict=True))
        start, stop = shard_of(size, unit, parts)
        span = windows.reach.span(*shard_of(windows.size, windows.unit, parts), size)
        if span != (start, stop) and not (span[0] == span[1] and start == stop):
            return False
    return True


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
