"""Prices of splits: what each layer computes and exchanges under every choice it has, as tables.

The additive model of Jia et al. 2018 (Eq. 1), with every price from the rules that the compiler
carries out: placements by labels (`netc.ir.derive`), exchanges by the one table (`netc.ir.comm`).
A value that several layers want is priced together: converted once for each placement that is
asked. Left out is what only a whole program knows: launches that are joined, exchanges that hide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from netc.cost import Cluster, kernel_kind, launch_seconds
from netc.ir.derive import placements_by_split
from netc.ir.graph import Graph, Node
from netc.ir.ops import OF_GROUPS, BnVar, GroupedVar, Parameter, SourceOp, State, Sum
from netc.ir.ops.base import Op
from netc.ir.ops.conv import Convolution
from netc.ir.plan import Split, along_axes
from netc.ir.types import (
    ITEM_BYTES,
    Mesh,
    Partial,
    Placement,
    Placements,
    Replicate,
    TensorType,
)
from netc.passes.fuse import may_join
from netc.passes.note_places import note_places
from netc.passes.split_groups import grouped
from netc.passes.sum_statistics import is_divided, of_sums
from netc.planner.ways import Ways
from netc.strategies.eliminate import Costs
from netc.strategies.labels import NAMES, REPLICATED, SCALARS, layer_letters
from netc.strategies.search import CostTable

ALL_LABELS = "".join(NAMES)
"""What layers may be split by."""
LARGEST_JOINT = 2**18
"""Entries of the table of one value; where its readers have more choices together, each of them is
priced as if it alone wanted the value."""
T = TypeVar("T", bound=np.generic)
Numbers = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Priced:
    """The choices of every layer, and what they cost, in seconds and bytes of a device."""

    mesh: Mesh
    layers: tuple[str, ...]
    choices: tuple[tuple[Split, ...], ...]
    """By layer, the splits it may have."""
    computing: tuple[Costs, ...]
    """By layer and choice, seconds of its launches."""
    memory: tuple[Costs, ...]
    """By layer and choice, bytes of weights, their gradients and state, and of what it keeps."""
    exchanging: tuple[CostTable, ...]
    """Seconds of exchanges forward and backward, of the layers they depend on."""
    updating: tuple[CostTable, ...]
    """Seconds of exchanges of weights' gradients, which may hide behind computation."""

    def tables(self, hidden: float = 0.0) -> list[CostTable]:
        """The additive model, where a part of the gradients' exchange hides."""
        own = [CostTable((i,), seconds) for i, seconds in enumerate(self.computing)]
        shown = [CostTable(t.variables, t.costs * (1 - hidden)) for t in self.updating]
        return [*own, *self.exchanging, *shown]

    def has(self, splits: Mapping[str, Split]) -> bool:
        """Whether every layer has the split that a plan gives it among its choices."""
        pairs = zip(self.layers, self.choices, strict=True)
        return all(splits[layer] in own for layer, own in pairs)

    def number(self, splits: Mapping[str, Split]) -> tuple[int, ...]:
        """A plan as numbers of choices. Raises ValueError where a layer lacks its split."""
        pairs = zip(self.layers, self.choices, strict=True)
        return tuple(own.index(splits[layer]) for layer, own in pairs)

    def splits(self, numbers: Sequence[int]) -> dict[str, Split]:
        """The inverse of `number`."""
        triples = zip(self.layers, self.choices, numbers, strict=True)
        return {layer: own[number] for layer, own, number in triples}


def choices_of(graph: Graph, mesh: Mesh, labels: str = ALL_LABELS) -> dict[str, tuple[Split, ...]]:
    """The splits of every layer over its labels among some, everywhere, and the first device."""
    return {
        layer: tuple(product((*(c for c in letters if c in labels), REPLICATED, "@0"),
                             repeat=len(mesh.shape)))
        for layer, letters in layer_letters(graph).items()
    }  # fmt: skip


def price(
    graph: Graph, mesh: Mesh, cluster: Cluster, choices: Mapping[str, Sequence[Split]]
) -> Priced:
    """What every choice costs in a graph, before rounds are made of it.

    The gradient of pooling is that of noted places wherever a layer may be split by height or
    width (`netc.passes.note_places`). Mean and variance are made of sums where the choice of their
    layer is one under which devices have terms of them (`netc.passes.sum_statistics`).
    """
    high = {layer: ("h",) * len(mesh.shape) for layer in choices}
    spatial = {"h", "w"} & {label for own in choices.values() for split in own for label in split}
    if spatial:
        graph = note_places(graph, high, mesh)
    return _Pricing(graph, mesh, cluster, choices).run()


