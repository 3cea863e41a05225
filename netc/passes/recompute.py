"""recompute: values of some layers are not kept for the backward pass, but computed again there.

Recomputation (activation checkpointing; Chen et al. 2016, "Training deep nets with sublinear memory
cost"). Of the layers named, what the backward pass reads is computed a second time from what is
kept, just before it is first read, and so is what lies between. Copies have the layer, operation
and operands of what they stand for: dropout draws the same mask, sums have the same order, and what
is communicated follows as for any other node.

Only activations are computed again. Statistics of the batch and weights in another type are small
and kept; state is written once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property

from netc.errors import ERROR_LIMIT, PlanError
from netc.ir.graph import Graph, GraphBuilder, Node
from netc.ir.ops import GroupedStatistic
from netc.ir.plan import Split
from netc.passes.choose_splits import Pin, matching, unmatched
from netc.passes.split_rounds import region_of
from netc.strategies.labels import SCALARS, node_labels

SUFFIX = "@recomputed"
"""Behind the name of a value: that of its copy. No name that people give has an @."""


def recompute(graph: Graph, layers: Collection[str], region: frozenset[str] = frozenset()) -> Graph:
    """The training graph in which activations of `layers` are computed again for the backward pass.

    Those of `region`, the layers that an exchange scheme repeats once a round, stay as they are: a
    round keeps them no longer than it lasts. So does what these layers read.
    """
    return _Recomputed(graph, layers, region).build() if layers else graph


def named_layers(graph: Graph, patterns: Collection[str]) -> frozenset[str]:
    """The layers that names and patterns mean; raises PlanError where one means none."""
    known = dict.fromkeys(layer for layer in graph.layers if layer != SCALARS)
    found = {pattern: matching(pattern, known) for pattern in patterns}
    problems = [unmatched(Pin(each, ""), known) for each, layers in found.items() if not layers]
    if problems:
        raise PlanError(*problems[:ERROR_LIMIT])
    return frozenset(layer for layers in found.values() for layer in layers)


def repeated_region(graph: Graph, splits: Mapping[str, Split], scheme: str) -> frozenset[str]:
    """The layers that rounds of a scheme repeat; none where there are no rounds."""
    return region_of(graph, splits) if scheme in ("b", "c") else frozenset()


def recomputed_layers(graph: Graph) -> tuple[str, ...]:
    """The layers of which a graph computes something again, in its order."""
    copied = {node.layer for node in graph.nodes if is_copy(node)}
    return tuple(layer for layer in graph.layers if layer in copied)


def is_copy(node: Node) -> bool:
    """Whether a node computes a value of the forward pass again."""
    return node.name.endswith(SUFFIX)


class Activations:
    """Which values of a training graph are activations, and who needs them kept."""

    def __init__(self, graph: Graph, region: frozenset[str]) -> None:
        self.graph, self.region = graph, region

    def has(self, node: Node) -> bool:
        """Whether a node of the forward pass has a row for each image, outside the region."""
        computed = node.phase == "forward" and node.inputs and node.op.alias is None
        computed = computed and not isinstance(node.op, GroupedStatistic)
        if not computed or node.layer in self.region:
            return False
        return "n" in node_labels(self.graph, node)[1]

    def root(self, name: str) -> str:
        """What a value is a view of, or the value itself."""
        node = self.graph[name]
        return self.root(node.inputs[0]) if node.op.view else name

    @cached_property
    def wanted(self) -> frozenset[str]:
        """What the backward pass reads."""
        later = (node for node in self.graph.nodes if node.phase != "forward")
        return frozenset(self.root(name) for node in later for name in node.inputs)

    @cached_property
    def held(self) -> frozenset[str]:
        """What the region reads: its rounds have both passes."""
        inside = (node for node in self.graph.nodes if node.layer in self.region)
        return frozenset(self.root(name) for node in inside for name in node.inputs)


class _Recomputed:
    """Writes the graph anew, with copies in front of their first readers."""

    def __init__(self, graph: Graph, layers: Collection[str], region: frozenset[str]) -> None:
        self.graph, self.layers = graph, frozenset(layers)
        self.values = Activations(graph, region)
        self.out = GraphBuilder(graph.name)
        self.copies: dict[str, str] = {}
        self.position = {node.name: i for i, node in enumerate(graph.nodes)}

    def build(self) -> Graph:
        """The whole graph."""
        for node in self.graph.nodes:
            if node.phase == "forward":
                self.out.add(node)
                continue
            for name in self._missing(node):
                self._copy(self.graph[name])
            self.out.add(replace(node, inputs=self._operands(node)))
        return self.out.build(self.graph.outputs)

    def _missing(self, reader: Node) -> list[str]:
        """What is to be computed again before a node of the backward pass, in order."""
        found: set[str] = set()
        ahead = list(reader.inputs)
        while ahead:
            name = ahead.pop()
            if name not in found and name not in self.copies and self._is_dropped(name):
                found.add(name)
                ahead += self.graph[name].inputs
        return sorted(found, key=self.position.__getitem__)

    def _is_dropped(self, name: str) -> bool:
        """Whether a value is gone when the backward pass begins: it was to be, or nobody else than
        a copy wants it then.
        """
        root = self.values.root(name)
        node = self.graph[root]
        if not self.values.has(node) or root in self.values.held:
            return False
        return node.layer in self.layers or root not in self.values.wanted

    def _copy(self, node: Node) -> None:
        name, inputs = f"{node.name}{SUFFIX}", self._operands(node)
        copy = replace(node, name=name, inputs=inputs, phase="backward")
        self.copies[node.name] = self.out.add(copy).name

    def _operands(self, node: Node) -> tuple[str, ...]:
        return tuple(self.copies.get(name, name) for name in node.inputs)
