"""What every redistribution between some placements costs, all at once.

Which steps lead from one placement to another depends on the placements alone, so that is worked
out once; what they cost for a tensor follows from the sizes of the first device's blocks. Exchanges
are priced by lines, seconds of nothing and of a byte, one for each way they may go; those that the
cuda backend calls large, by lines of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from netc.cost import Cluster, Links, even_moved, exchange_ways, most_ways
from netc.ir.carriers import LARGE_ELEMENTS, is_large
from netc.ir.comm import Comm, HaloExchange, transition
from netc.ir.types import (
    ITEM_BYTES,
    Halo,
    Mesh,
    Placements,
    Replicate,
    Shard,
    TensorType,
    WindowReach,
)
from netc.planner.first_blocks import FirstBlocks, NumberedPlaces
from netc.planner.numbered import Numbered, Numbers, distinct
from netc.strategies.eliminate import Costs

_SAMPLES = (2**10, 2**21)
"""Bytes through which lines are drawn: latencies are right, and long exchanges nearly so."""
UNKNOWN = -1
"""In place of the number of a way."""
Windows = tuple[tuple[int, Halo], ...]
"""By dimension, what windows read of it."""
Line = tuple[float, float]
"""Seconds of nothing, and of each byte of the busiest device."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A placement for each choice of a layer."""

    numbers: Numbers
    """The placements' own."""
    steps: int
    """The number of what steps depend on: windows may read anything of a dimension."""
    windows: Windows
    """By dimension, what windows read, the same for all choices."""


@dataclass(frozen=True, slots=True)
class _Matrix:
    """Ways between placements, the same ones once."""

    steps: Numbers
    """By place in a way and way the step, with nothing behind the last."""
    ways: Numbers
    """By choice of the placements which way it is."""


