"""Prices of splits: what each layer computes and exchanges under every choice it has, as tables.

The additive model of Jia et al. 2018 (Eq. 1), with every price from the rules that the compiler
carries out: placements by labels (`netc.ir.derive`), exchanges by the one table (`netc.ir.comm`).
A value that several layers want is priced together: converted once for each placement that is
asked. Left out is what only a whole program knows: launches that are joined, exchanges that hide.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import chain, product
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from netc.cost import Cluster, kernel_kind, launch_rates
from netc.ir.derive import placements_by_label, placements_by_split, without_windows
from netc.ir.graph import Graph
from netc.ir.ops import SourceOp
from netc.ir.ops.base import Op
from netc.ir.ops.conv import Convolution
from netc.ir.plan import Split, along_axes
from netc.ir.types import (
    ITEM_BYTES,
    Halo,
    Mesh,
    Partial,
    Placement,
    Placements,
    Replicate,
    TensorType,
)
from netc.passes.split_groups import grouped, is_of_groups, may_be_grouped
from netc.planner.numbered import Numbered, Numbers
from netc.planner.terms import GivenValue, NodeKind, Share, Terms
from netc.planner.ways import Ways
from netc.strategies.eliminate import Costs
from netc.strategies.labels import NAMES, REPLICATED, layer_letters
from netc.strategies.search import CostTable

ALL_LABELS = "".join(NAMES)
"""What layers may be split by."""
LARGEST_JOINT = 2**18
"""Entries of the table of one value; where its readers have more choices together, each of them is
priced as if it alone wanted the value."""
T = TypeVar("T", bound=np.generic)


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
        return [*self.own, *self.exchanging, *shown(self.updating, hidden)]

    @property
    def own(self) -> list[CostTable]:
        """What layers compute."""
        return [CostTable((i,), seconds) for i, seconds in enumerate(self.computing)]

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


def shown(updating: Sequence[CostTable], hidden: float) -> list[CostTable]:
    """What is left of exchanges of gradients where a part of them hides."""
    return [CostTable(t.variables, t.costs * (1 - hidden)) for t in updating]


def choices_of(graph: Graph, mesh: Mesh, labels: str = ALL_LABELS) -> dict[str, tuple[Split, ...]]:
    """The splits of every layer over its labels among some, everywhere, and the first device."""
    return {
        layer: tuple(product((*(c for c in letters if c in labels), REPLICATED, "@0"),
                             repeat=len(mesh.shape)))
        for layer, letters in layer_letters(graph).items()
    }  # fmt: skip


def price(
    known: Terms, mesh: Mesh, cluster: Cluster, choices: Mapping[str, Sequence[Split]]
) -> Priced:
    """What every choice costs on several devices."""
    with _uncollected():
        return _Pricing(known, mesh, cluster, choices).run()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without looking for garbage, of which next to none is made: it takes a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass(frozen=True, slots=True)
class _Slot:
    """Something that layers want of a value, or give to a sum: a placement for each choice."""

    layer: int
    """Its place in the scope of the value."""
    places: int
    """By choice of the layer the placements: the number of the pattern."""


Scope = tuple[int, ...]
Exchange = tuple[bool, Scope, Costs]
"""Whether it may hide behind computation; the layers it depends on, and its seconds by theirs."""


class _Pricing:
    def __init__(
        self, known: Terms, mesh: Mesh, cluster: Cluster, choices: Mapping[str, Sequence[Split]]
    ) -> None:
        self.known, self.mesh, self.cluster = known, mesh, cluster
        self.choices = tuple(tuple(choices[layer]) for layer in known.layers)
        spaces = Numbered[tuple[Split, ...]]()
        self.space = tuple(map(spaces.number, self.choices))
        """By layer the number of the choices it has."""
        self.spaces = spaces.values
        self.splits = [[along_axes(split, mesh) for split in own] for own in self.spaces]
        """The same as they are in force on the mesh."""
        self.labels = [(*dict.fromkeys(chain.from_iterable(own)),) for own in self.splits]
        self.ways = Ways(mesh, cluster)
        self.places: dict[tuple[int, int], tuple[tuple[int, ...], int]] = {}
        """By kind and choices what a node wants of its operands and what it gives: patterns."""
        self.wanted: dict[object, tuple[tuple[int, ...], int]] = {}
        self.patterns: dict[object, int] = {}
        """By choices, and what an operand is by label, the number of the pattern."""
        self.rows: dict[tuple[int, ...], tuple[Numbers, Numbers]] = {}
        self.shares: dict[tuple[Share, int], Costs] = {}
        self.joint: dict[object, Costs] = {}

    def run(self) -> Priced:
        """Everything: what is alike once."""
        pairs = list(zip(self.known.computed, self.space, strict=True))
        own = {pair: self._computed(*pair) for pair in dict.fromkeys(pairs)}
        found: dict[bool, dict[Scope, list[Costs]]] = {False: {}, True: {}}
        priced: dict[object, list[Exchange]] = {}
        for scope, number in self.known.exchanged:
            spaces = tuple(self.space[layer] for layer in scope)
            key = number, spaces
            if key not in priced:
                priced[key] = list(self._exchanged(number, spaces))
            for late, places, costs in priced[key]:
                layers = tuple(scope[place] for place in places)
                found[late].setdefault(layers, []).append(costs)
        sums = _Sums()
        exchanging, updating = (
            tuple(
                CostTable(scope, whole)
                for scope, costs in found[late].items()
                if (whole := sums.of(costs)) is not None
            )
            for late in (False, True)
        )
        return Priced(
            self.mesh, self.known.layers, self.choices,
            tuple(own[pair][0] for pair in pairs), tuple(own[pair][1] for pair in pairs),
            exchanging, updating,
        )  # fmt: skip

    def _computed(self, number: int, space: int) -> tuple[Costs, Costs]:
        """By choice of a layer the seconds of its launches and the bytes that it keeps."""
        size = len(self.spaces[space])
        seconds, nbytes = np.zeros(size), np.zeros(size)
        for term, count in self.known.layer_terms[number]:
            share = count * self._share(term.share, space)
            seconds += share * self._launch(term.kind, space)
            nbytes += share * self._kept(term.kind, space)
        return seconds, nbytes

    def _share(self, share: Share | None, space: int) -> Costs | float:
        """By choice of its layer 1 where a part is there and 0 where it is not."""
        if share is None:
            return 1.0
        if (share, space) not in self.shares:
            _, gives = self._places(share.variance, space)
            divided = np.array([
                any(isinstance(place, Partial) for place in self.ways.blocks[number])
                for number in self.ways.choices[gives]
            ], float)  # fmt: skip
            self.shares[share, space] = divided if share.divided else 1 - divided
        return self.shares[share, space]

    def _places(self, kind: int, space: int) -> tuple[tuple[int, ...], int]:
        key = (kind, space)
        if key not in self.places:
            own = self.known.kinds[kind]
            op = own.node.op
            labels = op.labels(own.types)
            alike: object = key
            if labels == labels.lower() and not (
                isinstance(op, Convolution) or is_of_groups(own.node)
            ):
                # No windows: all that matters is in the labels.
                alike = (labels, op.reduction, space)
            if alike not in self.wanted:
                self.wanted[alike] = self._under(own, space)
            self.places[key] = self.wanted[alike]
        return self.places[key]

    def _under(self, kind: NodeKind, space: int) -> tuple[tuple[int, ...], int]:
        """What a node wants and gives under the splits of its layer."""
        own, types = self.spaces[space], (*kind.types, kind.node.type)
        if not may_be_grouped(kind.node):
            return self._by_label(kind.node.op, types, space)
        by_op: dict[Op, list[int]] = {}
        for i, split in enumerate(own):
            op = grouped(kind.graph, kind.node, split, self.mesh).op
            by_op.setdefault(op, []).append(i)
        found: dict[int, tuple[tuple[Placements, ...], Placements]] = {}
        for op, numbers in by_op.items():
            splits = [along_axes(own[i], self.mesh) for i in numbers]
            placed = placements_by_split(op, types, splits, self.mesh)
            found |= dict(zip(numbers, placed, strict=True))
        wants, gives = zip(*(found[i] for i in range(len(own))), strict=True)
        return (
            tuple(map(self.ways.pattern, zip(*wants, strict=True))), self.ways.pattern(gives)
        )  # fmt: skip

    def _by_label(
        self, op: Op, types: tuple[TensorType, ...], space: int
    ) -> tuple[tuple[int, ...], int]:
        """The same of an operation that no split changes: by axis what its label makes of each."""
        labels = self.labels[space]
        along = placements_by_label(op, types, labels)
        wants = [
            self._pattern(type_, {label: along[label][0][number] for label in labels}, space)
            for number, type_ in enumerate(types[:-1])
        ]
        gives = self._pattern(types[-1], {label: along[label][1] for label in labels}, space)
        return tuple(wants), gives

    def _pattern(self, type_: TensorType, own: Mapping[str, Placement], space: int) -> int:
        """The placements of an operand or a result, by what labels make of it along an axis."""
        has_windows = any(isinstance(place, Halo) for place in own.values())
        key = (space, tuple(own.values()), type_ if has_windows else None)
        if key not in self.patterns:
            blocks = self.ways.blocks
            atoms = {label: blocks.atom(place) for label, place in own.items()}
            windows = {label for label, place in own.items() if isinstance(place, Halo)}
            places = []
            for split in self.splits[space]:
                if windows.isdisjoint(split):
                    places.append(tuple([atoms[label] for label in split]))
                else:
                    read = without_windows(type_, tuple(own[la] for la in split), self.mesh)
                    places.append(tuple(map(blocks.atom, read)))
            self.patterns[key] = self.ways.pattern_of(places)
        return self.patterns[key]

    def _launch(self, number: int, space: int) -> Costs | float:
        """Seconds of a node's launch on the first device, by choice of its layer."""
        kind = self.known.kinds[number]
        node, blocks = kind.node, self.ways.blocks
        if isinstance(node.op, SourceOp) or node.op.view:
            return 0.0
        # The terms of a sum are wanted where the sum is; so is what it gives.
        wants, gives = self._places(number, space)
        rows, which = self._rows((*wants, gives))
        types = (*kind.types, node.type)
        elements = np.array([blocks.elements(t, own) for t, own in zip(types, rows, strict=True)])
        nbytes = elements * np.array([[ITEM_BYTES[t.dtype]] for t in types])
        if kind.chained is not None:
            # It runs in the launch before it, and reads what else it needs.
            read = nbytes[:-1].sum(0) - nbytes[kind.chained]
            seconds = read / self.cluster.memory_bytes_per_second
        else:
            if type(node.op).flops is Op.flops:
                flops = elements.max(0)
            else:
                flops = self._flops(node.op, types, rows)
            flops = np.where(elements.all(0), flops, 0)
            rates = launch_rates(self.cluster, kernel_kind(node.op), node.type.dtype)
            bounds = rates.bounds(flops.astype(np.float64), nbytes.sum(0).astype(np.float64))
            seconds = reduce(np.maximum, bounds)
        launched: Costs = np.where(elements[-1], seconds, 0.0)
        return launched[which]

    def _flops(self, op: Op, types: Sequence[TensorType], rows: Numbers) -> Numbers:
        """Operations on the blocks of some placements, one row of them for each tensor."""
        blocks = zip(types, rows, strict=True)
        shapes = [list(map(tuple, self.ways.blocks.shapes(t, own).tolist())) for t, own in blocks]
        return np.array([op.flops(own, result) for *own, result in zip(*shapes, strict=True)])

    def _rows(self, patterns: tuple[int, ...]) -> tuple[Numbers, Numbers]:
        """What placements some patterns have together, a row for each, and by choice which."""
        if patterns not in self.rows:
            rows = Numbered[tuple[int, ...]]()
            each = zip(*(self.ways.choices[pattern] for pattern in patterns), strict=True)
            which = np.array(list(map(rows.number, each)))
            self.rows[patterns] = np.array(rows.values).T, which
        return self.rows[patterns]

    def _kept(self, number: int, space: int) -> Costs | float:
        """Bytes that a value takes on the first device as long as others may need it."""
        kind = self.known.kinds[number]
        if not kind.kept:
            return 0.0
        _, gives = self._places(number, space)
        type_, numbers = kind.node.type, self.ways.patterns[gives].numbers
        nbytes = self.ways.blocks.elements(type_, numbers) * ITEM_BYTES[type_.dtype]
        return (nbytes * kind.kept).astype(np.float64)

    def _exchanged(self, number: int, spaces: tuple[int, ...]) -> Iterator[Exchange]:
        """The exchanges of some values; layers are places in their scope."""
        for value, count in self.known.values[number]:
            share = self._share(value.term.share, spaces[value.layer])
            for late, scope, costs in self._value(value, spaces):
                if count > 1:
                    costs = costs * count
                if isinstance(share, float):
                    yield late, scope, costs
                else:
                    ends = [-1 if place == value.layer else 1 for place in scope]
                    yield late, scope, costs * share.reshape(ends)

    def _value(self, value: GivenValue, spaces: tuple[int, ...]) -> Iterator[Exchange]:
        type_ = self.known.kinds[value.term.kind].node.type
        wants, gives = self._places(value.term.kind, spaces[value.layer])
        if value.givers:
            # Terms that live alike are added up where they live, and each sum moved once.
            taker = _Slot(value.layer, wants[0])
            terms = dict.fromkeys(
                _Slot(layer, self._places(kind, spaces[layer])[1]) for kind, layer in value.givers
            )
            for each in self._converted(type_, taker, terms, spaces, backwards=True):
                yield False, *each
        giver = _Slot(value.layer, gives)
        soon, late = (
            [
                _Slot(r.layer, self._places(r.kind, spaces[r.layer])[0][r.operand])
                for r in value.readers if r.late == update
            ]
            for update in (False, True)
        )  # fmt: skip
        first, every = dict.fromkeys(soon), dict.fromkeys((*soon, *late))
        for layers, costs in self._converted(type_, giver, first, spaces):
            yield False, layers, costs
            if len(every) > len(first):
                # What was converted before updates begin is there for them too.
                yield True, layers, -costs
        if len(every) > len(first):
            for each in self._converted(type_, giver, every, spaces):
                yield True, *each
        if value.leaves:
            places = [self.ways.blocks[n] for n in self.ways.choices[gives]]
            whole = self.ways.pattern(tuple(map(_reduced, each)) for each in places)
            slot = _Slot(giver.layer, whole)
            for each in self._converted(type_, giver, [slot], spaces):
                yield False, *each

    def _converted(
        self, type_: TensorType, one: _Slot, many: Iterable[_Slot], spaces: tuple[int, ...],
        backwards: bool = False,
    ) -> Iterator[tuple[Scope, Costs]]:  # fmt: skip
        """Seconds of a value's way from one placement to several different ones, or `backwards`
        from several to one; each that is alike counts once.
        """
        # What a layer wants as it has it goes nowhere.
        slots = [slot for slot in many if slot != one]
        if not slots:
            return
        scope = {one.layer, *(slot.layer for slot in slots)}
        if prod(len(self.spaces[spaces[i]]) for i in scope) <= LARGEST_JOINT or len(scope) <= 2:
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
        self, type_: TensorType, one: _Slot, group: Sequence[_Slot], layers: Scope, backwards: bool
    ) -> Costs:
        spread: list[Numbers] = []
        total = np.zeros(())
        for place, slot in enumerate(group):
            ends = (slot.places, one.places) if backwards else (one.places, slot.places)
            if slot.layer == one.layer:
                costs = self._spread(self.ways.seconds_alike(type_, *ends), (one.layer,), layers)
            else:
                costs = self.ways.seconds(type_, *ends)
                costs = costs.T if backwards else costs
                costs = self._spread(costs, (one.layer, slot.layer), layers)
            numbers = self.ways.patterns[slot.places].numbers
            spread.append(self._spread(numbers, (slot.layer,), layers))
            for earlier in spread[:place]:
                costs = np.where(earlier == spread[place], 0.0, costs)
            total = total + costs
        return total

    @staticmethod
    def _spread(values: NDArray[T], scope: Scope, layers: Scope) -> NDArray[T]:
        """Values by choices of one or two layers along the axes of them."""
        if len(scope) == 2 and scope[0] > scope[1]:
            values, scope = values.T, scope[::-1]
        sizes = dict(zip(scope, values.shape, strict=True))
        return values.reshape([sizes.get(i, 1) for i in layers])


class _Sums:
    """Sums of tables, the same ones once: layers that are alike then share their tables."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, ...], Costs | None] = {}

    def of(self, tables: Sequence[Costs]) -> Costs | None:
        """The sum of tables of one scope, which are kept elsewhere meanwhile; None for zeros."""
        key = tuple(map(id, tables))
        if key not in self.known:
            whole = reduce(np.add, tables)
            self.known[key] = whole if whole.any() else None
        return self.known[key]


def _reduced(place: Placement) -> Placement:
    return Replicate() if isinstance(place, Partial) else place
