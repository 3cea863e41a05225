"""differentiate: the forward graph becomes the training graph, with backward and update nodes.

Reverse-mode differentiation of the loss. One rule an operation (`RULES`) gives the gradients of its
operands as ordinary nodes of the same layer, so that the layer's split applies to them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from netc.errors import Diagnostic, PlanError, clip, did_you_mean
from netc.ir import ops
from netc.ir.graph import Graph, GraphBuilder, Node
from netc.ir.ops.base import Op
from netc.ir.optimizers import (
    AVERAGE,
    GRADIENT,
    RATE,
    SQUARES,
    SUM,
    UPDATE,
    WEIGHT,
    Chosen,
    WeightRule,
    rate_port,
)
from netc.ir.types import TensorType


def differentiate(graph: Graph, optimizer: Chosen, updates: bool = True) -> Graph:
    """Append the backward pass of "loss" and the updates of every parameter; without `updates`
    gradients are added to those of the batches before.

    Gradients are named after what they belong to ("conv1.weight.grad"), updated state with
    ".next"; the results are the loss, all new state and, where gradients are clipped, the sum of
    their squares before that. Raises PlanError (E042) where a rule for some weights matches none.
    """
    check_rules(graph, optimizer.rules)
    backward = _Backward(graph, optimizer)
    backward.run()
    out, parameters = backward.out, backward.parameters()
    gradients = {weight.name: f"{weight.name}.grad" for weight in parameters}
    if optimizer.accumulate > 1:
        gradients = _added(out, parameters, gradients, updates)
    if not updates:
        return out.build(("loss", *graph.outputs[1:], *gradients.values()))
    if optimizer.accumulate > 1:
        out.add(replace(out.nodes["step"], name=UPDATE))
    for factor in dict.fromkeys(optimizer.rule(weight.name).rate for weight in parameters):
        lr = TensorType(parameters[0].type.dtype, ())
        out.add(Node(rate_port(factor), ops.Scalar(), (), lr, out.nodes["seed"].layer))
    seen: tuple[str, ...] = ()
    if optimizer.clip is not None and parameters:
        gradients, seen = _clipped(out, parameters, gradients, optimizer.clip), (SQUARES,)
    new = [n for weight in parameters for n in _update(out, weight, gradients, optimizer)]
    return out.build(("loss", *graph.outputs[1:], *new, *seen))


def _added(
    out: GraphBuilder, weights: list[Node], gradients: Mapping[str, str], last: bool
) -> dict[str, str]:
    """Add gradients to those of the batches before; the sums by weight. What the `last` batch is
    added to is no new state yet.
    """
    sums = {}
    for weight in weights:
        assert isinstance(weight.op, ops.Parameter)
        state = replace(weight, name=weight.name + SUM, op=ops.State(weight.op.dims))
        out.add(state)
        name = f"{weight.name}.grad.sum" if last else f"{state.name}.next"
        read, op = (state.name, gradients[weight.name]), ops.Accumulate(weight.op.dims)
        sums[weight.name] = out.emit(name, op, read, weight, phase="update").name
    return sums


def _clipped(
    out: GraphBuilder, weights: list[Node], gradients: Mapping[str, str], limit: float
) -> dict[str, str]:
    """Limit the norm of all gradients together; their new names by weight."""
    squares = []
    for weight in weights:
        assert isinstance(weight.op, ops.Parameter)
        squares.append(f"{weight.name}.grad.squares")
        op: Op = ops.SquareSum(weight.op.dims)
        out.emit(squares[-1], op, (gradients[weight.name],), weight, phase="update")
    like = replace(out.nodes["seed"], phase="update")
    out.emit(SQUARES, ops.Sum(), tuple(squares), like)
    clipped = {}
    for weight in weights:
        assert isinstance(weight.op, ops.Parameter)
        name, op = f"{weight.name}.grad.clipped", ops.Clipped(weight.op.dims, limit)
        out.emit(name, op, (gradients[weight.name], SQUARES), weight, phase="update")
        clipped[weight.name] = name
    return clipped


def check_rules(graph: Graph, rules: Sequence[WeightRule]) -> None:
    """Raise PlanError (E042) where a rule for some weights matches none of a network's."""
    weights = [node.name for node in graph.nodes if isinstance(node.op, ops.Parameter)]
    for rule in rules:
        if not any(map(rule.matches, weights)):
            hint = did_you_mean(rule.pattern, weights) + "weights are called as in checkpoints: "
            message = f"no weight matches '{clip(rule.pattern)}'."
            hint += f"'{weights[0]}', for one." if weights else "this network has none."
            raise PlanError(Diagnostic("E042", message, rule.span, help=hint))


