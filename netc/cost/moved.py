"""Bytes that devices send and receive in exchanges of a plan, or of a kind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from types import MappingProxyType

from netc.ir.collectives import KINDS
from netc.ir.comm import Comm, HaloExchange
from netc.ir.graph import Node
from netc.ir.plan import Plan
from netc.ir.traffic import Traffic, exchanged, summed
from netc.ir.types import ITEM_BYTES, Mesh, Placements, TensorType, local_block

Moved = tuple[tuple[int, int], ...]
"""Bytes (sent, received) of every device."""


def even_moved(mesh: Mesh, axes: tuple[int, ...], kind: str, nbytes: int) -> Moved:
    """What every device moves where the busiest of each group moves so many bytes."""
    known, found = KINDS[kind], [(nbytes, nbytes)] * mesh.size
    if "root" not in (known.givers, known.takers):
        return tuple(found)
    for group in mesh.groups(axes):
        for place, device in enumerate(group):
            share = nbytes if place == 0 else nbytes // max(len(group) - 1, 1)
            if kind == "send":
                share = nbytes if place < 2 else 0
            gives = (place == 0) == (known.givers == "root")
            found[device] = (share, 0) if gives else (0, share)
    return tuple(found)


def whole_bytes(kind: str, size: int, moved: Moved) -> float:
    """Bytes of the tensor that a collective in groups of that size moves; of other kinds, 0."""
    sent = max((out for out, _ in moved), default=0)
    received = max((into for _, into in moved), default=0)
    if size == 1:
        return 0.0
    match kind:
        case "all_reduce":
            return sent * size / (size - 1) / 2
        case "all_gather" | "reduce_scatter":
            return max(sent, received) * size / (size - 1)
        case "broadcast":
            return received
        case "reduce":
            return sent
    return 0.0


@lru_cache(4096)
def traffic(
    op: Comm, type_: TensorType, source: Placements, target: Placements, mesh: Mesh
) -> Traffic:
    """Bytes every device sends and receives when `op` moves a tensor (`netc.ir.traffic`)."""
    result = dict.fromkeys(range(mesh.size), (0, 0))
    item = ITEM_BYTES[type_.dtype]
    for group in [] if op.on_device else mesh.groups(op.axes):
        held = [local_block(type_, source, mesh, d) for d in group]
        wanted = [local_block(type_, target, mesh, d) for d in group]
        moved = exchanged(op.kernel, held, wanted)
        for device, (sent, received) in zip(group, moved, strict=True):
            result[device] = sent * item, received * item
    return MappingProxyType(result)


def moved_bytes(traffics: Sequence[Traffic], mesh: Mesh) -> Moved:
    """What every device sends and receives in all of them together."""
    total = summed(traffics)
    return tuple(total[device] for device in range(mesh.size))


def copied_bytes(plan: Plan, node: Node) -> int:
    """What a device copies in its own memory where it gets its windows' borders: its block, to
    where the borders are. What other kinds copy so is in what was measured of them.
    """
    if not isinstance(node.op, HaloExchange):
        return 0
    source = plan.placement[node.inputs[0]]
    block = local_block(node.type, source, plan.mesh, 0)
    return 0 if block is None else prod(block.shape) * ITEM_BYTES[node.type.dtype]


def node_traffic(plan: Plan, node: Node) -> Traffic:
    """The traffic of a communication node of a plan."""
    assert isinstance(node.op, Comm)
    source, target = plan.placement[node.inputs[0]], plan.placement[node.name]
    return traffic(node.op, node.type, source, target, plan.mesh)


def plan_traffic(plan: Plan) -> dict[str, Traffic]:
    """The traffic of every communication node of a plan."""
    nodes = (node for node in plan.graph.nodes if isinstance(node.op, Comm))
    return {node.name: node_traffic(plan, node) for node in nodes}
