"""split-groups: what is split by whole groups is computed on each device by itself.

The filters of a grouped convolution read the channels of their own group. Where each device has
whole groups, and the channels are divided at the same places, nothing else has to be there: for
depthwise convolutions that is the difference between nothing and everything.

Batch normalization by groups of images needs the statistics of its own groups. Where each device
has whole groups of images, nothing of them is exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

from netc.ir.graph import Graph, Node
from netc.ir.ops import OF_GROUPS, GroupedStatistic, MeanOfSums, VarOfSums
from netc.ir.ops.conv import Convolution
from netc.ir.plan import Split, along_axes
from netc.ir.types import Mesh, shard_of


def split_groups(graph: Graph, splits: Mapping[str, Split], mesh: Mesh) -> Graph:
    """The graph with what has groups by groups, where these are divided among devices."""
    # The layer of scalars has no split, and no convolutions.
    nodes = (grouped(graph, n, splits.get(n.layer, ()), mesh) for n in graph.nodes)
    return Graph(graph.name, tuple(nodes), graph.outputs)


def is_of_groups(node: Node) -> bool:
    """Whether a node is of batch normalization by groups of images."""
    # Statistics of groups are matrices, those of the whole batch are not.
    of_sums = isinstance(node.op, MeanOfSums | VarOfSums) and node.type.rank == 2
    return isinstance(node.op, OF_GROUPS) or of_sums


def may_be_grouped(node: Node) -> bool:
    """Whether some splits of its layer make a node one by groups."""
    return is_of_groups(node) or (isinstance(node.op, Convolution) and node.op.groups > 1)


def grouped(graph: Graph, node: Node, split: Split, mesh: Mesh) -> Node:
    """A node as it is under a split of its layer: by groups where these are divided."""
    op = node.op
    if is_of_groups(node):
        assert isinstance(op, OF_GROUPS | MeanOfSums | VarOfSums)
        return replace(node, op=replace(op, apart=_are_apart(graph, node.layer, split, mesh)))
    if not may_be_grouped(node):
        return node
    assert isinstance(op, Convolution)
    types = (*graph.operand_types(node), node.type)
    channels, filters = types[op.image].shape[1], types[op.windows].shape[1]
    pairs = zip(mesh.shape, along_axes(split, mesh), strict=True)
    extents = [extent for extent, label in pairs if label == "k"]
    if not extents or not _divides(filters, channels, op.groups, extents):
        return node
    return replace(node, op=replace(op, by_groups=True))


def _are_apart(graph: Graph, layer: str, split: Split, mesh: Mesh) -> bool:
    """Whether the images of every device are whole groups of a layer's."""
    first = next(n for n in graph.by_layer[layer] if isinstance(n.op, GroupedStatistic))
    assert isinstance(first.op, GroupedStatistic)
    images, group = graph.operand_types(first)[0].shape[0], first.op.group
    pairs = zip(mesh.shape, along_axes(split, mesh), strict=True)
    extents = [extent for extent, label in pairs if label == "n"]
    for positions in product(*map(range, extents)):
        parts = list(zip(extents, positions, strict=True))
        start, stop = shard_of(first.type.shape[0], 1, parts)
        if shard_of(images, 1, parts) != (group * start, group * stop):
            return False
    return bool(extents)


def _divides(filters: int, channels: int, groups: int, extents: list[int]) -> bool:
    """Whether shards of filters are whole groups, and those of channels the same groups."""
    for positions in product(*map(range, extents)):
        parts = list(zip(extents, positions, strict=True))
        own, read = (shard_of(size, 1, parts) for size in (filters, channels))
        for k, c in zip(own, read, strict=True):
            if k * groups % filters or k * channels != c * filters:
                return False
    return True
