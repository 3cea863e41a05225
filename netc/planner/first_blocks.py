"""The first device's blocks of a tensor, of all placements at once."""

from __future__ import annotations

from math import prod

import numpy as np

from netc.ir.types import (
    Halo,
    Mesh,
    On,
    Placement,
    Placements,
    Shard,
    TensorType,
    local_block,
)
from netc.planner.numbered import Numbered, Numbers

WHOLE, ABSENT, WINDOWS = -1, -2, -3
"""Along an axis, in place of a dimension that is divided."""
MORE = 256
"""So many placements at a time there is room for."""


def first_block(type_: TensorType, places: Placements, mesh: Mesh) -> tuple[int, ...]:
    """The shape of the first device's block, which is the largest; where windows are read, also of
    one with neighbours on both sides. Nothing but zeros where it has none.
    """
    pairs = zip(places, mesh.shape, strict=True)
    inner = tuple(int(isinstance(place, Halo) and extent > 2) for place, extent in pairs)
    devices = sorted({0, mesh.device(inner)})
    found = [local_block(type_, places, mesh, device) for device in devices]
    shapes = (part.shape for part in found if part is not None)
    return max(shapes, key=prod, default=(0,) * type_.rank)


class NumberedPlaces:
    """Placements by number, and by the numbers of what they are along each axis."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.places: Numbered[Placement] = Numbered()
        """Along one axis."""
        self.divided: list[int] = []
        """Of each the dimension."""
        self.placed: Numbered[tuple[int, ...]] = Numbered()
        """By placement the numbers along the axes."""
        self.atoms = np.zeros((0, len(mesh.shape)), np.intp)
        """The same."""
        self.along = np.zeros((0, len(mesh.shape)), np.intp)
        """By placement and axis the dimension that is divided."""

    def number(self, places: Placements) -> int:
        """The number of a placement."""
        return self.numbers([tuple(map(self.atom, places))])[0]

    def atom(self, place: Placement) -> int:
        """The number of a placement along one axis."""
        found = self.places.number(place)
        if found == len(self.divided):
            match place:
                case Shard(dim):
                    self.divided.append(dim)
                case Halo():
                    self.divided.append(WINDOWS)
                case On(rank) if rank:
                    self.divided.append(ABSENT)
                case _:
                    self.divided.append(WHOLE)
        return found

    def numbers(self, places: list[tuple[int, ...]]) -> list[int]:
        """The numbers of placements that are told by numbers along each axis."""
        found = list(map(self.placed.number, places))
        if len(self.placed) > len(self.along):
            new = np.array(self.placed.values[len(self.along) :], np.intp)
            self.atoms = np.concatenate([self.atoms, new])
            self.along = np.concatenate([self.along, np.array(self.divided)[new]])
        return found

    def __getitem__(self, number: int) -> Placements:
        return tuple(self.places[own] for own in self.placed[number])

    def __len__(self) -> int:
        return len(self.placed)


class FirstBlocks(NumberedPlaces):
    """Placements by number, and the first device's blocks of tensors that are placed so."""

    def __init__(self, mesh: Mesh) -> None:
        super().__init__(mesh)
        self.blocks: dict[TensorType, _Blocks] = {}

    def shapes(self, type_: TensorType, numbers: Numbers) -> Numbers:
        """By placement the shape of the block; zeros where the first device has none."""
        return self._known(type_, numbers).shapes[numbers]

    def elements(self, type_: TensorType, numbers: Numbers) -> Numbers:
        """By placement the elements of the block."""
        return self._known(type_, numbers).elements[numbers]

    def _known(self, type_: TensorType, numbers: Numbers) -> _Blocks:
        own = self.blocks.get(type_)
        if own is None:
            own = self.blocks[type_] = _Blocks(type_)
        own.grow(len(self.along))
        missing = numbers[own.elements[numbers] < 0]
        if len(missing):
            shapes, elements = self._measured(type_, missing)
            own.shapes[missing], own.elements[missing] = shapes, elements
        return own

    def _measured(self, type_: TensorType, numbers: Numbers) -> tuple[Numbers, Numbers]:
        along = self.along[numbers]
        shapes = np.repeat(np.array([type_.shape], np.intp), len(numbers), 0)
        units = np.array([type_.unit(dim) for dim in range(type_.rank)], np.intp)
        for axis, extent in enumerate(self.mesh.shape):
            (cut,) = np.nonzero(along[:, axis] >= 0)
            dims = along[cut, axis]
            size, unit = shapes[cut, dims], units[dims]
            # The first of the shards of `shard_bounds`.
            shapes[cut, dims] = np.minimum(-(-(size // unit) // extent) * unit, size)
        for row in np.flatnonzero((along == WINDOWS).any(1)).tolist():
            shapes[row] = first_block(type_, self[numbers[row]], self.mesh)
        there = ~(along == ABSENT).any(1)
        shapes *= there[:, None]
        return shapes, shapes.prod(1) * there


class _Blocks:
    """Of one tensor."""

    def __init__(self, type_: TensorType) -> None:
        self.shapes: Numbers = np.zeros((0, type_.rank), np.intp)
        self.elements: Numbers = np.zeros(0, np.intp)
        """Less than nothing where it is not known."""

    def grow(self, count: int) -> None:
        """Make room for so many placements."""
        before = len(self.elements)
        if count > before:
            shapes = np.zeros((count + MORE, self.shapes.shape[1]), np.intp)
            elements = np.full(count + MORE, -1, np.intp)
            shapes[:before], elements[:before] = self.shapes, self.elements
            self.shapes, self.elements = shapes, elements
