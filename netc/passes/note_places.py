"""note-places: where height or width of a pooling is split, places of maxima go to its gradient.

The gradient of max pooling finds a window's maximum again in the images. Windows that reach over
the edge of a shard would need images from both sides; a byte for each window says as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from netc.ir import ops
from netc.ir.graph import Graph, GraphBuilder, Node
from netc.ir.ops.pool import MOST_PLACES
from netc.ir.plan import Split, along_axes
from netc.ir.types import Mesh


def note_places(graph: Graph, splits: Mapping[str, Split], mesh: Mesh) -> Graph:
    """The graph with places noted forward, and read backward, of layers split by h or w. Windows of
    more pixels than a byte can tell stay as they are: their gradient is computed of whole images.
    """
    noted = {node.inputs[1] for node in graph.nodes if _needs(node, splits, mesh)}
    if not noted:
        return graph
    out = GraphBuilder(graph.name)
    for node in graph.nodes:
        if node.name in noted and isinstance(node.op, ops.MaxPool):
            out.add(node)
            noting = ops.MaxPoolPlaces(node.op.stride, node.op.pad, node.op.size, False)
            out.emit(f"{node.name}.places", noting, (node.inputs[0], node.name), node)
        elif isinstance(node.op, ops.MaxPoolDx) and node.inputs[1] in noted:
            image, pooled, share = node.inputs
            height, width = graph[image].type.shape[2:]
            op = ops.MaxPoolPlacesDx(node.op.stride, node.op.pad, node.op.size, (height, width))
            out.add(replace(node, op=op, inputs=(f"{pooled}.places", share)))
        else:
            out.add(node)
    return out.build(graph.outputs)


def _needs(node: Node, splits: Mapping[str, Split], mesh: Mesh) -> bool:
    if not isinstance(node.op, ops.MaxPoolDx) or prod(node.op.size) > MOST_PLACES:
        return False
    return bool({"h", "w"} & set(along_axes(splits[node.layer], mesh)))
