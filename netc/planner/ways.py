"""What every redistribution between some placements costs, all at once.

Which steps lead from one placement to another depends on the placements alone, so that is worked
out once; what they cost for a tensor follows from the sizes of the first device's blocks. Exchanges
are priced by lines, seconds of nothing and of a byte, one for each way they may go; those that the
cuda backend calls large, by lines of their own.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from netc.cost import Cluster, Links, even_moved, exchange_ways, most_ways
from netc.ir.carriers import LARGE_ELEMENTS, is_large
from netc.ir.comm import Comm, HaloExchange, redistribute
from netc.ir.types import ITEM_BYTES, Halo, Mesh, Placements, Replicate, TensorType, local_block
from netc.strategies.eliminate import Costs

T = TypeVar("T")
MOST_STEPS = 9
"""Of a redistribution on a mesh of three axes."""
_SAMPLES = (2**10, 2**21)
"""Bytes through which lines are drawn: latencies are right, and long exchanges nearly so."""
Line = tuple[float, float]
"""Seconds of nothing, and of each byte of the busiest device."""


@lru_cache(65536)
def first_block(type_: TensorType, places: Placements, mesh: Mesh) -> tuple[int, ...] | None:
    """The shape of the first device's block, which is the largest; where windows are read, also of
    one with neighbours on both sides. None where it has none.
    """
    pairs = zip(places, mesh.shape, strict=True)
    inner = tuple(int(isinstance(place, Halo) and extent > 2) for place, extent in pairs)
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
        if value not in self.numbers:
            self.numbers[value] = len(self.values)
            self.values.append(value)
        return self.numbers[value]

    def __getitem__(self, number: int) -> T:
        return self.values[number]

    def __len__(self) -> int:
        return len(self.values)


class Ways:
    """The ways between placements on a mesh of a cluster."""

    def __init__(self, mesh: Mesh, cluster: Cluster) -> None:
        self.mesh, self.cluster = mesh, cluster
        self.known: dict[tuple[Placements, Placements], int] = {}
        self.matrices: dict[object, NDArray[np.intp]] = {}
        self.placed: Numbered[Placements] = Numbered((Replicate(),) * len(mesh.shape))
        self.sizes: dict[TensorType, dict[int, float]] = {}
        lines = most_ways(cluster.links)
        self.ends: NDArray[np.intp] = np.zeros((1024, MOST_STEPS, 2), np.intp)
        """By way and step the placements before and after, by number."""
        self.factors: Costs = np.zeros((1024, MOST_STEPS, 4))
        """How many times the elements of each the busiest device moves; the least seconds; seconds
        of a byte that it had before.
        """
        self.lines: Costs = np.zeros((1024, MOST_STEPS, 2, lines, 2))
        """By way, step, and whether the exchange is large."""
        self.depth = 1
        """The most steps of any way."""

    def seconds(
        self, type_: TensorType, sources: tuple[Placements, ...], targets: tuple[Placements, ...]
    ) -> Costs:
        """By source and target the seconds of moving a tensor."""
        key = (sources, targets)
        if key not in self.matrices:
            found = [[self._way(a, b) for b in targets] for a in sources]
            self.matrices[key] = np.array(found, np.intp)
        ways = self.matrices[key]
        ends = self.ends[:, : self.depth]
        factors, lines = self.factors[:, : self.depth], self.lines[:, : self.depth]
        elements = self._elements(type_, ends[ways])
        # Dimensions: source, target, step; and before or after, or line.
        held = elements[ends[ways]]
        nbytes = np.maximum((held * factors[ways][..., :2]).sum(-1), 0.0) * ITEM_BYTES[type_.dtype]
        large = (held[..., 0] > LARGE_ELEMENTS)[..., None, None]
        own = np.where(large, lines[ways][..., 1, :, :], lines[ways][..., 0, :, :])
        by_line = own[..., 0] + nbytes[..., None] * own[..., 1]
        copied = held[..., 0] * ITEM_BYTES[type_.dtype] * factors[ways][..., 3]
        each = np.maximum(by_line.min(-1), factors[ways][..., 2]) + copied
        result: Costs = np.where(nbytes > 0, each, 0.0).sum(-1)
        return result

    def _elements(self, type_: TensorType, needed: NDArray[np.intp]) -> Costs:
        """By number of placement, elements of the first device's block, where they are needed."""
        own = self.sizes.setdefault(type_, {})
        for number in np.unique(needed).tolist():
            if number not in own:
                shape = first_block(type_, self.placed[number], self.mesh)
                own[number] = 0.0 if shape is None else float(prod(shape))
        found = np.zeros(len(self.placed))
        found[list(own)] = list(own.values())
        return found

    def _way(self, source: Placements, target: Placements) -> int:
        key = (source, target)
        if key not in self.known:
            self.known[key] = way = len(self.known)
            if way == len(self.ends):
                self.ends, self.factors, self.lines = (
                    np.concatenate([each, np.zeros_like(each)])
                    for each in (self.ends, self.factors, self.lines)
                )
            before, step = source, 0
            for op, after in () if source == target else redistribute(source, target):
                if not op.view:
                    self.ends[way, step] = self.placed.number(before), self.placed.number(after)
                    least, self.lines[way, step] = self._rates(op)
                    copies = 2 / self.cluster.memory_bytes_per_second
                    copied = copies if isinstance(op, HaloExchange) else 0.0
                    self.factors[way, step] = (*_times(op, self.mesh), least, copied)
                    step += 1
                    self.depth = max(self.depth, step)
                before = after
        return self.known[key]

    def _rates(self, op: Comm) -> tuple[float, tuple[tuple[Line, ...], ...]]:
        """The least seconds of a step, and its lines: of small ones and of large ones."""
        if op.on_device:
            rate = 1 / self.cluster.memory_bytes_per_second
            return self.cluster.launch_seconds, (((0.0, rate),) * self.lines.shape[3],) * 2
        kinds = (False, is_large(op.kernel, LARGE_ELEMENTS + 1))
        links, mesh = self.cluster.links, self.mesh
        return 0.0, tuple(lines_of(links, mesh, op.axes, op.kernel, large) for large in kinds)


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