def _update(
    out: GraphBuilder, weight: Node, gradients: Mapping[str, str], optimizer: Chosen
) -> Iterator[str]:
    """Add the update of a weight; the names of its new state, and of the weight."""
    assert isinstance(weight.op, ops.Parameter)
    rule = optimizer.rule(weight.name)
    counts = UPDATE if optimizer.accumulate > 1 else "step"
    names = {WEIGHT: weight.name, GRADIENT: gradients[weight.name], "step": counts}
    names[RATE] = rate_port(rule.rate)
    for move, op in optimizer.under(rule).operations(weight.op.dims):
        if move.makes != WEIGHT:
            names[move.makes] = _state(out, weight, move.makes)
        new = f"{names[move.makes]}.next"
        out.emit(new, op, tuple(names[read] for read in move.operands), weight, phase="update")
        names[f"{move.makes}'"] = new
        yield new
    if optimizer.ema is not None:
        yield _average(out, weight, names, optimizer.ema)
    if optimizer.accumulate > 1:
        # The gradients of the next batches are added to nothing.
        name, added = f"{weight.name}{SUM}.next", f"{weight.name}.grad.sum"
        nothing = ops.InitConstant(weight.op.dims, weight.type, 0.0)
        yield out.emit(name, nothing, (added,), weight, phase="update").name


def _average(out: GraphBuilder, weight: Node, names: Mapping[str, str], decay: float) -> str:
    """Add the moving average of what a weight has become; its name."""
    assert isinstance(weight.op, ops.Parameter)
    dims, name = weight.op.dims, weight.name + AVERAGE
    out.add(replace(weight, name=name, op=ops.Averaged(dims, weight=weight.name)))
    read = (name, names[f"{WEIGHT}'"], names["step"])
    return out.emit(f"{name}.next", ops.Average(dims, decay), read, weight, phase="update").name


def _state(out: GraphBuilder, weight: Node, role: str) -> str:
    """Add what an optimizer keeps beside a weight; its name."""
    assert isinstance(weight.op, ops.Parameter)
    state = replace(weight, name=f"{weight.name}.{role}", op=ops.State(weight.op.dims))
    return out.add(state).name


