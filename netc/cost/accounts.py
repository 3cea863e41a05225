"""Bytes of a step as papers count them.

Ours is what leaves a device for another (`netc.ir.traffic`). Jia et al. 2018 (Fig. 8) count as
a parameter server would move it: every device sends its whole gradient and gets the whole sum, and
of what is gathered every device's own part counts too. Data parallelism over K devices is then
2 K W, and the boundary of the hybrid scheme 2 K^2 B R elements.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from netc.ir.collectives import KINDS
from netc.ir.comm import Comm
from netc.ir.graph import Node
from netc.ir.plan import Plan
from netc.ir.types import ITEM_BYTES, local_block


def moved_as_papers_count(plan: Plan, counted: Callable[[Node], bool] = lambda node: True) -> int:
    """Bytes of a step as Jia et al. 2018 count: own parts too, sums through a parameter server."""
    return sum(
        _papers(plan, node)
        for node in plan.graph.nodes
        if isinstance(node.op, Comm) and not node.op.on_device and counted(node)
    )


def _papers(plan: Plan, node: Node) -> int:
    kind = KINDS[node.op.kernel]
    given = _held(plan, node, node.inputs[0]) if kind.reduces else 0
    wholly = not kind.reduces or kind.takes == "whole"
    return given + (_held(plan, node, node.name) if wholly else 0)


def _held(plan: Plan, node: Node, name: str) -> int:
    """Bytes of a value's blocks on all devices."""
    placed = plan.placement[name]
    blocks = (local_block(node.type, placed, plan.mesh, d) for d in range(plan.mesh.size))
    elements = sum(prod(block.shape) for block in blocks if block is not None)
    return elements * ITEM_BYTES[node.type.dtype]
