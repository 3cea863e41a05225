"""Tensor types, the device mesh, and where a tensor lives on it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol

ITEM_BYTES = {"f32": 4, "bf16": 2, "f64": 8, "i64": 8, "u8": 1}
"""Bytes of one element of each data type; "u8" is of buffers between kernels only."""


def summed(dtype: str) -> str:
    """The data type of sums over elements: statistics, losses, gradients of vectors."""
    return "f32" if dtype == "bf16" else dtype


def units_of(*units: int) -> tuple[int, ...]:
    """Units as types hold them: none where all are ones."""
    return units if any(unit != 1 for unit in units) else ()


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of a whole (global) tensor."""

    dtype: str
    """One of `ITEM_BYTES`."""
    shape: tuple[int, ...]
    """Global shape, activations as N C H W, filters as K C R S."""
    units: tuple[int, ...] = ()
    """Shards of dim i end on multiples of units[i]; empty means all ones."""

    def __post_init__(self) -> None:
        assert self.units == units_of(*self.units), "types that are equal look equal"

    def unit(self, dim: int) -> int:
        """The granularity of shards along `dim`, in elements."""
        return self.units[dim] if self.units else 1

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def elements(self) -> int:
        """Number of elements of the global tensor."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the global tensor."""
        return self.elements * ITEM_BYTES[self.dtype]

    def __str__(self) -> str:
        units = "" if not any(u > 1 for u in self.units) else "/" + ",".join(map(str, self.units))
        return f"{self.dtype}[{','.join(map(str, self.shape))}{units}]"


@dataclass(frozen=True, slots=True)
class Shard:
    """Along this mesh axis, each coordinate holds one slice of dimension `dim`."""

    dim: int

    def __str__(self) -> str:
        return f"S{self.dim}"


@dataclass(frozen=True, slots=True)
class Replicate:
    """Along this mesh axis, every coordinate holds the same values."""

    def __str__(self) -> str:
        return "R"


@dataclass(frozen=True, slots=True)
class Partial:
    """Along this mesh axis, the value is the reduction of what the coordinates hold."""

    op: str = "sum"
    """sum, max or min."""

    def __str__(self) -> str:
        return "P" if self.op == "sum" else f"P{self.op}"


@dataclass(frozen=True, slots=True)
class On:
    """Along this mesh axis, only coordinate `rank` holds the value."""

    rank: int

    def __str__(self) -> str:
        return f"@{self.rank}"