class _Backward:
    """Walks the forward nodes in reverse, collecting each value's gradients."""

    def __init__(self, graph: Graph, optimizer: Chosen) -> None:
        self.graph, self.optimizer = graph, optimizer
        self.out = GraphBuilder(graph.name)
        for node in graph.nodes:
            self.out.add(node)
        self.gradients: dict[str, list[str]] = {}
        self.trained = self._trained()

    def _trained(self) -> frozenset[str]:
        """Values that depend on a parameter that is not frozen."""
        trained: set[str] = set()
        for node in self.graph.nodes:
            if self._moves(node) or trained.intersection(node.inputs):
                trained.add(node.name)
        return frozenset(trained)

    def _moves(self, node: Node) -> bool:
        return isinstance(node.op, ops.Parameter) and not self.optimizer.rule(node.name).frozen

    def parameters(self) -> list[Node]:
        """Parameters that have a gradient, in the order the gradients become ready."""
        order = [name for name in self.out.nodes if name.endswith(".grad")]
        weights = (self.graph.index.get(name.removesuffix(".grad")) for name in order)
        return [w for w in weights if w is not None and isinstance(w.op, ops.Parameter)]

    def run(self) -> None:
        """Differentiate the loss with respect to everything that is trained."""
        for node in reversed(self.graph.nodes):
            rule = RULES.get(type(node.op))
            if node.name == "loss":
                _loss(self, node)
            elif rule is not None and self.gradients.get(node.name):
                rule(self, node, self.gradient(node))

    def gradient(self, node: Node) -> str:
        """The sum of all gradients of a value."""
        parts = self.gradients[node.name]
        if len(parts) == 1:
            return parts[0]
        like = replace(node, phase="backward")
        return self.out.emit(f"{node.name}.grad", ops.Sum(), tuple(parts), like).name

    def give(self, node: Node, operand: str, op: Op, *inputs: str) -> None:
        """Add a gradient of `operand`, computed by `op`, unless nobody needs it."""
        if operand not in self.trained:
            return
        if isinstance(self.graph[operand].op, ops.Cast):
            operand = self.graph[operand].inputs[0]
        name = f"{operand}.grad"
        if self._fan_out(operand) > 1:
            name = self.out.fresh(f"{name}.{node.name}")
        like = replace(node, phase="backward")
        self.pass_on(node, operand, self.out.emit(name, op, inputs, like).name)

    def part(self, node: Node, weight: str, op: Op, *inputs: str) -> str:
        """The gradient of a weight, which others read too, also where it is not trained."""
        if weight in self.trained:
            return f"{weight}.grad"
        like = replace(node, phase="backward")
        return self.out.emit(f"{weight}.slope", op, inputs, like).name

    def pass_on(self, node: Node, operand: str, gradient: str) -> None:
        """Give `operand` a gradient that exists already, in shards that end where its own do."""
        if operand not in self.trained:
            return
        units = self.graph[operand].type.units
        if self.out.nodes[gradient].type.units != units:
            name = self.out.fresh(f"{operand}.grad.recut")
            like = replace(node, phase="backward")
            gradient = self.out.emit(name, ops.Recut(units), (gradient,), like).name
        self.gradients.setdefault(operand, []).append(gradient)

    def _fan_out(self, name: str) -> int:
        users = (self.graph[user].op for user in self.graph.users[name])
        return sum(1 for op in users if type(op) in RULES or isinstance(op, ops.RowPick))


def _loss(back: _Backward, node: Node) -> None:
    """The three row values are differentiated together, straight to the logits."""
    assert isinstance(node.op, ops.CeLoss)
    row_max, total, pick = (back.graph[name] for name in node.inputs)
    logits, *targets = pick.inputs
    # The gradient of the mean over all batches that are added up.
    images = node.op.batch * back.optimizer.accumulate
    op = ops.SoftmaxDx(images)
    if isinstance(pick.op, ops.RowPickSmoothed):
        mixed = isinstance(pick.op, ops.RowPickMixed)
        kind = ops.SoftmaxDxMixed if mixed else ops.SoftmaxDxSmoothed
        op = kind(images, pick.op.smoothing, pick.op.classes)
    back.give(node, logits, op, logits, *targets, row_max.name, total.name)


def _conv(back: _Backward, node: Node, dy: str) -> None:
    assert isinstance(node.op, ops.Conv)
    x, w = node.inputs
    o, types = node.op, back.graph.operand_types(node)
    extents = [(t.shape[2], t.shape[3]) for t in types]
    back.give(node, x, ops.ConvDx(o.stride, o.pad, o.groups, extents[0]), dy, w)
    back.give(node, w, ops.ConvDw(o.stride, o.pad, o.groups, extents[1]), x, dy)


def _fc(back: _Backward, node: Node, dy: str) -> None:
    x, w = node.inputs
    back.give(node, x, ops.FcDx(), dy, w)
    back.give(node, w, ops.FcDw(), x, dy)


def _bias(back: _Backward, node: Node, dy: str) -> None:
    x, b = node.inputs
    back.pass_on(node, x, dy)
    back.give(node, b, ops.BiasDb(), dy)


def _slope(of: ops.Activation) -> Rule:
    def rule(back: _Backward, node: Node, dy: str) -> None:
        (x,) = node.inputs
        back.give(node, x, of.gradient, node.name if of.slope == "result" else x, dy)

    return rule


def _maxpool(back: _Backward, node: Node, dy: str) -> None:
    assert isinstance(node.op, ops.MaxPool)
    op = ops.MaxPoolDx(node.op.stride, node.op.pad, node.op.size)
    back.give(node, node.inputs[0], op, node.inputs[0], node.name, dy)


def _avgpool(back: _Backward, node: Node, dy: str) -> None:
    assert isinstance(node.op, ops.AvgPool)
    shape = back.graph[node.inputs[0]].type.shape
    op = ops.AvgPoolDx(node.op.stride, node.op.pad, node.op.size, (shape[2], shape[3]))
    back.give(node, node.inputs[0], op, dy)


