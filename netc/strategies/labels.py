"""Which splits a layer has, and why it lacks the others."""

from __future__ import annotations

import re

from netc.ir.graph import Graph, Node
from netc.ir.ops import Cast, Input, RoundMerge, RoundSlice
from netc.ir.ops.base import parse_labels
from netc.ir.plan import Split

SCALARS = "scalars"
"""The layer of step, seed, learning rate and count: always on every device."""
REPLICATED = "r"
"""Every device computes the whole layer."""
NAMES = {
    "n": "the batch",
    "k": "the output channels",
    "c": "the input channels",
    "h": "the height",
    "w": "the width",
}
_REASONS = {
    ("concat", "k"): "shards of its parts are not shards of the whole",
    ("conv", "h"): "some of its windows lie in the padding alone",
    ("conv", "w"): "some of its windows lie in the padding alone",
    ("flatten", "h"): "some rows of every channel are not one run of the values it makes",
    ("flatten", "w"): "some columns of every channel are not one run of the values it makes",
    ("conv", "c"): "its groups read different input channels",
}


def node_labels(graph: Graph, node: Node) -> tuple[tuple[str, ...], str]:
    """Operand labels and result labels of a node."""
    return parse_labels(node.op.labels(graph.operand_types(node)))


def layer_kind(graph: Graph, layer: str) -> str:
    """The kind of a layer, read off its first computing node."""
    kernel = next((n.op.kernel for n in graph.by_layer[layer] if _computes(n)), "input")
    return _KINDS.get(kernel, kernel)


_KINDS = {
    "row_max": "softmax_loss",
    **dict.fromkeys(("bn_mean", "bn_norm", "bn_sums", "grouped_mean", "grouped_sums"), "bn"),
}
"""Kinds of layers that are not called as what they begin with."""


def _computes(node: Node) -> bool:
    """Whether a node is more than a source, or a weight in another data type."""
    return bool(node.inputs) and not isinstance(node.op, Cast)


def layer_letters(graph: Graph) -> dict[str, str]:
    """For every layer that can be split, the labels it has, in the order n k c h w.

    A layer's first computing node has them all; those after it, such as a bias, may have more.
    """
    first: dict[str, Node] = {}
    for node in graph.nodes:
        if node.layer != SCALARS and not isinstance(node.op, RoundSlice | RoundMerge):
            known = first.setdefault(node.layer, node)
            first[node.layer] = known if _computes(known) else node
    labels = {layer: node_labels(graph, node) for layer, node in first.items()}
    return {
        layer: "".join(c for c in NAMES if c in "".join(operands) + result)
        for layer, (operands, result) in labels.items()
    }


def parse_split(text: str, axes: int) -> Split | None:
    """A split written as k or n,k: a label for each mesh axis; None where it is neither."""
    parts = tuple(part.strip() for part in text.split(","))
    good = all(re.fullmatch(r"[nkchwr]|@(0|[1-9][0-9]{0,5})", part) for part in parts)
    return parts if good and len(parts) == axes else None


def why_not(kind: str, label: str) -> str:
    """The reason a layer of this kind has no such split."""
    default = f"{NAMES[label]} of such a layer cannot be computed apart"
    return _REASONS.get((kind, label), default)


def is_input(graph: Graph, layer: str) -> bool:
    """True for the layers of the images and the labels."""
    return layer in graph.index and isinstance(graph[layer].op, Input)