@dataclass(frozen=True, slots=True)
class WindowReach:
    """Which elements of one dimension are read for elements of another: what windows reach.

    For `start` ... `stop` - 1 those from ceil((start * up + first) / down) to
    floor(((stop - 1) * up + last) / down), cut at the ends of the dimension.
    """

    up: int
    down: int
    first: int
    last: int

    @property
    def mirrored(self) -> WindowReach:
        """Which elements of the other dimension read some of this one."""
        return WindowReach(self.down, self.up, -self.last, -self.first)

    def uncut(self, start: int, stop: int) -> tuple[int, int]:
        """Start and stop of what is read, beyond the ends of the dimension too."""
        first = -(-(start * self.up + self.first) // self.down)
        return first, ((stop - 1) * self.up + self.last) // self.down + 1

    def span(self, start: int, stop: int, extent: int) -> tuple[int, int]:
        """Start and stop of what is read of a dimension of that extent; for something always at
        least one element, so that no kernel meets nothing.
        """
        if start == stop:
            return extent, extent
        first, end = self.uncut(start, stop)
        first = min(max(first, 0), extent - 1)
        return first, max(min(end, extent), first + 1)


@dataclass(frozen=True, slots=True)
class Halo:
    """Along this mesh axis, each coordinate holds what its windows reach of dimension `dim`.

    Another dimension, of `size` elements, is divided among the coordinates; what is read for the
    own part of it is here. Blocks may overlap: a target of redistribution, never a source.
    """

    dim: int
    size: int
    """Elements of the dimension that is divided."""
    unit: int
    """Its shards end on multiples of this."""
    reach: WindowReach

    def __str__(self) -> str:
        r = self.reach
        return f"H{self.dim}:{self.size}/{self.unit}:{r.up}/{r.down}:{r.first}:{r.last}"


Placement = Shard | Replicate | Partial | On | Halo
Placements = tuple[Placement, ...]
"""One placement per mesh axis, in axis order; a later axis divides what earlier axes left."""


def divided(place: Placement) -> int | None:
    """The dimension of which a placement gives each coordinate a part, if it does."""
    return place.dim if isinstance(place, Shard | Halo) else None


def parse_placement(text: str) -> Placement:
    """The inverse of `str(placement)`."""
    if text == "R":
        return Replicate()
    if text[0] == "H":
        dim, size, unit, *reach = (int(number) for number in re.split("[:/]", text[1:]))
        return Halo(dim, size, unit, WindowReach(*reach))
    if text[0] == "P":
        return Partial(text[1:] or "sum")
    return Shard(int(text[1:])) if text[0] == "S" else On(int(text[1:]))


@dataclass(frozen=True, slots=True)
class Mesh:
    """The devices, numbered row-major over named axes."""

    shape: tuple[int, ...]
    """Devices along each axis, for example (4,) or (2, 2)."""
    axes: tuple[str, ...]
    """One name per axis."""

    @property
    def size(self) -> int:
        """Number of devices."""
        return math.prod(self.shape)

    def coordinates(self, device: int) -> tuple[int, ...]:
        """The position of `device` along every axis."""
        result = []
        for extent in reversed(self.shape):
            device, position = divmod(device, extent)
            result.append(position)
        return tuple(reversed(result))

    def device(self, coordinates: tuple[int, ...]) -> int:
        """The device at `coordinates`; the inverse of `coordinates()`."""
        number = 0
        for extent, position in zip(self.shape, coordinates, strict=True):
            number = number * extent + position
        return number

    def group_size(self, axes: tuple[int, ...]) -> int:
        """How many devices differ along some axes only."""
        return math.prod(self.shape[axis] for axis in axes)

    def groups(self, axes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """The sets of devices that differ along some axes only, each in the order of devices."""
        others = [range(e) if a not in axes else range(1) for a, e in enumerate(self.shape)]
        for base in product(*others):
            yield self._along(base, axes)

    def group(self, device: int, axes: tuple[int, ...]) -> tuple[int, ...]:
        """The devices that differ from one along some axes only, in their order."""
        return self._along(self.coordinates(device), axes)

    def _along(self, base: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
        lines = (range(e) if a in axes else (base[a],) for a, e in enumerate(self.shape))
        return tuple(self.device(each) for each in product(*lines))


def named_mesh(shape: tuple[int, ...]) -> Mesh:
    """A mesh with axes d, e, f."""
    return Mesh(shape, tuple("def"[: len(shape)]))


def line_mesh(devices: int) -> Mesh:
    """A one-axis mesh of `devices` devices."""
    return named_mesh((devices,))


@dataclass(frozen=True, slots=True)
class Affine:
    """A whole number that differs among the devices of a class, by where they are in the mesh."""

    base: int
    steps: tuple[int, ...]
    """By mesh axis, what each coordinate adds; not all zero."""

    def at(self, coordinates: tuple[int, ...]) -> int:
        """The number on one device."""
        return self.base + sum(s * c for s, c in zip(self.steps, coordinates, strict=False))


Index = int | Affine
"""A whole number, the same on all devices of a class or not."""


def index_at(index: Index, coordinates: tuple[int, ...]) -> int:
    """The number that an index is on one device."""
    return index if isinstance(index, int) else index.at(coordinates)


def difference(a: Index, b: Index) -> Index:
    """A - b, for all devices of a class."""
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    axes = len(a.steps) if isinstance(a, Affine) else len(b.steps)  # type: ignore[union-attr]
    none = (0,) * axes
    (base, steps), (less, fewer) = (
        (i, none) if isinstance(i, int) else (i.base, i.steps) for i in (a, b)
    )
    left = tuple(s - f for s, f in zip(steps, fewer, strict=True))
    return Affine(base - less, left) if any(left) else base - less


def scaled(index: Index, by: int) -> Index:
    """An index times a number, for all devices of a class."""
    if isinstance(index, int):
        return index * by
    return Affine(index.base * by, tuple(step * by for step in index.steps)) if by else 0


def numbers(where: tuple[Index, ...]) -> tuple[int, ...]:
    """Indices of one device, which are plain numbers."""
    assert not any(isinstance(i, Affine) for i in where), "not of one device"
    return where  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class TensorPart:
    """The part of a global tensor that one device holds, or each device of a class."""

    where: tuple[Index, ...]
    """Global index of the first element."""
    shape: tuple[int, ...]
    """Extent along each dimension; zero for an empty shard."""

    @property
    def elements(self) -> int:
        """Number of elements held."""
        return math.prod(self.shape)


class Placed(Protocol):
    """Part of a global tensor: a Block, or a View of one in memory."""

    @property
    def where(self) -> tuple[Index, ...]:
        """Global index of the first element."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each dimension."""
        ...


def common_elements(a: Placed, b: Placed) -> int:
    """How many elements two parts of one global tensor share, each of one device."""
    common = 1
    for a0, an, b0, bn in zip(numbers(a.where), a.shape, numbers(b.where), b.shape, strict=True):
        common *= max(min(a0 + an, b0 + bn) - max(a0, b0), 0)
    return common


def shard_bounds(size: int, unit: int, parts: int, index: int) -> tuple[int, int]:
    """Start and stop of shard `index` of `parts`: ceil(size / parts), in whole units.

    Early shards are full, the last ones may be short or empty: 10 over 8 is 2,2,2,2,2,0,0,0.
    """
    step = math.ceil(size // unit / parts) * unit
    return min(index * step, size), min((index + 1) * step, size)


def local_block(
    type_: TensorType, placements: Placements, mesh: Mesh, device: int
) -> TensorPart | None:
    """What `device` holds of a tensor, or None where it holds nothing (`On` another coordinate)."""
    where, shape = [0] * type_.rank, list(type_.shape)
    coordinates = mesh.coordinates(device)
    for extent, position, place in zip(mesh.shape, coordinates, placements, strict=True):
        if isinstance(place, On) and place.rank != position:
            return None
        if isinstance(place, Shard):
            start, stop = shard_bounds(shape[place.dim], type_.unit(place.dim), extent, position)
            where[place.dim] += start
            shape[place.dim] = stop - start
    for dim, (windows, axes) in windowed(placements).items():
        parts = [(mesh.shape[axis], coordinates[axis]) for axis in axes]
        span = shard_of(windows.size, windows.unit, parts)
        first, end = windows.reach.span(*span, type_.shape[dim])
        where[dim], shape[dim] = first, end - first
    return TensorPart(tuple(where), tuple(shape))


def windowed(placements: Placements) -> dict[int, tuple[Halo, tuple[int, ...]]]:
    """By dimension that windows read, what they are and the mesh axes that divide them."""
    found: dict[int, tuple[Halo, tuple[int, ...]]] = {}
    for axis, place in enumerate(placements):
        if isinstance(place, Halo):
            _, axes = found.get(place.dim, (place, ()))
            found[place.dim] = place, (*axes, axis)
    return found


def shard_of(size: int, unit: int, parts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Start and stop of a shard of what several mesh axes divide in turn, each given by how many
    parts it makes and which of them is meant.
    """
    start, stop = 0, size
    for extent, position in parts:
        first, end = shard_bounds(stop - start, unit, extent, position)
        start, stop = start + first, start + end
    return start, stop
