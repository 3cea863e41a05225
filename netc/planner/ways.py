"""What every redistribution between some placements costs, all at once.

Which steps lead from one placement to another depends on the placements alone, so that is worked
out once; what they cost for a tensor follows from the sizes of the first device's blocks. Exchanges
are priced by lines, seconds of nothing and of a byte, one for each way they may go; those that the
cuda backend calls large, by lines of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from netc.cost import Cluster, Links, even_moved, exchange_ways, most_ways
from netc.ir.carriers import LARGE_ELEMENTS, is_large
from netc.ir.comm import Comm, HaloExchange, redistribute
from netc.ir.types import (
    ITEM_BYTES,
    Halo,
    Mesh,
    Placements,
    Replicate,
    TensorType,
    WindowReach,
    local_block,
)
from netc.strategies.eliminate import Costs

T = TypeVar("T")
Numbers = NDArray[np.intp]
_SAMPLES = (2**10, 2**21)
"""Bytes through which lines are drawn: latencies are right, and long exchanges nearly so."""
Line = tuple[float, float]
"""Seconds of nothing, and of each byte of the busiest device."""


def first_block(type_: TensorType, places: Placements, mesh: Mesh) -> tuple[int, ...] | None:
    """The shape of the first device's block, which is the largest; where windows are read, also of
    one with neighbours on both sides. None where it has none.
    """
    pairs = zip(places, mesh.shape, strict=True)
    inner = tuple(int(isinstance(place, Halo) and extent > 2) for place, extent in pairs)
    if not any(inner):
        block = local_block(type_, places, mesh, 0)
        return None if block is None else block.shape
    devices = {0, mesh.device(inner)}
    found = [local_block(type_, places, mesh, device) for device in sorted(devices)]
    return max((part.shape for part in found if part is not None), key=prod, default=None)


class Numbered(Generic[T]):
    """Values by number, each once, in the order in which they came."""

    def __init__(self, *values: T) -> None:
        self.values: list[T] = []
        self.numbers: dict[T, int] = {}
        for value in values:
            self.number(value)

    def number(self, value: T) -> int:
        """The number of a value, a new one for a new value."""
        found = self.numbers.setdefault(value, len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found

    def __getitem__(self, number: int) -> T:
        return self.values[number]

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A placement for each choice of a layer."""

    numbers: Numbers
    """The placements' own."""
    steps: int
    """The number of what steps depend on: windows may read anything of a dimension."""
    windows: tuple[tuple[int, Halo], ...]
    """By dimension, what windows read, the same for all choices."""