@dataclass(frozen=True, slots=True)
class _Term:
    """A node that has its part in the prices."""

    pricing: _Pricing
    """Of the graph that it is in."""
    node: Node
    share: Costs | None = None
    """By choice of its layer 1 where it is there and 0 where it is not; None: it always is."""

    def of(self, costs: Costs | float) -> Costs | float:
        """Costs by choice of the node's layer, where it is there."""
        return costs if self.share is None else self.share * costs

    def along(self, layers: tuple[int, ...], costs: Costs) -> Costs:
        """Costs by the choices of some layers, the node's among them."""
        if self.share is None:
            return costs
        own = layers.index(self.pricing.number[self.node.layer])
        ends = [-1 if place == own else 1 for place in range(len(layers))]
        return costs * self.share.reshape(ends)


@dataclass(frozen=True, slots=True)
class _Slot:
    """Something that layers want of a value, or give to a sum: a placement for each choice."""

    layer: int
    places: int
    """By choice of the layer the placements: the number of the pattern."""


class _Pricing:
    def __init__(
        self, graph: Graph, mesh: Mesh, cluster: Cluster, choices: Mapping[str, Sequence[Split]]
    ) -> None:
        self.graph, self.mesh, self.cluster = graph, mesh, cluster
        self.layers = tuple(choices)
        self.number = {layer: i for i, layer in enumerate(self.layers)}
        self.choices = tuple(tuple(own) for own in choices.values())
        self.places: dict[str, tuple[tuple[int, ...], int]] = {}
        self.wanted: dict[object, tuple[tuple[int, ...], int]] = {}
        spaces = {own: i for i, own in enumerate(dict.fromkeys(self.choices))}
        self.alike = {name: spaces[self.choices[i]] for name, i in self.number.items()}
        """By layer a number for the choices it has."""
        self.launches: dict[object, Costs] = {}
        self.joint: dict[object, Costs] = {}
        self.ways = Ways(mesh, cluster)

    def run(self) -> Priced:
        """Everything."""
        computing = [np.zeros(len(own)) for own in self.choices]
        memory = [np.zeros(len(own)) for own in self.choices]
        terms = self._terms()
        for term in terms:
            layer = self.number[term.node.layer]
            computing[layer] += term.of(term.pricing._launch(term.node))
            memory[layer] += term.of(term.pricing._kept(term.node))
        tables: dict[bool, dict[tuple[int, ...], Costs]] = {True: {}, False: {}}
        for term in terms:
            for update, slots, whole in term.pricing._exchanges(term.node):
                costs, known = term.along(slots, whole), tables[update]
                known[slots] = known[slots] + costs if slots in known else costs
        exchanging, updating = (
            tuple(CostTable(scope, costs) for scope, costs in tables[kind].items() if costs.any())
            for kind in (False, True)
        )
        return Priced(
            self.mesh,
            self.layers,
            self.choices,
            tuple(computing),
            tuple(memory),
            exchanging,
            updating,
        )

    def _terms(self) -> list[_Term]:
        """All nodes, means and variances both as they are and as they are made of sums."""
        nodes = [node for node in self.graph.nodes if node.layer != SCALARS]
        variances = [node for node in nodes if isinstance(node.op, BnVar | GroupedVar)]
        summed = copy(self)
        summed.graph, summed.places = of_sums(self.graph, variances), {}
        divided = {var.layer: self._divided(var) for var in variances}
        made = {name for var in variances for name in (var.name, var.inputs[1])}
        terms = [
            _Term(self, node, 1 - divided[node.layer] if node.name in made else None)
            for node in nodes
        ]
        return terms + [
            _Term(summed, node, divided[node.layer]) for node in summed.graph.nodes
            if node.name in made or node.name not in self.graph.index
        ]  # fmt: skip

    def _divided(self, var: Node) -> Costs:
        """By choice of its layer, 1 where several devices have terms of a variance."""
        splits = (along_axes(s, self.mesh) for s in self.choices[self.number[var.layer]])
        return np.array([
            is_divided(self.graph, grouped(self.graph, var, split, self.mesh), split, self.mesh)
            for split in splits
        ], float)  # fmt: skip

    def _places(self, node: Node) -> tuple[tuple[int, ...], int]:
        """By operand what a node wants, and what it gives: placements by choice, by number."""
        if node.name not in self.places:
            self.places[node.name] = self._placed(node)
        return self.places[node.name]

    def _placed(self, node: Node) -> tuple[tuple[int, ...], int]:
        own = self.choices[self.number[node.layer]]
        types = self.graph.operand_types(node)
        key: tuple[object, ...] = (node.op, types, node.type, self.alike[node.layer])
        if key not in self.wanted:
            op = node.op
            labels = op.labels(types)
            if labels == labels.lower() and not isinstance(op, Convolution | OF_GROUPS):
                # No windows: all that matters is in the labels.
                key = (labels, op.reduction, self.alike[node.layer])
            if key not in self.wanted:
                self.wanted[key] = self._under(node, own)
        return self.wanted[key]

    def _under(self, node: Node, own: Sequence[Split]) -> tuple[tuple[int, ...], int]:
        """What a node wants and gives under the splits of its layer."""
        types = (*self.graph.operand_types(node), node.type)
        by_op: dict[Op, list[int]] = {}
        for i, split in enumerate(own):
            by_op.setdefault(grouped(self.graph, node, split, self.mesh).op, []).append(i)
        found: dict[int, tuple[tuple[Placements, ...], Placements]] = {}
        for op, numbers in by_op.items():
            splits = [along_axes(own[i], self.mesh) for i in numbers]
            placed = placements_by_split(op, types, splits, self.mesh)
            found |= dict(zip(numbers, placed, strict=True))
        wants, gives = zip(*(found[i] for i in range(len(own))), strict=True)
        return (
            tuple(map(self.ways.pattern, zip(*wants, strict=True))), self.ways.pattern(gives)
        )  # fmt: skip

    def _launch(self, node: Node) -> Costs | float:
        """Seconds of a node's launch on the first device, by choice of its layer."""
        if isinstance(node.op, SourceOp) or node.op.view:
            return 0.0
        chained = self._chained(node)
        types = self.graph.operand_types(node)
        wants, gives = self._places(node)
        key = (node.op, types, node.type, chained, self.alike[node.layer])
        if key not in self.launches:
            # The terms of a sum are wanted where the sum is; so is what it gives.
            shapes = [self.ways.first_blocks(t, w) for t, w in zip(types, wants, strict=True)]
            results = self.ways.first_blocks(node.type, gives)
            rows = list(zip(results, *shapes, strict=True))
            each = {row: self._seconds(node, types, row[1:], row[0], chained) for row in set(rows)}
            self.launches[key] = np.array([each[row] for row in rows])
        return self.launches[key]

    def _seconds(
        self, node: Node, types: Sequence[TensorType], blocks: Sequence[tuple[int, ...] | None],
        result: tuple[int, ...] | None, chained: int | None,
    ) -> float:  # fmt: skip
        if result is None or not prod(result):
            return 0.0
        shapes = [block or (0,) for block in blocks]
        sizes = [prod(s) * ITEM_BYTES[t.dtype] for s, t in zip(shapes, types, strict=True)]
        if chained is not None:
            # It runs in the launch before it, and reads what else it needs.
            return (sum(sizes) - sizes[chained]) / self.cluster.memory_bytes_per_second
        moved = sum(sizes) + prod(result) * ITEM_BYTES[node.type.dtype]
        flops = node.op.flops(tuple(shapes), result) if all(map(prod, shapes)) else 0
        kind = kernel_kind(node.op)
        return launch_seconds(self.cluster, kind, node.type.dtype, flops, moved)

    def _chained(self, node: Node) -> int | None:
        """The operand with whose launch a node will be joined, splits allowing (`fuse`)."""
        if node.op.alias is not None:
            return None
        for place in node.op.overwritable():
            before = self.graph[node.inputs[place]]
            if not isinstance(before.op, Sum) and may_join(self.graph, before, node):
                return place
        return None

    def _kept(self, node: Node) -> Costs | float:
        """Bytes that a value takes on the first device as long as others may need it."""
        if node.op.view or node.op.alias is not None or self._chained(node) is not None:
            return 0.0
        lasting = isinstance(node.op, Parameter | State) or node.phase == "forward"
        if not lasting:
            return 0.0
        _, gives = self._places(node)
        item = ITEM_BYTES[node.type.dtype]
        sizes = self.ways.first_blocks(node.type, gives)
        # In training, weights have gradients of their size.
        times = 2 if isinstance(node.op, Parameter) and self.graph.trains else 1
        return np.array([prod(size) * item * times if size else 0 for size in sizes], float)

    def _exchanges(self, node: Node) -> Iterator[tuple[bool, tuple[int, ...], Costs]]:
        """Tables of the exchanges of a value: whether they may hide, layers, seconds."""
        if isinstance(node.op, Sum):
            yield from self._sum(node)
        _, gives = self._places(node)
        giver = _Slot(self.number[node.layer], gives)
        soon, late = (
            [slot for user, slot in self._readers(node) if (user.phase == "update") == update]
            for update in (False, True)
        )
        first, every = dict.fromkeys(soon), dict.fromkeys((*soon, *late))
        for layers, costs in self._converted(node.type, giver, first):
            yield False, layers, costs
            if len(every) > len(first):
                # What was converted before updates begin is there for them too.
                yield True, layers, -costs
        if len(every) > len(first):
            for layers, costs in self._converted(node.type, giver, every):
                yield True, layers, costs
        if node.name in self.graph.outputs and node.phase != "update":
            places = [self.ways.placed[n] for n in self.ways.patterns[gives].numbers]
            whole = self.ways.pattern(tuple(map(_reduced, each)) for each in places)
            slot = _Slot(giver.layer, whole)
            yield from ((False, *each) for each in self._converted(node.type, giver, [slot]))

    def _readers(self, node: Node) -> Iterator[tuple[Node, _Slot]]:
        for name in dict.fromkeys(self.graph.users[node.name]):
            user = self.graph[name]
            if isinstance(user.op, Sum) or user.layer == SCALARS:
                continue
            wants, _ = self._places(user)
            for operand, want in zip(user.inputs, wants, strict=True):
                if operand == node.name:
                    yield user, _Slot(self.number[user.layer], want)

    def _sum(self, node: Node) -> Iterator[tuple[bool, tuple[int, ...], Costs]]:
        """Terms that live alike are added up where they live, and each sum moved once."""
        wants, _ = self._places(node)
        taker = _Slot(self.number[node.layer], wants[0])
        givers = []
        for name in node.inputs:
            source = self.graph[name]
            givers.append(_Slot(self.number[source.layer], self._places(source)[1]))
        found = self._converted(node.type, taker, dict.fromkeys(givers), backwards=True)
        yield from ((False, *each) for each in found)

    def _converted(
        self, type_: TensorType, one: _Slot, many: Mapping[_Slot, None] | Sequence[_Slot],
        backwards: bool = False,
    ) -> Iterator[tuple[tuple[int, ...], Costs]]:  # fmt: skip
        """Seconds of a value's way from one placement to several different ones, or `backwards`
        from several to one; each that is alike counts once.
        """
        slots = list(many)
        scope = tuple(sorted({one.layer, *(slot.layer for slot in slots)}))
        if prod(len(self.choices[i]) for i in scope) <= LARGEST_JOINT or len(scope) <= 2:
            groups = [slots]
        else:
            groups = [[s for s in slots if s.layer == i] for i in dict.fromkeys(
                slot.layer for slot in slots)]  # fmt: skip
        for group in groups:
            layers = tuple(sorted({one.layer, *(slot.layer for slot in group)}))
            places = {i: k for k, i in enumerate(layers)}
            key = (type_, backwards, places[one.layer], one.places,
                   tuple((places[s.layer], s.places) for s in group))  # fmt: skip
            if key not in self.joint:
                self.joint[key] = self._joint(type_, one, group, layers, backwards)
            costs = self.joint[key]
            if costs.any():
                yield layers, costs

    def _joint(
        self, type_: TensorType, one: _Slot, group: Sequence[_Slot], layers: tuple[int, ...],
        backwards: bool,
    ) -> Costs:  # fmt: skip
        shape = [len(self.choices[i]) for i in layers]
        spread: list[Numbers] = []
        total = np.zeros(shape)
        for place, slot in enumerate(group):
            if backwards:
                costs = self.ways.seconds(type_, slot.places, one.places).T
            else:
                costs = self.ways.seconds(type_, one.places, slot.places)
            costs = self._along(costs, (one.layer, slot.layer), layers)
            numbers = self.ways.patterns[slot.places].numbers
            spread.append(self._along(numbers, (slot.layer,), layers))
            for earlier in spread[:place]:
                costs = np.where(earlier == spread[place], 0.0, costs)
            total = total + costs
        return total

    @staticmethod
    def _along(values: NDArray[T], scope: tuple[int, ...], layers: tuple[int, ...]) -> NDArray[T]:
        """Values by choices of one or two layers, which may be the same, along the axes of them."""
        if len(scope) == 2 and scope[0] == scope[1]:
            values, scope = values.diagonal(), scope[:1]
        if len(scope) == 2 and scope[0] > scope[1]:
            values, scope = values.T, scope[::-1]
        sizes = dict(zip(scope, values.shape, strict=True))
        return values.reshape([sizes.get(i, 1) for i in layers])


def _reduced(place: Placement) -> Placement:
    return Replicate() if isinstance(place, Partial) else place
