"""split-rounds: the exchange schemes of Krizhevsky 2014, section 4, as graph to graph.

Between the layers split by the batch and those that are not, scheme a assembles the whole batch at
once. Schemes b and c go through the rest of the network in rounds, so that the exchange of one
round can hide behind the computation of another:

    scheme b, three workers           scheme c, three workers
    round 0: all rows of worker 0     round 0: the first third of every worker's rows
    round 1: all rows of worker 1     round 1: the second third
    round 2: all rows of worker 2     round 2: the last third

The region that is repeated holds every layer not split by the batch. Its values get one copy a
round; results that contract the batch (weight gradients, the loss) are accumulated; activation
gradients go back through a merge of all rounds, so the layers before run backward once. This comes
before any communication exists: a round's slice lives on one worker (b) or stays sharded (c), and
the one table of redistributions turns that into broadcast and reduce, or all-gather and
reduce-scatter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from netc.errors import Diagnostic, PlanError
from netc.ir import ops
from netc.ir.graph import Graph, GraphBuilder, Node
from netc.ir.plan import Split
from netc.ir.types import Mesh, shard_bounds
from netc.strategies.labels import SCALARS, node_labels


@dataclass(frozen=True, slots=True)
class Round:
    """The examples of one round."""

    index: int
    worker: int
    """Scheme b: whose examples these are."""
    rows: tuple[tuple[int, int], ...]
    """Global rows as (start, count), in the order the round sees them."""

    @property
    def size(self) -> int:
        """Examples of the round."""
        return sum(count for _, count in self.rows)


def rounds_of(scheme: str, batch: int, workers: int) -> tuple[Round, ...]:
    """The rounds of scheme b or c; a round without examples is left out.

    Scheme b allows unequal shares of the batch. Raises PlanError where scheme c cannot divide it.
    """
    bounds = [shard_bounds(batch, 1, workers, w) for w in range(workers)]
    if scheme == "b":
        shares = [(w, start, stop - start) for w, (start, stop) in enumerate(bounds)]
        return tuple(Round(i, w, ((s, n),)) for i, (w, s, n) in enumerate(shares) if n)
    if batch % (workers * workers):
        step = workers * workers
        near = f"{batch // step * step} or " if batch >= step else ""
        message = f"scheme c cuts every worker's share in {workers}: {step} must divide the batch"
        hint = f"take a batch of {near}{(batch // step + 1) * step}, or '--scheme b'."
        raise PlanError(Diagnostic("E043", f"{message}, which is {batch}.", help=hint))
    each = batch // workers // workers
    starts = [start for start, _ in bounds]
    return tuple(
        Round(r, -1, tuple((start + r * each, each) for start in starts)) for r in range(workers)
    )


def region_of(graph: Graph, splits: Mapping[str, Split]) -> frozenset[str]:
    """Layers not split by the batch alone."""
    plain = {layer for layer, split in splits.items() if set(split) == {"n"}}
    return frozenset(set(graph.layers) - plain - {SCALARS})


def has_boundary(graph: Graph, splits: Mapping[str, Split]) -> bool:
    """Whether some layer split by the batch feeds one that is not."""
    region = region_of(graph, splits)
    return any(
        node.layer in region and graph[name].layer not in region and graph[name].layer != SCALARS
        for node in graph.nodes
        if node.phase == "forward" and not isinstance(node.op, ops.RowPick)
        for name in node.inputs
    )


def split_rounds(
    graph: Graph, splits: Mapping[str, Split], mesh: Mesh, scheme: str, fc_update: str = "step"
) -> Graph:
    """Repeat the region behind the boundary once a round; scheme a leaves the graph as it is.

    `fc_update` "round" updates the region's weights after every round (section 4.2 there): a round
    of n of N examples moves by the rate n/N lr of the mean gradient of its n examples, so that the
    rates of both parts are to each other as their batches. Raises PlanError where a scheme cannot
    be honoured.
    """
    if mesh.size == 1 or not has_boundary(graph, splits):
        return graph
    if scheme == "a":
        if fc_update == "round":
            message = "scheme a has no rounds to update weights after."
            hint = "'--fc-update round' goes with '--scheme b' or 'c'."
            raise PlanError(Diagnostic("E043", message, help=hint))
        return graph
    region = region_of(graph, splits)
    _check(graph, splits, mesh, scheme)
    rounds = rounds_of(scheme, _batch(graph), mesh.size)
    return _Rounds(graph, region, scheme, rounds, fc_update == "round").build()


def why_not_rounds(graph: Graph, splits: Mapping[str, Split], mesh: Mesh) -> Diagnostic | None:
    """Why schemes b and c cannot be honoured for these splits, or None where they can."""
    region = region_of(graph, splits)
    if len(mesh.shape) > 1:
        message = "rounds are defined on one axis of devices"
        return Diagnostic("E043", message, help="take '--scheme a'.")
    loss = next(n for n in graph.nodes if isinstance(n.op, ops.CeLoss))
    if loss.layer not in region:
        message = f"'{loss.layer}' is split by the batch, so a round would not reach the loss"
        return Diagnostic("E043", message, loss.span, help="take '--scheme a', or split it by k.")
    for node in graph.nodes:
        if node.phase != "forward" or node.layer == SCALARS:
            continue
        problem = _leaves(graph, region, node) or _whole_batch(graph, region, node)
        if problem:
            return problem
    return None


def _check(graph: Graph, splits: Mapping[str, Split], mesh: Mesh, scheme: str) -> None:
    problem = why_not_rounds(graph, splits, mesh)
    if problem is not None:
        message = f"scheme {scheme} is not possible: {problem.message}."
        raise PlanError(replace(problem, message=message))


def _leaves(graph: Graph, region: frozenset[str], node: Node) -> Diagnostic | None:
    """A layer split by the batch that reads from the region: it would need all rounds at once."""
    if node.layer in region:
        return None
    for name in node.inputs:
        source = graph[name]
        if source.layer in region and source.inputs:
            message = (
                f"'{node.layer}' is split by the batch, but reads '{source.layer}', which is not"
            )
            hint = "take '--scheme a', or split both alike."
            return Diagnostic("E043", message, node.span, help=hint)
    return None


def _whole_batch(graph: Graph, region: frozenset[str], node: Node) -> Diagnostic | None:
    """A value over the whole batch that the region itself uses, such as batch statistics."""
    if node.layer not in region or not node.inputs or not _contracts_batch(graph, node):
        return None
    if all(graph[user].phase == "update" for user in graph.users[node.name]):
        return None
    message = f"'{node.layer}' uses a value of the whole batch, which no round has"
    return Diagnostic("E043", message, node.span, help="take '--scheme a'.")


def _contracts_batch(graph: Graph, node: Node) -> bool:
    operands, result = node_labels(graph, node)
    contracts = "n" in "".join(operands) and "n" not in result
    return contracts or isinstance(node.op, ops.GroupedStatistic)


def _batch(graph: Graph) -> int:
    return graph["labels"].type.shape[0]


class _Rounds:
    """Writes the new graph: before, rounds, merged gradients, the rest."""

    def __init__(
        self, graph: Graph, region: frozenset[str], scheme: str, rounds: Sequence[Round],
        per_round: bool,
    ) -> None:  # fmt: skip
        self.graph, self.region, self.scheme = graph, region, scheme
        self.rounds, self.per_round = rounds, per_round
        self.out = GraphBuilder(graph.name)
        self.versions: dict[str, str] = {}
        self.totals: dict[str, str] = {}

    def build(self) -> Graph:
        """The whole graph."""
        inside = [n for n in self.graph.nodes if self._repeats(n)]
        names = {node.name for node in inside}
        outside = [n for n in self.graph.nodes if n.name not in names]
        before = [n for n in outside if n.phase == "forward" or not n.inputs]
        for node in before:
            self.out.add(node)
        for round_ in self.rounds:
            for node in inside:
                self._repeat(node, round_)
        for node in outside:
            if node.name not in self.out.nodes:
                inputs = tuple(self._joined(name, node) for name in node.inputs)
                self.out.add(replace(node, inputs=inputs))
        outputs = tuple(self._joined(name, self.graph[name]) for name in self.graph.outputs)
        return self.out.build(outputs)

    def _repeats(self, node: Node) -> bool:
        if node.layer not in self.region or not node.inputs:
            return False
        changes = node.phase == "update" or isinstance(node.op, ops.Cast)
        return not changes or self.per_round

    def _repeat(self, node: Node, round_: Round) -> None:
        inputs = tuple(self._in_round(name, node, round_) for name in node.inputs)
        op, name = node.op, self._copy(node, round_)
        if isinstance(op, ops.Update):
            op = op.in_round(round_.size / _batch(self.graph), round_.index, len(self.rounds))
        self.out.emit(name, op, inputs, node, rows=round_.rows)
        if node.phase == "update":
            assert op.alias is not None
            self._advance(node.inputs[op.alias], name)
        elif self._adds_up(node):
            self._accumulate(node, name, round_)

    def _copy(self, node: Node, round_: Round) -> str:
        """The name of a value in a round; what is final keeps the original name."""
        final = node.phase == "update" and round_ is self.rounds[-1]
        alone = len(self.rounds) == 1 and self._adds_up(node)
        return node.name if final or alone else f"{node.name}@{round_.index}"

    def _adds_up(self, node: Node) -> bool:
        """True for what contracts the batch and is used when all rounds are over."""
        users = (self.graph[user] for user in self.graph.users[node.name])
        wanted = node.name in self.graph.outputs or any(not self._repeats(u) for u in users)
        return wanted and node.phase != "update" and not self._batched(node)

    def _advance(self, state: str, newest: str) -> None:
        """From now on readers of `state` read what the update wrote."""
        self.versions[state] = newest

    def _in_round(self, name: str, user: Node, round_: Round) -> str:
        """What an operation of this round reads in place of `name`."""
        source = self.graph[name]
        if self._repeats(source):
            return self._copy(source, round_)
        if source.layer == SCALARS or not self._batched(source):
            return self.versions.get(name, name)
        return self._slice(source, user, round_)

    def _batched(self, source: Node) -> bool:
        _, result = node_labels(self.graph, source)
        return "n" in result

    def _slice(self, source: Node, user: Node, round_: Round) -> str:
        name = f"{source.name}@{round_.index}"
        if name not in self.out.nodes:
            op = ops.RoundSlice(
                self.scheme, round_.index, round_.worker, len(self.rounds), round_.size
            )
            self.out.emit(name, op, (source.name,), source, rows=round_.rows, phase="forward")
        return name

    def _joined(self, name: str, user: Node) -> str:
        """What the layers around the region read in place of `name`: all rounds together."""
        source = self.graph[name]
        if name not in self.out.nodes and self._repeats(source):
            self._merge(source, user)
        return name

    def _merge(self, source: Node, user: Node) -> None:
        """Rows of all rounds, in the layer that gets them."""
        workers = tuple(r.worker for r in self.rounds)
        parts = tuple(self._copy(source, r) for r in self.rounds)
        op = ops.RoundMerge(self.scheme, workers)
        self.out.emit(source.name, op, parts, replace(user, phase=source.phase), rows=())

    def _accumulate(self, node: Node, part: str, round_: Round) -> None:
        """Add a round's part to the rounds before, in the storage of the first."""
        total = self.totals.get(node.name)
        if total is not None:
            _, dims = node_labels(self.graph, node)
            last = round_ is self.rounds[-1]
            name = node.name if last else f"{node.name}@0..{round_.index}"
            like = replace(node, rows=())
            part = self.out.emit(name, ops.Accumulate(dims), (total, part), like).name
        self.totals[node.name] = part
