"""The verifiers of graphs and plans. A failure names the property, and is always our mistake."""

from __future__ import annotations

from netc.ir.comm import Comm, transition
from netc.ir.graph import Graph, Node
from netc.ir.ops import Copy, Fused, Op, RoundMerge, RoundSlice, SourceOp, Sum
from netc.ir.ops.base import parse_labels
from netc.ir.plan import Plan, Split
from netc.ir.types import On, Partial, Placement, Placements, Replicate, Shard


class VerifyError(AssertionError):
    """A value breaks a numbered property: the compiler is wrong, not the user."""


def require(condition: bool, rule: str, what: str) -> None:
    """For checks made seldom: `what` is written out even if nothing is wrong."""
    if not condition:
        raise VerifyError(f"{rule}: {what}")


def verify_graph(graph: Graph) -> None:
    """G1 names are unique; G2 operands come before their users; G3 types are what the operation
    infers; G4 the outputs exist; G5 nothing reads state after it was overwritten.
    """
    seen: set[str] = set()
    overwritten: dict[str, str] = {}
    for node in graph.nodes:
        require(node.name not in seen, "G1", f"two nodes named {node.name}")
        for name in node.inputs:
            require(name in seen, "G2", f"{node.name} reads {name} before it is there")
            by = overwritten.get(name)
            require(by is None, "G5", f"{node.name} reads {name} after {by} overwrote it")
        if not isinstance(node.op, SourceOp):
            inferred = node.op.infer(*graph.operand_types(node))
            if inferred != node.type:
                raise VerifyError(f"G3: {node.name} is {node.type}, not {inferred}")
        if node.op.alias is not None:
            overwritten[node.inputs[node.op.alias]] = node.name
        seen.add(node.name)
    for name in graph.outputs:
        require(name in seen, "G4", f"no node {name} to put out")


def verify_plan(plan: Plan) -> None:
    """P1 the graph is sound; P2 every node has one placement per mesh axis that its shape allows;
    P3 a computing node's operands and result live as its layer's split says; P4 communication is
    exactly the table's; P5 no result is left partial.
    """
    verify_graph(plan.graph)
    for node in plan.graph.nodes:
        if not _fits(plan, node):
            raise VerifyError(f"P2: {node.name} of {node.type} is placed {_where(plan, node)}")
        if isinstance(node.op, Comm):
            _verify_comm(plan, node)
        elif not isinstance(node.op, RoundSlice | RoundMerge):
            _verify_split(plan, node)
        else:
            _verify_round(plan, node)
    for name in plan.graph.outputs:
        left = any(isinstance(p, Partial) for p in plan.placement[name])
        require(not left, "P5", f"the result {name} is partial")


def _where(plan: Plan, node: Node) -> str:
    return ",".join(str(p) for p in plan.placement[node.name])


def _fits(plan: Plan, node: Node) -> bool:
    places = plan.placement[node.name]
    return len(places) == len(plan.mesh.shape) and all(
        (not isinstance(p, Shard) or 0 <= p.dim < node.type.rank)
        and (not isinstance(p, On) or 0 <= p.rank < extent)
        for p, extent in zip(places, plan.mesh.shape, strict=True)
    )


def _verify_comm(plan: Plan, node: Node) -> None:
    assert isinstance(node.op, Comm)
    source, target = plan.placement[node.inputs[0]], plan.placement[node.name]
    axis = node.op.axis
    others = all(s == t for a, (s, t) in enumerate(zip(source, target, strict=True)) if a != axis)
    right = source[axis] != target[axis] and transition(source[axis], target[axis], axis) == node.op
    require(others and right, "P4", f"{node.name} turns {source} into {target}")
    later = (source[axis], target[axis])
    blocked = any(isinstance(p, Shard) and p in later for p in source[axis + 1 :])
    require(not blocked, "P4", f"{node.name} changes a dimension that a later axis divides")


def _verify_round(plan: Plan, node: Node) -> None:
    """Rounds live on their worker (b) or stay sharded (c), and come from or go to shards."""
    part: Placements = (Shard(0),)
    op = node.op
    if isinstance(op, RoundSlice):
        gives = (On(op.worker),) if op.scheme == "b" else part
        right = plan.placement[node.inputs[0]] == (Shard(0),) and plan.placement[node.name] == gives
    else:
        assert isinstance(op, RoundMerge)
        wants = [(On(w),) if op.scheme == "b" else part for w in op.workers]
        right = [plan.placement[i] for i in node.inputs] == wants
        right = right and plan.placement[node.name] == part
    require(right, "P3", f"{node.name} is a round, placed {_where(plan, node)}")


def _verify_split(plan: Plan, node: Node) -> None:
    if not isinstance(node.op, Fused):
        _verify_op(plan, node, node.op, effective_split(plan, node.layer), node.inputs)
        return
    for link in node.op.links:
        names = tuple(node.name if a < 0 else node.inputs[a] for a in link.args)
        _verify_op(plan, node, link.op, effective_split(plan, link.layer), names)


def effective_split(plan: Plan, layer: str) -> Split:
    """The split that applies to a layer's nodes; an axis of one device splits nothing.

    The layer of scalars has none: it is on every device.
    """
    split = plan.split.get(layer, ("r",) * len(plan.mesh.shape))
    return tuple(s if e > 1 else "r" for s, e in zip(split, plan.mesh.shape, strict=True))


def _verify_op(plan: Plan, node: Node, op: Op, split: Split, names: tuple[str, ...]) -> None:
    if isinstance(op, Sum | Copy):
        alike = {plan.placement[name] for name in (*names, node.name)}
        require(len(alike) == 1, "P3", f"{node.name} takes values that live apart")
        return
    operands, result = parse_labels(op.labels(tuple(plan.graph[name].type for name in names)))
    carried = "".join(operands)
    for axis, label in enumerate(split):
        for name, own in zip(names, operands, strict=True):
            want = _expected(label, own)
            have = plan.placement[name][axis]
            if have != want:
                what = f"{name} as {want} under split {label}, it is {have}"
                raise VerifyError(f"P3: {node.name} wants {what}")
        partial = label in carried and label not in result
        given = Partial(op.reduction) if partial else _expected(label, result)
        have = plan.placement[node.name][axis]
        if have != given:
            raise VerifyError(f"P3: {node.name} is {have}, not {given}, under split {label}")


def _expected(label: str, own: str) -> Placement:
    if label[0] == "@":
        return On(int(label[1:]))
    return Shard(own.index(label)) if label in own else Replicate()
