"""The verifiers of graphs and plans. A failure names the property, and is always our mistake."""

from __future__ import annotations

from dataclasses import replace

from netc.ir.comm import Comm, HaloExchange, transition
from netc.ir.graph import Graph, Node
from netc.ir.ops import Copy, Fused, Op, RoundMerge, RoundSlice, SourceOp, Sum
from netc.ir.ops.base import parse_labels, place_of
from netc.ir.plan import Plan, Split, along_axes
from netc.ir.types import (
    Halo,
    On,
    Partial,
    Placement,
    Placements,
    Replicate,
    Shard,
    divided,
    local_block,
    numbers,
)


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
    exactly the table's; P5 no result is left partial; P6 state is overwritten where it is kept.
    """
    verify_graph(plan.graph)
    for node in plan.graph.nodes:
        if not _fits(plan, node):
            raise VerifyError(f"P2: {node.name} of {node.type} is placed {_where(plan, node)}")
        if node.op.alias is not None:
            _verify_kept(plan, node, node.inputs[node.op.alias])
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
        (not isinstance(p, Shard | Halo) or 0 <= p.dim < node.type.rank)
        and (not isinstance(p, On) or 0 <= p.rank < extent)
        for p, extent in zip(places, plan.mesh.shape, strict=True)
    )


def _verify_comm(plan: Plan, node: Node) -> None:
    assert isinstance(node.op, Comm)
    source, target = plan.placement[node.inputs[0]], plan.placement[node.name]
    axis, axes = node.op.axis, node.op.axes
    pairs = list(zip(source, target, strict=True))
    others = all(s == t for a, (s, t) in enumerate(pairs) if a not in axes)
    along_one = replace(node.op, inner=()) if isinstance(node.op, HaloExchange) else node.op
    right = source[axis] != target[axis] and along_one == transition(
        source[axis], target[axis], axis
    )
    alike = len({pairs[each] for each in axes}) == 1
    require(others and right and alike, "P4", f"{node.name} turns {source} into {target}")
    dims = {divided(place) for place in pairs[axis]} - {None}
    beside = [a for a in range(axis + 1, len(source)) if a not in axes]
    blocked = any(divided(source[a]) in dims for a in beside)
    require(not blocked, "P4", f"{node.name} changes a dimension that a later axis divides")


def _verify_kept(plan: Plan, node: Node, name: str) -> None:
    """What was moved is no longer the state that it is a copy of."""
    moved = isinstance(plan.graph[name].op, Comm)
    while isinstance(plan.graph[name].op, Comm):
        (name,) = plan.graph[name].inputs
    state = isinstance(plan.graph[name].op, SourceOp)
    require(not (moved and state), "P6", f"{node.name} overwrites a copy of {name}")


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
        _verify_op(plan, node, node.op, effective_split(plan, node.layer, node.split), node.inputs)
        return
    for link in node.op.links:
        names = tuple(node.name if a < 0 else node.inputs[a] for a in link.args)
        _verify_op(plan, node, link.op, effective_split(plan, link.layer), names)


def effective_split(plan: Plan, layer: str, own: Split = ()) -> Split:
    """The split that applies to a layer's nodes, but for those that have their own; the layer of
    scalars has none: it is everywhere.
    """
    return along_axes(own or plan.split.get(layer, ("r",) * len(plan.mesh.shape)), plan.mesh)


def _verify_op(plan: Plan, node: Node, op: Op, split: Split, names: tuple[str, ...]) -> None:
    if isinstance(op, Sum | Copy):
        alike = {plan.placement[name] for name in (*names, node.name)}
        require(len(alike) == 1, "P3", f"{node.name} takes values that live apart")
        return
    types = tuple(plan.graph[name].type for name in names)
    operands, result = parse_labels(op.labels(types))
    carried = "".join(operands)
    for axis, label in enumerate(split):
        for number, (name, own) in enumerate(zip(names, operands, strict=True)):
            if label.upper() in own and label not in "r@":
                _verify_read(plan, op, (*names, node.name), number, label, axis)
                continue
            want = _expected(label, own)
            have = plan.placement[name][axis]
            if have != want:
                what = f"{name} as {want} under split {label}, it is {have}"
                raise VerifyError(f"P3: {node.name} wants {what}")
        partial = label in carried and place_of(label, result) < 0
        given = Partial(op.reduction) if partial else _expected(label, result)
        have = plan.placement[node.name][axis]
        if have != given:
            raise VerifyError(f"P3: {node.name} is {have}, not {given}, under split {label}")


def _verify_read(
    plan: Plan, op: Op, names: tuple[str, ...], number: int, label: str, axis: int
) -> None:
    """Every device has all that its windows reach of an operand, along the dimension of a label,
    which an axis divides; `names` are those of the operands and of the result.
    """
    read, node = names[number], names[-1]
    types = tuple(plan.graph[name].type for name in names)
    operands, result = parse_labels(op.labels(types[:-1]))
    dim = operands[number].index(label.upper())
    if divided(plan.placement[read][axis]) != dim:
        raise VerifyError(f"P3: {node} reads {read} as {_where(plan, plan.graph[read])}")
    of = next(i for i, own in enumerate((*operands, result)) if label in own)
    own_dim, reach = (*operands, result)[of].index(label), op.reach(label, number, types[:-1])
    for device in range(plan.mesh.size):
        own, has = (
            local_block(plan.graph[name].type, plan.placement[name], plan.mesh, device)
            for name in (names[of], read)
        )
        if own is None or 0 in own.shape:
            continue
        require(has is not None, "P3", f"{node} has nothing of {read}")
        assert has is not None
        start, length = numbers(own.where)[own_dim], own.shape[own_dim]
        first, end = reach.span(start, start + length, types[number].shape[dim])
        here = numbers(has.where)[dim]
        if first < here or end > here + has.shape[dim]:
            about = f"{first} to {end} of {read}, it has {here} to {here + has.shape[dim]}"
            raise VerifyError(f"P3: {node} reads {about} on device {device}")


def _expected(label: str, own: str) -> Placement:
    if label[0] == "@":
        return On(int(label[1:]))
    dim = place_of(label, own)
    return Replicate() if dim < 0 else Shard(dim)