class Ways:
    """The ways between placements on a mesh of a cluster.

    Steps and their prices are known by placements in which windows are of some dimension, whatever
    they read of it; what they read counts where the sizes of blocks do.
    """

    def __init__(self, mesh: Mesh, cluster: Cluster) -> None:
        self.mesh, self.cluster = mesh, cluster
        self.blocks = FirstBlocks(mesh)
        """Placements as they are."""
        self.plain = NumberedPlaces(mesh)
        """Placements whose windows may read anything."""
        self.plain.number((Replicate(),) * len(mesh.shape))
        self.plains: list[int] = []
        """The latter by number of the former."""
        self.choices: Numbered[tuple[int, ...]] = Numbered()
        """By pattern the numbers of its placements."""
        self.spaces: Numbered[tuple[int, ...]] = Numbered()
        """The same of those whose windows may read anything."""
        self.patterns: list[Pattern] = []
        self.filled: dict[Windows, Numbers] = {}
        """Of placements whose windows may read anything the numbers of those that read something,
        by what that is."""
        self.steps: Numbered[tuple[int, int]] = Numbered((0, 0))
        """What each step is: placements before and after it. The first is none."""
        self.ways: Numbered[tuple[int, ...]] = Numbered(())
        """Each the numbers of its steps."""
        self.between: Numbers = np.full((64, 64), UNKNOWN)
        """By placements before and after the number of the way between them."""
        self.one_step: Numbers = np.full((64, 64), UNKNOWN)
        """The same of the step, where one leads there."""
        self.matrices: dict[tuple[int, int], _Matrix] = {}
        self.diagonals: dict[tuple[int, int], _Matrix] = {}
        lines = most_ways(cluster.links)
        self.ends: Numbers = np.zeros((1024, 2), np.intp)
        """By step the placements before and after it."""
        self.factors: Costs = np.zeros((1024, 4))
        """How many times the elements of each the busiest device moves; the least seconds; seconds
        of a byte that it had before.
        """
        self.lines: Costs = np.zeros((1024, 2, lines, 2))
        """By step, and whether the exchange is large."""
        self.costs: dict[object, tuple[Costs, NDArray[np.bool_]]] = {}
        """By tensor and windows the seconds of steps, of those that are known."""

    def pattern(self, places: Iterable[Placements]) -> int:
        """The number of a pattern of placements, one for each choice of a layer."""
        return self.pattern_of([tuple(map(self.blocks.atom, own)) for own in places])

    def pattern_of(self, places: list[tuple[int, ...]]) -> int:
        """The same of placements that are told by their numbers along each axis."""
        numbers = tuple(self.blocks.numbers(places))
        found = self.choices.number(numbers)
        if found == len(self.patterns):
            windows: dict[int, Halo] = {}
            for atom in {atom for own in places for atom in own}:
                place = self.blocks.places[atom]
                if isinstance(place, Halo):
                    known = windows.setdefault(place.dim, place)
                    assert known == place, "windows of two kinds"
            steps = self.spaces.number(tuple(map(self._plain, numbers)))
            self.patterns.append(Pattern(np.array(numbers), steps, tuple(sorted(windows.items()))))
        return found

    def _plain(self, number: int) -> int:
        """The number of a placement whose windows may read anything."""
        while len(self.plains) <= number:
            places = self.blocks[len(self.plains)]
            plain = tuple(_some(p.dim) if isinstance(p, Halo) else p for p in places)
            self.plains.append(self.plain.number(plain))
        return self.plains[number]

    def seconds(self, type_: TensorType, source: int, target: int) -> Costs:
        """By choice before and after the seconds of moving a tensor between two patterns."""
        before, after = self.patterns[source], self.patterns[target]
        where = (before.steps, after.steps)
        if where not in self.matrices:
            (some, first), (others, second) = (
                distinct(np.array(self.spaces[n]), len(self.plain)) for n in where
            )
            few = self._matrix(some[:, None], others[None, :])
            self.matrices[where] = _Matrix(few.steps, few.ways[first[:, None], second])
        return self._priced(type_, after.windows, self.matrices[where])

    def seconds_alike(self, type_: TensorType, source: int, target: int) -> Costs:
        """The same within a layer: the choice after is that before."""
        before, after = self.patterns[source], self.patterns[target]
        where = (before.steps, after.steps)
        if where not in self.diagonals:
            self.diagonals[where] = self._matrix(*(np.array(self.spaces[n]) for n in where))
        return self._priced(type_, after.windows, self.diagonals[where])

    def _priced(self, type_: TensorType, windows: Windows, matrix: _Matrix) -> Costs:
        """The seconds of some ways."""
        key = (type_, windows)
        costs, are_known = self.costs.get(key) or (np.zeros(0), np.zeros(0, bool))
        if len(costs) < len(self.steps):
            more = np.zeros(len(self.factors) - len(costs))
            costs = np.concatenate([costs, more])
            are_known = np.concatenate([are_known, more > 0])
            self.costs[key] = costs, are_known
        needed = matrix.steps[~are_known[matrix.steps]]
        if len(needed):
            needed, _ = distinct(needed, len(self.steps))
            costs[needed], are_known[needed] = self._each(type_, windows, needed), True
        each: Costs = costs[matrix.steps].sum(0)
        return each[matrix.ways]

    def _matrix(self, sources: Numbers, targets: Numbers) -> _Matrix:
        """The ways between some placements and others, of arrays that go together."""
        self.between = _with_room(self.between, len(self.plain))
        ways = self.between[sources, targets]
        unknown = ways == UNKNOWN
        if unknown.any():
            some, others = (each[unknown] for each in np.broadcast_arrays(sources, targets))
            found = self._worked_out(some, others)
            self.between[some, others] = list(map(self.ways.number, found))
            ways = self.between[sources, targets]
        each, inverse = distinct(ways, len(self.ways))
        own = [self.ways[number] for number in each.tolist()]
        depth = max(map(len, own))
        steps = [way + (0,) * (depth - len(way)) for way in own]
        return _Matrix(np.array(steps, np.intp).T, inverse)

    def _worked_out(self, sources: Numbers, targets: Numbers) -> Iterator[tuple[int, ...]]:
        """The ways between pairs of placements, as `redistribute` has them: all pairs together."""
        plain = self.plain
        before, wanted = plain.atoms[sources], plain.atoms[targets]
        exchanged = self._from_shards(before, wanted) & (sources != targets)[:, None]
        shards = np.array([
            plain.atom(Shard(place.dim)) if isinstance(place, Halo) else number
            for number, place in enumerate(tuple(plain.places.values))
        ])  # fmt: skip
        after = np.where(exchanged, shards[wanted], wanted)
        dims = self._dims(Shard, Halo)
        old, new, changed = dims[before], dims[after], before != after
        steps, here, current = list[Numbers](), sources, before.copy()
        for axis in reversed(range(1, before.shape[1])):
            # What axes before it change may not be what it divides.
            own, others = old[:, axis, None], slice(axis)
            same = (own == old[:, others]) | (own == new[:, others])
            gathered = ((own >= 0) & same & changed[:, others]).any(1)
            current[gathered, axis] = plain.atom(Replicate())
            here = self._to(current, here, steps)
        for axis in range(before.shape[1]):
            current[:, axis] = after[:, axis]
            here = self._to(current, here, steps)
        read = np.where(exchanged, dims[wanted], -1)
        for axis in range(before.shape[1]):
            # Along all axes at once that divide what windows read.
            now = exchanged & (read == read[:, axis, None])
            current = np.where(now, wanted, current)
            here = self._to(current, here, steps)
        for own in np.array(steps).T.tolist():
            yield tuple(filter(None, own))

    def _from_shards(self, before: Numbers, wanted: Numbers) -> NDArray[np.bool_]:
        """By pair of placements and axis, whether windows are read from shards afterwards."""
        read = self._dims(Halo)[wanted]
        exchanged = np.zeros(read.shape, np.bool_)
        for axis in range(read.shape[1]):
            axes = read == read[:, axis, None]
            whole = (before == self.plain.atom(Replicate())) | ~axes
            is_cut = (axes.sum(1) == 1) & (self._dims(Shard)[before[:, axis]] >= 0)
            exchanged[:, axis] = (read[:, axis] >= 0) & ~whole.all(1) & ~is_cut
        return exchanged

    def _dims(self, *kinds: type[Shard | Halo]) -> Numbers:
        """By number of a place along one axis the dimension, of those of some kinds; else -1."""
        places = self.plain.places.values
        return np.array([place.dim if isinstance(place, kinds) else -1 for place in places])

    def _to(self, atoms: Numbers, before: Numbers, steps: list[Numbers]) -> Numbers:
        """The numbers of placements that steps, one more for each, lead to."""
        after = self._numbers(atoms)
        steps.append(self._steps(before, after))
        return after

    def _numbers(self, atoms: Numbers) -> Numbers:
        """The numbers of placements, of which each row has the numbers along the axes."""
        base = len(self.plain.places)
        codes = atoms @ base ** np.arange(atoms.shape[1])
        each, inverse = distinct(codes, base ** atoms.shape[1])
        places = each[:, None] // base ** np.arange(atoms.shape[1]) % base
        numbers: Numbers = np.array(self.plain.numbers(list(map(tuple, places.tolist()))), np.intp)
        return numbers[inverse]

    def _steps(self, before: Numbers, after: Numbers) -> Numbers:
        """The steps between placements that differ along one axis, if at all, or along several
        that divide what windows read.
        """
        self.one_step = _with_room(self.one_step, len(self.plain))
        steps = self.one_step[before, after]
        unknown = steps == UNKNOWN
        for a, b in set(zip(before[unknown].tolist(), after[unknown].tolist(), strict=True)):
            op = self._operation(self.plain[a], self.plain[b]) if a != b else None
            self.one_step[a, b] = 0 if op is None or op.view else self._step(a, b, op)
        found: Numbers = self.one_step[before, after]
        return found

    @staticmethod
    def _operation(before: Placements, after: Placements) -> Comm:
        """What turns a placement into a different one in one step."""
        axis, *inner = [i for i, place in enumerate(before) if place != after[i]]
        op = transition(before[axis], after[axis], axis)
        assert op, "no redistribution"
        if not inner:
            return op
        assert isinstance(op, HaloExchange), "several axes at once"
        return replace(op, inner=tuple(inner))

    def _step(self, before: int, after: int, op: Comm) -> int:
        count, step = len(self.steps), self.steps.number((before, after))
        if step == count:
            if step == len(self.factors):
                self.factors, self.lines = (
                    np.concatenate([each, np.zeros_like(each)])
                    for each in (self.factors, self.lines)
                )
                self.ends = np.concatenate([self.ends, np.zeros_like(self.ends)])
            least, self.lines[step] = self._rates(op)
            copies = 2 / self.cluster.memory_bytes_per_second
            copied = copies if isinstance(op, HaloExchange) else 0.0
            self.factors[step] = (*_times(op, self.mesh), least, copied)
            self.ends[step] = before, after
        return step

    def _each(self, type_: TensorType, windows: Windows, steps: Numbers) -> Costs:
        """Seconds of some steps of a tensor."""
        held = self.blocks.elements(type_, self._placed(windows)[self.ends[steps]])
        factors, lines = self.factors[steps], self.lines[steps]
        nbytes = np.maximum((held * factors[:, :2]).sum(-1), 0.0) * ITEM_BYTES[type_.dtype]
        large = (held[:, 0] > LARGE_ELEMENTS)[:, None, None]
        own = np.where(large, lines[:, 1], lines[:, 0])
        by_line = own[..., 0] + nbytes[:, None] * own[..., 1]
        copied = held[:, 0] * ITEM_BYTES[type_.dtype] * factors[:, 3]
        each = np.maximum(by_line.min(-1), factors[:, 2]) + copied
        result: Costs = np.where(nbytes > 0, each, 0.0)
        return result

    def _placed(self, windows: Windows) -> Numbers:
        """The placements whose windows may read anything, where they read this; those of other
        dimensions are of other tensors.
        """
        known, read = self.filled.get(windows, np.zeros(0, np.intp)), dict(windows)
        if len(known) < len(self.plain):
            new = [
                self.blocks.number(
                    tuple(read.get(p.dim, p) if isinstance(p, Halo) else p for p in places)
                )
                for places in map(self.plain.__getitem__, range(len(known), len(self.plain)))
            ]
            known = self.filled[windows] = np.concatenate([known, np.array(new, np.intp)])
        return known

    def _rates(self, op: Comm) -> tuple[float, tuple[tuple[Line, ...], ...]]:
        """The least seconds of a step, and its lines: of small ones and of large ones."""
        if op.on_device:
            rate = 1 / self.cluster.memory_bytes_per_second
            return self.cluster.launch_seconds, (((0.0, rate),) * self.lines.shape[2],) * 2
        kinds = (False, is_large(op.kernel, LARGE_ELEMENTS + 1))
        links, mesh = self.cluster.links, self.mesh
        return 0.0, tuple(
            lines_of(links, mesh, op.axes, op.kernel, large, op.strided) for large in kinds
        )