def _inside_mean(back: _Backward, node: Node, dy: str) -> None:
    back.give(node, node.inputs[0], node.op, dy)


def _dropout(back: _Backward, node: Node, dy: str) -> None:
    back.give(node, node.inputs[0], node.op, dy, *node.inputs[1:])


def _lrn(back: _Backward, node: Node, dy: str) -> None:
    o = node.op
    assert isinstance(o, ops.Lrn)
    back.give(node, node.inputs[0], ops.LrnDx(o.size, o.alpha, o.beta, o.k), node.inputs[0], dy)


def _bn(back: _Backward, node: Node, dy: str) -> None:
    """Through the batch statistics: gamma's and beta's gradients are part of x's, frozen or not."""
    assert isinstance(node.op, ops.BnNorm)
    x, mean, var, gamma, beta = node.inputs
    statistic = back.graph[mean].op
    assert isinstance(statistic, ops.BnMean)
    eps = node.op.eps
    back.give(node, gamma, ops.BnDgamma(eps), x, mean, var, dy)
    back.give(node, beta, ops.BiasDb(), dy)
    if x in back.trained:
        sums = (
            back.part(node, gamma, ops.BnDgamma(eps), x, mean, var, dy),
            back.part(node, beta, ops.BiasDb(), dy),
        )
        back.give(node, x, ops.BnDx(eps, statistic.count), x, mean, var, gamma, *sums, dy)


def _grouped_norm(back: _Backward, node: Node, dy: str) -> None:
    """Through the statistics of each group, whose terms of the gradients of gamma and beta are
    part of x's; gradients of weights are their sums.
    """
    assert isinstance(node.op, ops.GroupedNorm)
    x, mean, var, gamma, beta = node.inputs
    statistic = back.graph[mean].op
    assert isinstance(statistic, ops.GroupedMean)
    group, eps, like = node.op.group, node.op.eps, replace(node, phase="backward")
    terms: tuple[tuple[str, Op, tuple[str, ...]], ...] = (
        (gamma, ops.GroupedDgamma(group, eps), (x, mean, var, dy)),
        (beta, ops.GroupedDbeta(group), (dy,)),
    )
    needed = [each for each in terms if not back.trained.isdisjoint((x, each[0]))]
    for weight, op, inputs in needed:
        back.out.emit(f"{weight}.groups", op, inputs, like)
    for weight, _, _ in needed:
        back.give(node, weight, ops.GroupsSum(), f"{weight}.groups")
    if x in back.trained:
        sums = (f"{gamma}.groups", f"{beta}.groups")
        dx = ops.GroupedDx(group, eps, statistic.count)
        back.give(node, x, dx, x, mean, var, gamma, *sums, dy)


def _add(back: _Backward, node: Node, dy: str) -> None:
    for operand in node.inputs:
        back.pass_on(node, operand, dy)


def _concat(back: _Backward, node: Node, dy: str) -> None:
    start = 0
    for operand, type_ in zip(node.inputs, back.graph.operand_types(node), strict=True):
        back.give(node, operand, ops.SliceDim(start, type_.shape[1]), dy)
        start += type_.shape[1]


def _flatten(back: _Backward, node: Node, dy: str) -> None:
    shape = back.graph[node.inputs[0]].type.shape
    back.give(node, node.inputs[0], ops.Unflatten((shape[1], shape[2], shape[3])), dy)


Rule = Callable[[_Backward, Node, str], None]
RULES: dict[type[Op], Rule] = {
    ops.Conv: _conv,
    ops.Fc: _fc,
    ops.Bias: _bias,
    **{type(each.forward): _slope(each) for each in ops.ACTIVATIONS.values()},
    ops.MaxPool: _maxpool,
    ops.AvgPool: _avgpool,
    ops.InsideMean: _inside_mean,
    ops.Dropout: _dropout,
    ops.Lrn: _lrn,
    ops.BnNorm: _bn,
    ops.GroupedNorm: _grouped_norm,
    ops.Add: _add,
    ops.Concat: _concat,
    ops.Flatten: _flatten,
}
