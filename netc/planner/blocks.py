"""Equal blocks of a network: layers that a search splits alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netc.ir.graph import Graph
from netc.ir.ops.base import Op
from netc.ir.types import TensorType

Signature = tuple[tuple[str, tuple[tuple[Op, tuple[TensorType, ...], TensorType], ...]], ...]
"""Of a block: its layers by their names in it, with what their nodes compute of which types."""


def alike(graph: Graph, layers: Sequence[str]) -> dict[str, str]:
    """For layers of a block that is equal to an earlier one beside it, such as the third of a
    stage, the layer that has its place there. Layers are in blocks by their names; blocks are
    equal where all layers have the same names in them and compute the same of the same types.
    """
    found: dict[str, str] = {}
    known: dict[tuple[str, Signature], str] = {}
    for block, own in _blocks(layers):
        if own[0] in found:
            # It is part of a block that is like another one as a whole.
            continue
        parent = block.rpartition(".")[0]
        first = known.setdefault((parent, _signature(graph, block, own)), block)
        if first != block:
            found |= {layer: first + layer.removeprefix(block) for layer in own}
    return found


def _blocks(layers: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Blocks with their layers, outer ones first."""
    inside: dict[str, list[str]] = {}
    for layer in layers:
        parts = layer.split(".")
        for depth in range(1, len(parts)):
            inside.setdefault(".".join(parts[:depth]), []).append(layer)
    yield from sorted(inside.items(), key=lambda each: each[0].count("."))


def _signature(graph: Graph, block: str, layers: Sequence[str]) -> Signature:
    return tuple(
        (
            layer.removeprefix(block),
            tuple((n.op, graph.operand_types(n), n.type) for n in graph.by_layer[layer]),
        )
        for layer in layers
    )