def _with_room(table: Numbers, count: int) -> Numbers:
    """A table that has a row and a column for so many."""
    while len(table) < count:
        grown: Numbers = np.full(2 * np.array(table.shape), UNKNOWN)
        grown[: len(table), : len(table)] = table
        table = grown
    return table


@cache
def _some(dim: int) -> Halo:
    """Windows of a dimension, whatever they read."""
    return Halo(dim, 0, 1, WindowReach(1, 1, 0, 0))


def _times(op: Comm, mesh: Mesh) -> tuple[float, float]:
    """How many times the elements before and after a step the busiest device of a group moves, by
    what the first one has.
    """
    if op.on_device:
        return 0.0, 2.0
    size = mesh.group_size(op.axes)
    match op.kernel:
        case "all_reduce":
            return 2 * (size - 1) / size, 0.0
        case "reduce" | "broadcast" | "all_gather" | "gather":
            return size - 1, 0.0
        case "reduce_scatter" | "all_to_all" | "scatter":
            return (size - 1) / size, 0.0
        case "halo_exchange":
            return -1.0, 1.0
    assert op.kernel == "send"
    return 1.0, 0.0


@lru_cache(4096)
def lines_of(
    links: Links, mesh: Mesh, axes: tuple[int, ...], kind: str, large: bool, strided: bool
) -> tuple[Line, ...]:
    """By way, what an exchange along axes costs; as many for each kind, the last ones alike."""
    less, more = _SAMPLES
    first, second = (
        exchange_ways(links, mesh, axes, kind, even_moved(mesh, axes, kind, nbytes), large, strided)
        for nbytes in _SAMPLES
    )
    slopes = [(b.seconds - a.seconds) / (more - less) for a, b in zip(first, second, strict=True)]
    found = [(a.seconds - less * slope, slope) for a, slope in zip(first, slopes, strict=True)]
    return (*found, *found[-1:] * (most_ways(links) - len(found)))
