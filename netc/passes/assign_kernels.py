"""assign-kernels: every node gets the kernels that the target's table has for its blocks."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from netc.ir.comm import Comm
from netc.ir.graph import Node
from netc.ir.kernels import Call, Choice
from netc.ir.ops import Fused, Source, Step
from netc.ir.plan import Plan
from netc.ir.types import Block, local_block
from netc.passes.assign_formats import Target


def assign_kernels(plan: Plan, target: Target) -> Plan:
    """The plan with a choice for every node the target has one for.

    What is asked is the largest block that any device computes; the others, which may be smaller
    by a row or a channel, take the same kernel and its workspace.
    """
    chosen = ((node.name, _choice(plan, node, target)) for node in plan.graph.nodes)
    return replace(plan, kernels=tuple((name, c) for name, c in chosen if c is not None))


def _choice(plan: Plan, node: Node, target: Target) -> Choice | None:
    if isinstance(node.op, Comm | Source) or node.op.view or node.type.dtype[0] != "f":
        return None
    calls = [c for d in range(plan.mesh.size) if (c := _calls(plan, node, d))]
    return target.choose(max(calls, key=_work)) if calls else None


def _work(calls: tuple[Call, ...]) -> int:
    return sum(prod(shape) for call in calls for shape in (*call.operands, call.result))


def _calls(plan: Plan, node: Node, device: int) -> tuple[Call, ...]:
    """What a device is asked to compute; nothing where a block is empty or elsewhere."""
    blocks = [_block(plan, name, device) for name in (*node.inputs, node.name)]
    if any(b is None or not b.elements for b in blocks):
        return ()
    shapes = [b.shape for b in blocks if b is not None]
    if _cuts_groups(plan, node, shapes):
        return ()
    if not isinstance(node.op, Fused):
        return (_call(Step(node.op, tuple(range(len(node.inputs))), node.layer), node, shapes),)
    return tuple(_call(step, node, shapes) for step in node.op.steps)


def _cuts_groups(plan: Plan, node: Node, shapes: list[tuple[int, ...]]) -> bool:
    """Whether some filters of a grouped convolution are elsewhere; such a part is not usual."""
    first = node.op.steps[0].op if isinstance(node.op, Fused) else node.op
    if first.attributes().get("groups", 1) == 1:
        return False
    filters = -1 if first.kernel == "conv_dw" else 1
    names = (*node.inputs, node.name)
    return plan.graph[names[filters]].type.shape != shapes[filters]


def _block(plan: Plan, name: str, device: int) -> Block | None:
    return local_block(plan.graph[name].type, plan.placement[name], plan.mesh, device)


def _call(step: Step, node: Node, shapes: list[tuple[int, ...]]) -> Call:
    # The node's result stands last, where a step that reads the one before it (-1) finds it.
    told = tuple(sorted(step.op.attributes().items()))
    operands = tuple(shapes[a] for a in step.args)
    return Call(step.op.kernel, node.type.dtype, told, step.args, operands, shapes[-1])
