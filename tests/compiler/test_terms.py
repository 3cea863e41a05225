"""What is alike is priced once: as if each node had been priced by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import CLUSTER

import netc_models
from netc.cost import kernel_kind, launch_seconds
from netc.ir.derive import placements_of
from netc.ir.graph import Graph, Node
from netc.ir.ops import SourceOp, Sum
from netc.ir.optimizers import choose_optimizer
from netc.ir.plan import along_axes
from netc.ir.types import (
    ITEM_BYTES,
    Halo,
    Mesh,
    On,
    Partial,
    Placement,
    Placements,
    Replicate,
    Shard,
    TensorType,
    WindowReach,
    line_mesh,
    local_block,
    named_mesh,
    units_of,
)
from netc.passes.build_graph import build_graph
from netc.passes.differentiate import differentiate
from netc.passes.fuse import may_join
from netc.passes.note_places import note_places
from netc.passes.split_groups import split_groups
from netc.passes.sum_statistics import sum_statistics
from netc.planner.first_blocks import FirstBlocks
from netc.planner.prices import choices_of, price
from netc.planner.terms import terms_of
from netc.strategies.labels import SCALARS
from netc.syntax import parse_file

NETWORKS = ("digits", "resnet18", "alexnet", "googlenet")
PLANS = 5


def joined(graph: Graph, node: Node) -> int | None:
    """The operand in whose launch a node runs."""
    if node.op.alias is None:
        for place in node.op.overwritable():
            before = graph[node.inputs[place]]
            if not isinstance(before.op, Sum) and may_join(graph, before, node):
                return place
    return None


def alone(
    graph: Graph, node: Node, wants: tuple[Placements, ...], gives: Placements, mesh: Mesh
) -> float:
    """Seconds of one launch on the first device."""
    types = (*graph.operand_types(node), node.type)
    places = [*wants, gives]
    found = [local_block(t, p, mesh, 0) for t, p in zip(types, places, strict=True)]
    elements = [0 if block is None else block.elements for block in found]
    nbytes = [ITEM_BYTES[t.dtype] * count for t, count in zip(types, elements, strict=True)]
    if not elements[-1]:
        return 0.0
    chained = joined(graph, node)
    if chained is not None:
        return (sum(nbytes[:-1]) - nbytes[chained]) / CLUSTER.memory_bytes_per_second
    *operands, result = (block.shape for block in found if block is not None)
    flops = node.op.flops(tuple(operands), result) if all(elements) else 0
    return launch_seconds(CLUSTER, kernel_kind(node.op), node.type.dtype, flops, sum(nbytes))


@pytest.mark.parametrize("mesh", [line_mesh(2), named_mesh((2, 2))], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_layers_compute_what_their_nodes_do(name: str, mesh: Mesh) -> None:
    """On two devices along each axis, where the first device's windows are the largest."""
    network = parse_file(Path(netc_models.__file__).parent / f"{name}.net")
    graph = differentiate(build_graph(network, 16), choose_optimizer("momentum"))
    choices = choices_of(graph, mesh)
    known = terms_of(graph, choices)
    priced = price(known, mesh, CLUSTER, choices)
    assert len(known.kinds) < len(graph.nodes) or name == "digits"
    rng = np.random.default_rng(3)
    for _ in range(PLANS):
        splits = {layer: own[rng.integers(len(own))] for layer, own in choices.items()}
        noted = note_places(graph, dict.fromkeys(graph.layers, ("h",)), line_mesh(2))
        made = sum_statistics(split_groups(noted, splits, mesh), splits, mesh)
        computed = dict.fromkeys(splits, 0.0)
        for node in made.nodes:
            if node.layer == SCALARS or isinstance(node.op, SourceOp) or node.op.view:
                continue
            split = along_axes(splits[node.layer], mesh)
            wants, gives = placements_of(made, node, split, mesh)
            computed[node.layer] += alone(made, node, wants, gives, mesh)
        numbers = priced.number({layer: splits[layer] for layer in priced.layers})
        for layer, own, number in zip(priced.layers, priced.computing, numbers, strict=True):
            assert own[number] == pytest.approx(computed[layer], rel=1e-9), (layer, splits[layer])


def test_first_blocks_are_those_of_the_first_device() -> None:
    rng = np.random.default_rng(4)
    mesh = named_mesh((2, 3))
    windows = Halo(2, 9, 1, WindowReach(2, 1, -1, 1))
    places: list[Placement] = [Replicate(), Partial(), On(0), On(1), windows]
    places += [Shard(dim) for dim in range(4)]
    blocks = FirstBlocks(mesh)
    every = [(a, b) for a in places for b in places]
    numbers = [blocks.number(own) for own in every]
    assert [blocks[n] for n in numbers] == every and len(set(numbers)) == len(every)
    for _ in range(20):
        shape = tuple(int(size) for size in rng.integers(1, 20, 4))
        unit = int(rng.choice([u for u in range(1, shape[1] + 1) if shape[1] % u == 0]))
        type_ = TensorType("float32", shape, units_of(1, unit, 1, 1))
        asked = np.array(rng.permutation(numbers))
        shapes, elements = blocks.shapes(type_, asked), blocks.elements(type_, asked)
        for number, found, count in zip(asked, shapes, elements, strict=True):
            if any(isinstance(place, Halo) for place in blocks[number]):
                continue
            block = local_block(type_, blocks[number], mesh, 0)
            assert tuple(found) == (block.shape if block else (0, 0, 0, 0))
            assert count == found.prod()