class Ways:
    """The ways between placements on a mesh of a cluster.

    Steps and their prices are known by placements in which windows are of some dimension, whatever
    they read of it; what they read counts where the sizes of blocks do.
    """

    def __init__(self, mesh: Mesh, cluster: Cluster) -> None:
        self.mesh, self.cluster = mesh, cluster
        self.placed: Numbered[Placements] = Numbered()
        """Placements as they are."""
        self.plain: Numbered[Placements] = Numbered((Replicate(),) * len(mesh.shape))
        """Placements whose windows may read anything."""
        self.plains: list[int] = []
        """The latter by number of the former."""
        self.choices: Numbered[tuple[int, ...]] = Numbered()
        """By pattern the numbers of its placements."""
        self.spaces: Numbered[tuple[int, ...]] = Numbered()
        """The same of those whose windows may read anything."""
        self.patterns: list[Pattern] = []
        self.blocks: dict[TensorType, dict[int, tuple[int, ...] | None]] = {}
        """By number of a placement the first device's."""
        self.shapes: dict[tuple[TensorType, int], list[tuple[int, ...] | None]] = {}
        self.known: dict[tuple[int, int], tuple[int, ...]] = {}
        """By placements before and after, the numbers of the steps between them."""
        self.matrices: dict[tuple[int, int], tuple[Numbers, Numbers]] = {}
        self.steps: Numbered[tuple[int, int, Comm | None]] = Numbered((0, 0, None))
        """What each step is: placements before and after it. The first is none."""
        lines = most_ways(cluster.links)
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
        numbers = tuple(map(self._number, places))
        found = self.choices.number(numbers)
        if found == len(self.patterns):
            windows: dict[int, Halo] = {}
            for place in (p for n in set(numbers) for p in self.placed[n] if isinstance(p, Halo)):
                assert windows.setdefault(place.dim, place) == place, "windows of two kinds"
            steps = self.spaces.number(tuple(self.plains[n] for n in numbers))
            self.patterns.append(Pattern(np.array(numbers), steps, tuple(sorted(windows.items()))))
        return found

    def _number(self, places: Placements) -> int:
        found = self.placed.number(places)
        if found == len(self.plains):
            plain = tuple(_some(p.dim) if isinstance(p, Halo) else p for p in places)
            self.plains.append(self.plain.number(plain))
        return found

    def first_blocks(self, type_: TensorType, pattern: int) -> list[tuple[int, ...] | None]:
        """By choice the shape of the first device's block; None where it has none."""
        key = (type_, pattern)
        if key not in self.shapes:
            known = self.blocks.setdefault(type_, {})
            for number in self.choices[pattern]:
                if number not in known:
                    known[number] = first_block(type_, self.placed[number], self.mesh)
            self.shapes[key] = [known[number] for number in self.choices[pattern]]
        return self.shapes[key]

    def seconds(self, type_: TensorType, source: int, target: int) -> Costs:
        """By choice before and after the seconds of moving a tensor between two patterns."""
        before, after = self.patterns[source], self.patterns[target]
        where = (before.steps, after.steps)
        if where not in self.matrices:
            self.matrices[where] = self._matrix(*(self.spaces[n] for n in where))
        steps, used = self.matrices[where]
        key = (type_, after.windows)
        costs, are_known = self.costs.get(key) or (np.zeros(0), np.zeros(0, bool))
        if len(costs) < len(self.steps):
            missing = (0, len(self.factors) - len(costs))
            costs, are_known = np.pad(costs, missing), np.pad(are_known, missing)
        needed = used[~are_known[used]]
        if len(needed):
            costs[needed], are_known[needed] = self._each(type_, dict(key[1]), needed), True
        self.costs[key] = costs, are_known
        result: Costs = costs[steps].sum(-1)
        return result

    def _matrix(
        self, sources: tuple[int, ...], targets: tuple[int, ...]
    ) -> tuple[Numbers, Numbers]:
        """By source, target and place the steps between them; and all that occur."""
        ways = [[self._way(a, b) for b in targets] for a in sources]
        depth = max(max(map(len, row)) for row in ways)
        padded = [[way + (0,) * (depth - len(way)) for way in row] for row in ways]
        steps = np.array(padded, np.intp).reshape(len(sources), len(targets), depth)
        return steps, np.unique(steps)

    def _way(self, source: int, target: int) -> tuple[int, ...]:
        key = (source, target)
        if key not in self.known:
            steps, before = [], source
            pair = self.plain[source], self.plain[target]
            for op, places in () if source == target else redistribute(*pair):
                after = self.plain.number(places)
                if not op.view:
                    steps.append(self._step(before, after, op))
                before = after
            self.known[key] = tuple(steps)
        return self.known[key]

    def _step(self, before: int, after: int, op: Comm) -> int:
        count, step = len(self.steps), self.steps.number((before, after, op))
        if step == count:
            if step == len(self.factors):
                self.factors, self.lines = (
                    np.concatenate([each, np.zeros_like(each)])
                    for each in (self.factors, self.lines)
                )
            least, self.lines[step] = self._rates(op)
            copies = 2 / self.cluster.memory_bytes_per_second
            copied = copies if isinstance(op, HaloExchange) else 0.0
            self.factors[step] = (*_times(op, self.mesh), least, copied)
        return step

    def _each(self, type_: TensorType, windows: Mapping[int, Halo], steps: Numbers) -> Costs:
        """Seconds of some steps of a tensor."""
        sizes: dict[int, float] = {}
        for step in steps.tolist():
            for number in self.steps[step][:2]:
                if number not in sizes:
                    sizes[number] = self._elements(type_, windows, number)
        ends = [self.steps[step][:2] for step in steps.tolist()]
        held = np.array([[sizes[before], sizes[after]] for before, after in ends])
        factors, lines = self.factors[steps], self.lines[steps]
        nbytes = np.maximum((held * factors[:, :2]).sum(-1), 0.0) * ITEM_BYTES[type_.dtype]
        large = (held[:, 0] > LARGE_ELEMENTS)[:, None, None]
        own = np.where(large, lines[:, 1], lines[:, 0])
        by_line = own[..., 0] + nbytes[:, None] * own[..., 1]
        copied = held[:, 0] * ITEM_BYTES[type_.dtype] * factors[:, 3]
        each = np.maximum(by_line.min(-1), factors[:, 2]) + copied
        result: Costs = np.where(nbytes > 0, each, 0.0)
        return result

    def _elements(self, type_: TensorType, windows: Mapping[int, Halo], number: int) -> float:
        """Of the first device's block."""
        places = self.plain[number]
        read = tuple(windows[p.dim] if isinstance(p, Halo) else p for p in places)
        shape = first_block(type_, read, self.mesh)
        return 0.0 if shape is None else float(prod(shape))

    def _rates(self, op: Comm) -> tuple[float, tuple[tuple[Line, ...], ...]]:
        """The least seconds of a step, and its lines: of small ones and of large ones."""
        if op.on_device:
            rate = 1 / self.cluster.memory_bytes_per_second
            return self.cluster.launch_seconds, (((0.0, rate),) * self.lines.shape[2],) * 2
        kinds = (False, is_large(op.kernel, LARGE_ELEMENTS + 1))
        links, mesh = self.cluster.links, self.mesh
        return 0.0, tuple(lines_of(links, mesh, op.axes, op.kernel, large) for large in kinds)


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
    links: Links, mesh: Mesh, axes: tuple[int, ...], kind: str, large: bool
) -> tuple[Line, ...]:
    """By way, what an exchange along axes costs; as many for each kind, the last ones alike."""
    less, more = _SAMPLES
    first, second = (
        exchange_ways(links, mesh, axes, kind, even_moved(mesh, axes, kind, nbytes), large)
        for nbytes in _SAMPLES
    )
    slopes = [(b.seconds - a.seconds) / (more - less) for a, b in zip(first, second, strict=True)]
    found = [(a.seconds - less * slope, slope) for a, slope in zip(first, slopes, strict=True)]
    return (*found, *found[-1:] * (most_ways(links) - len(found)))
