"""What of a graph has a price, by what is alike: networks repeat themselves.

A graph has few kinds of nodes, layers that compute the same, and values that go the same ways. All
that is known of them before there are devices is worked out here, once for all meshes; each kind is
then priced once on each (`netc.planner.prices`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netc.ir.graph import Graph, Node
from netc.ir.ops import BnVar, GroupedVar, Parameter, State, Sum
from netc.ir.plan import Split
from netc.ir.types import TensorType, line_mesh
from netc.passes.fuse import may_join
from netc.passes.note_places import note_places
from netc.passes.split_groups import is_of_groups
from netc.passes.sum_statistics import of_sums
from netc.planner.numbered import Numbered
from netc.strategies.labels import SCALARS

Scope = tuple[int, ...]
"""Some layers, ascending."""


@dataclass(frozen=True, slots=True)
class NodeKind:
    """Nodes that compute the same of the same types."""

    graph: Graph
    node: Node
    """The first of them in its graph: the rules for all of them are asked about it."""
    types: tuple[TensorType, ...]
    """Of its operands."""
    chained: int | None
    """The operand with whose launch it will be joined, splits allowing (`netc.passes.fuse`)."""
    kept: int
    """How many times the bytes of its value are there as long as others may need them."""


class Share(NamedTuple):
    """When nodes of a statistic are there: where devices have terms of its variance, or nowhere
    else.
    """

    variance: int
    """The kind of the variance."""
    divided: bool
    """Whether it is there where devices have terms."""


class Term(NamedTuple):
    """A kind of node, and when it is there; None: always."""

    kind: int
    share: Share | None


class Reader(NamedTuple):
    """A node that wants a value."""

    kind: int
    operand: int
    layer: int
    """Its place among the layers of the value."""
    late: bool
    """Whether it is an update, whose exchange may hide behind computation."""


class GivenValue(NamedTuple):
    """What a node gives, and who wants it. Layers are places in the scope that it is of."""

    term: Term
    layer: int
    readers: tuple[Reader, ...]
    givers: tuple[tuple[int, int], ...]
    """Of a sum, the kinds and layers of its terms."""
    leaves: bool
    """Whether it is an output of the graph that is not an update."""


@dataclass(frozen=True, slots=True)
class Terms:
    """All that has a price, of one graph."""

    layers: tuple[str, ...]
    kinds: tuple[NodeKind, ...]
    layer_terms: tuple[tuple[tuple[Term, int], ...], ...]
    """What a layer computes, and how often; layers that compute the same share one of these."""
    computed: tuple[int, ...]
    """By layer its number there."""
    values: tuple[tuple[tuple[GivenValue, int], ...], ...]
    """What is exchanged among some layers, and how often; shared by layers that exchange alike."""
    exchanged: tuple[tuple[Scope, int], ...]
    """The layers that values are of, ascending, and their number there."""


def terms_of(graph: Graph, choices: Mapping[str, Sequence[Split]]) -> Terms:
    """What of a graph has a price, before rounds are made of it, where layers have some choices, on
    one mesh or on several.

    The gradient of pooling is that of noted places wherever a layer may be split by height or
    width (`netc.passes.note_places`). Mean and variance are made of sums where the choice of their
    layer is one under which devices have terms of them (`netc.passes.sum_statistics`).
    """
    if {"h", "w"} & {label for own in choices.values() for split in own for label in split}:
        graph = note_places(graph, dict.fromkeys(graph.layers, ("h",)), line_mesh(2))
    return _Collecting(graph).run()


class _Collecting:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers = tuple(layer for layer in graph.layers if layer != SCALARS)
        self.number = {layer: i for i, layer in enumerate(self.layers)}
        self.kinds: Numbered[object] = Numbered()
        self.firsts: list[NodeKind] = []
        self.known: dict[int, dict[str, int]] = {}
        """By graph the kinds of its nodes."""

    def run(self) -> Terms:
        """All nodes, means and variances both as they are and as they are made of sums."""
        computed: list[Counter[Term]] = [Counter() for _ in self.layers]
        exchanged: dict[Scope, Counter[GivenValue]] = {}
        for graph, node, share in self._nodes():
            term = Term(self._kinds(graph)[node.name], share)
            computed[self.number[node.layer]][term] += 1
            scope, value = self._value(graph, node, term)
            if value.readers or value.givers or value.leaves:
                exchanged.setdefault(scope, Counter())[value] += 1
        layer_terms: Numbered[tuple[tuple[Term, int], ...]] = Numbered()
        values: Numbered[tuple[tuple[GivenValue, int], ...]] = Numbered()
        by_layer = tuple(layer_terms.number(tuple(own.items())) for own in computed)
        by_scope = tuple(
            (scope, values.number(tuple(own.items()))) for scope, own in exchanged.items()
        )
        return Terms(
            self.layers, tuple(self.firsts), tuple(layer_terms.values), by_layer,
            tuple(values.values), by_scope,
        )  # fmt: skip

    def _nodes(self) -> Iterator[tuple[Graph, Node, Share | None]]:
        graph = self.graph
        nodes = [node for node in graph.nodes if node.layer != SCALARS]
        variances = [node for node in nodes if isinstance(node.op, BnVar | GroupedVar)]
        summed = of_sums(graph, variances)
        kinds = {var.layer: self._kinds(graph)[var.name] for var in variances}
        made = {name for var in variances for name in (var.name, var.inputs[1])}
        for node in nodes:
            yield graph, node, Share(kinds[node.layer], False) if node.name in made else None
        if variances:
            for node in summed.nodes:
                if node.name in made or node.name not in graph.index:
                    yield summed, node, Share(kinds[node.layer], True)

    def _kinds(self, graph: Graph) -> Mapping[str, int]:
        """By node its kind."""
        if id(graph) not in self.known:
            self.known[id(graph)] = {node.name: self._kind(graph, node) for node in graph.nodes}
        return self.known[id(graph)]

    def _kind(self, graph: Graph, node: Node) -> int:
        types = graph.operand_types(node)
        chained = _chained(graph, node)
        kept = _kept(graph, node, chained)
        # Which groups a device has follows from the statistics of the layer.
        layer = node.layer if is_of_groups(node) else ""
        number = self.kinds.number((node.op, types, node.type, chained, kept, layer))
        if number == len(self.firsts):
            self.firsts.append(NodeKind(graph, node, types, chained, kept))
        return number

    def _value(self, graph: Graph, node: Node, term: Term) -> tuple[Scope, GivenValue]:
        """The layers that a node's value is of, and what it is to them."""
        number, kinds, name = self.number, self._kinds(graph), node.name
        own = number[node.layer]
        readers = []
        for user in dict.fromkeys(graph.users[name]):
            reader = graph.index[user]
            if isinstance(reader.op, Sum) or reader.layer == SCALARS:
                continue
            kind, layer, late = kinds[user], number[reader.layer], reader.phase == "update"
            for operand, read in enumerate(reader.inputs):
                if read == name:
                    readers.append((kind, operand, layer, late))
        givers = []
        if isinstance(node.op, Sum):
            givers = [(kinds[term], number[graph.index[term].layer]) for term in node.inputs]
        scope = sorted({own, *(reader[2] for reader in readers), *(giver[1] for giver in givers)})
        place = {layer: i for i, layer in enumerate(scope)}
        wanting = [Reader(kind, i, place[layer], late) for kind, i, layer, late in readers]
        giving = [(kind, place[layer]) for kind, layer in givers]
        leaves = name in graph.outputs and node.phase != "update"
        value = GivenValue(
            term, place[own], tuple(dict.fromkeys(wanting)), tuple(dict.fromkeys(giving)), leaves
        )
        return tuple(scope), value


def _chained(graph: Graph, node: Node) -> int | None:
    if node.op.alias is not None:
        return None
    for place in node.op.overwritable():
        before = graph[node.inputs[place]]
        if not isinstance(before.op, Sum) and may_join(graph, before, node):
            return place
    return None


def _kept(graph: Graph, node: Node, chained: int | None) -> int:
    op = node.op
    lasting = isinstance(op, Parameter | State) or node.phase == "forward"
    if op.view or op.alias is not None or chained is not None or not lasting:
        return 0
    # In training, weights have gradients of their size.
    return 2 if isinstance(op, Parameter) and graph.trains else 1
