"""shard-updates: weights that several devices hold alike are kept, and updated, in shards.

Under a layer's split by n, h or w every device has all of its weights, and gradients that are terms
of a sum. The sum, the optimizer's state and the update are divided among the devices: weights and
what updates them get a split of their own, by a dimension that they have. The one table of
redistributions makes a reduce-scatter of the all-reduce of gradients, and all-gathers of weights
where the layer reads them (Rajbhandari et al. 2020, stage 1; Xu et al. 2020, weight-update
sharding; Krizhevsky's cuda-convnet2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from netc.ir import ops
from netc.ir.graph import Graph, Node
from netc.ir.plan import Split, along_axes
from netc.ir.types import Mesh, Replicate, Shard, TensorType, local_block

_KEPT = (
    ops.Parameter, ops.State, ops.Cast, ops.Update, ops.SquareSum, ops.Clipped, ops.InitConstant,
)  # fmt: skip
"""What a weight, what is beside it and what moves it are made by."""
_SUMMED = ("n", "h", "w")
"""Labels of what weights are applied to: under them each device has a term of the gradient."""


def shard_updates(graph: Graph, splits: Mapping[str, Split], mesh: Mesh) -> Graph:
    """The training graph with splits of their own for weights, their state and their updates.

    A weight keeps its layer's split where nothing of it can be divided, and where its gradient is
    needed whole, as by batch norm's gradient of its input.
    """
    own: dict[str, Split] = {}
    for weight in graph.nodes:
        if isinstance(weight.op, ops.Parameter):
            split = _own_split(weight, splits[weight.layer], mesh)
            updates = list(_updates(graph, weight)) if split else []
            if updates and not _is_needed_whole(graph, {node.name for node in updates}):
                own |= {node.name: split for node in updates}
    return _with_splits(graph, own)


def place_weights(graph: Graph, trained: Graph) -> Graph:
    """A graph that does not train, with weights where the one that does has them."""
    return _with_splits(graph, {node.name: node.split for node in trained.nodes if node.split})


def _with_splits(graph: Graph, own: Mapping[str, Split]) -> Graph:
    nodes = (replace(n, split=own[n.name]) if n.name in own else n for n in graph.nodes)
    return Graph(graph.name, tuple(nodes), graph.outputs) if own else graph


def _updates(graph: Graph, weight: Node) -> Iterator[Node]:
    """A weight, its copy in another data type, the state beside it, and what moves them."""
    for node in graph.by_layer[weight.layer]:
        if node is weight or (
            isinstance(node.op, _KEPT) and node.name.startswith(f"{weight.name}.")
        ):
            yield node


def _is_needed_whole(graph: Graph, updates: set[str]) -> bool:
    """Whether others than updates read the gradient that they read, or none of them reads one."""
    read = {name for each in updates for name in graph[each].inputs}
    gradients = {name for name in read - updates if graph[name].phase == "backward"}
    return not gradients or any(set(graph.users[name]) - updates for name in gradients)


def _own_split(weight: Node, split: Split, mesh: Mesh) -> Split:
    """The labels by which a weight is divided; empty where they are its layer's."""
    assert isinstance(weight.op, ops.Parameter)
    chosen = list(along_axes(split, mesh))
    for axis, label in enumerate(chosen):
        if label in _SUMMED:
            # What a later axis divides already would have to be gathered first.
            left = [c for c in weight.op.dims if c != "." and c not in chosen[axis + 1 :]]
            chosen[axis] = _best(weight.type, weight.op.dims, chosen, axis, left, mesh)
    return tuple(chosen) if tuple(chosen) != along_axes(split, mesh) else ()


def _best(
    type_: TensorType, dims: str, chosen: Sequence[str], axis: int, labels: Sequence[str],
    mesh: Mesh,
) -> str:  # fmt: skip
    """The label by which the largest shard is smallest, the first of equal ones; that of the layer
    where none divides anything.
    """

    def largest(label: str) -> int:
        split = [*chosen[:axis], label, *chosen[axis + 1 :]]
        places = tuple(Shard(dims.index(c)) if c in dims else Replicate() for c in split)
        block = local_block(type_, places, mesh, 0)
        assert block is not None
        return block.elements

    return min((chosen[axis], *labels), key=largest)
