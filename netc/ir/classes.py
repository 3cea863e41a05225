"""Classes of equal devices: what a program says once for all of them.

Devices are equal where they hold blocks of the same shapes, have the same part in every exchange
with a root, and meet equal devices in the same order along each axis of the mesh. So uneven and
empty shards, and what is on one device only, make classes. What differs inside a class, where a
block begins, is affine in the device's coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from netc.ir.graph import Node
from netc.ir.ops import Fused, Op, Site
from netc.ir.ops.conv import Convolution
from netc.ir.ops.windows import Windowed
from netc.ir.plan import Plan
from netc.ir.types import (
    Affine,
    Halo,
    Index,
    Mesh,
    On,
    Placements,
    Shard,
    TensorPart,
    TensorType,
    divided,
    local_block,
    numbers,
    shard_bounds,
    shard_of,
    windowed,
)


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """Equal devices: all combinations of some coordinates along each axis."""

    coordinates: tuple[tuple[int, ...], ...]
    """By mesh axis, ascending."""

    @property
    def first(self) -> tuple[int, ...]:
        """The coordinates of the first device."""
        return tuple(each[0] for each in self.coordinates)

    @property
    def size(self) -> int:
        """Number of devices."""
        return math.prod(map(len, self.coordinates))

    @property
    def corners(self) -> list[tuple[int, ...]]:
        """Coordinates between which those of all others lie; what is affine and holds there holds
        on every device.
        """
        ends = ((each[0], each[-1]) if len(each) > 1 else each for each in self.coordinates)
        return list(product(*ends))

    def devices(self, mesh: Mesh) -> list[int]:
        """Their numbers, ascending."""
        return [mesh.device(each) for each in product(*self.coordinates)]

    def index(self, base: int, steps: Sequence[int]) -> Index:
        """Base + steps * coordinates, in the one form that it has for this class."""
        varying = []
        for step, own in zip(steps, self.coordinates, strict=True):
            base += step * own[0] if len(own) == 1 else 0
            varying.append(step if len(own) > 1 else 0)
        return Affine(base, tuple(varying)) if any(varying) else base


def class_block(
    type_: TensorType, placements: Placements, mesh: Mesh, devices: DeviceClass
) -> TensorPart | None:
    """What each device of a class holds of a tensor, or None where it holds nothing."""
    axes = len(mesh.shape)
    base, shape = [0] * type_.rank, list(type_.shape)
    steps = [[0] * axes for _ in shape]
    pairs = zip(mesh.shape, devices.first, placements, strict=True)
    for axis, (extent, position, place) in enumerate(pairs):
        if isinstance(place, On) and place.rank != position:
            return None
        if isinstance(place, Shard):
            dim = place.dim
            start, stop = shard_bounds(shape[dim], type_.unit(dim), extent, position)
            if stop - start == (full := _full(shape[dim], type_.unit(dim), extent)):
                steps[dim][axis] += full
            else:
                base[dim] += start
            shape[dim] = stop - start
    where = [devices.index(b, s) for b, s in zip(base, steps, strict=True)]
    for dim, (windows, own) in windowed(placements).items():
        where[dim], shape[dim] = _read(windows, own, type_.shape[dim], mesh, devices)
    return TensorPart(tuple(where), tuple(shape))


def _read(
    windows: Halo, axes: tuple[int, ...], extent: int, mesh: Mesh, devices: DeviceClass
) -> tuple[Index, int]:
    """Where what windows read begins on each device of a class, and how much it is."""
    parts = [(mesh.shape[axis], devices.first[axis]) for axis in axes]
    start, stop = shard_of(windows.size, windows.unit, parts)
    first, end = windows.reach.span(start, stop, extent)
    steps = [0] * len(mesh.shape)
    if start < stop and first == windows.reach.uncut(start, stop)[0]:
        # Devices of a class lie as far apart as their windows do: see `_reading`.
        for axis, each in zip(axes, _distances(windows, parts), strict=True):
            steps[axis] = each * windows.reach.up // windows.reach.down
    base = first - sum(s * c for s, c in zip(steps, devices.first, strict=True))
    return devices.index(base, steps), end - first


def _distances(windows: Halo, parts: Sequence[tuple[int, int]]) -> list[int]:
    """By axis, how far a shard of what is divided is from the next; 0 for one cut short, which has
    no like.
    """
    found, size = [], windows.size
    for extent, position in parts:
        full = _full(size, windows.unit, extent)
        start, stop = shard_bounds(size, windows.unit, extent, position)
        size = stop - start
        found.append(full if size == full else 0)
    return found


class ClassBlocks:
    """What each device of a class holds of a plan's values; equal questions are answered once."""

    def __init__(self, plan: Plan, classes: Sequence[DeviceClass]) -> None:
        self.plan, self.classes = plan, classes
        self.known: dict[tuple[TensorType, Placements, int], TensorPart | None] = {}

    def of(self, name: str, class_: int) -> TensorPart | None:
        """The block of a value on each device of a class, or None where it has none."""
        type_, places = self.plan.graph[name].type, self.plan.placement[name]
        key = type_, places, class_
        if key not in self.known:
            self.known[key] = class_block(type_, places, self.plan.mesh, self.classes[class_])
        return self.known[key]


def class_numbers(mesh: Mesh, classes: Sequence[DeviceClass]) -> tuple[int, ...]:
    """By device the number of its class, -1 for a device that is in none."""
    found = [-1] * mesh.size
    for number, each in enumerate(classes):
        for device in each.devices(mesh):
            found[device] = number
    return tuple(found)


def _full(size: int, unit: int, parts: int) -> int:
    """Elements of a shard that is not cut short."""
    return shard_bounds(size, unit, parts, 0)[1]


def device_classes(plans: Sequence[Plan], apart: bool = False) -> tuple[DeviceClass, ...]:
    """The classes of the devices of plans for one mesh; `apart` makes one of each device."""
    mesh = plans[0].mesh
    if apart:
        return tuple(_alone(mesh.coordinates(d)) for d in range(mesh.size))
    pairs = {(n.type, plan.placement[n.name]) for plan in plans for n in plan.graph.nodes}
    groups = {each for plan in plans for each in _groups(plan)}
    padded = {each for plan in plans for each in _windows(plan)}
    return equal_devices(mesh, pairs, groups, padded)


def _groups(plan: Plan) -> Iterator[tuple[TensorType, Placements, int]]:
    """Filters of grouped convolutions, where they live, and how many are in a group."""
    for node in plan.graph.nodes:
        for op, names in _operations(node):
            if isinstance(op, Convolution) and op.groups > 1:
                name = (*names, node.name)[op.filters]
                type_ = plan.graph[name].type
                yield type_, plan.placement[name], type_.shape[0] // op.groups


Padded = tuple[Windowed, tuple[TensorType, ...], tuple[Placements, ...]]
"""An operation with windows, and the types and placements of its operands and its result."""


def _windows(plan: Plan) -> Iterator[Padded]:
    """Operations with windows along a dimension that is divided."""
    for node in plan.graph.nodes:
        for op, names in _operations(node):
            if isinstance(op, Windowed):
                every = (*names, node.name)
                places = tuple(plan.placement[name] for name in every)
                if any(divided(p) in (2, 3) for each in places for p in each):
                    yield op, tuple(plan.graph[name].type for name in every), places


def _operations(node: Node) -> Iterator[tuple[Op, tuple[str, ...]]]:
    """What a node computes, each with its operands."""
    if not isinstance(node.op, Fused):
        yield node.op, node.inputs
        return
    for link in node.op.links:
        yield link.op, tuple(node.name if a < 0 else node.inputs[a] for a in link.args)


def _padding(padded: Padded, mesh: Mesh) -> list[Hashable]:
    """By device the padding of its part."""
    op, types, places = padded
    roles: list[Hashable] = []
    for device in range(mesh.size):
        pairs = zip(types, places, strict=True)
        parts = [local_block(type_, each, mesh, device) for type_, each in pairs]
        held = [part for part in parts if part is not None]
        whole = len(held) == len(parts)
        site = Site(tuple(held[:-1]), types[:-1], held[-1], types[-1], ()) if whole else None
        roles.append(None if site is None else op.local(site)["pad"])
    return roles


def equal_devices(
    mesh: Mesh,
    placed: Iterable[tuple[TensorType, Placements]],
    grouped: Iterable[tuple[TensorType, Placements, int]] = (),
    padded: Iterable[Padded] = (),
) -> tuple[DeviceClass, ...]:
    """The classes of devices that have equal blocks of tensors of some types and placements, whose
    filters of grouped convolutions begin at the same place inside of a group, and whose parts of
    images have the same padding.
    """
    roles = [_roles(key, mesh) for key in _keys(placed)]
    roles += [_padding(each, mesh) for each in padded]
    for type_, places, size in grouped:
        blocks = (local_block(type_, places, mesh, d) for d in range(mesh.size))
        roles.append([None if b is None else numbers(b.where)[0] % size for b in blocks])
    return _refined(mesh, roles)


def _alone(coordinates: tuple[int, ...]) -> DeviceClass:
    return DeviceClass(tuple((c,) for c in coordinates))


Key = tuple[int, int, tuple[int, ...]] | tuple[int, int] | tuple[Halo, int, tuple[int, ...]]
"""Size, unit and axes of a dimension that is divided; axis and coordinate of what is On; or
windows, the extent of what they read and the axes that divide them.
"""


def _keys(placed: Iterable[tuple[TensorType, Placements]]) -> set[Key]:
    """All that makes blocks differ."""
    keys: set[Key] = set()
    for type_, places in placed:
        axes: dict[int, tuple[int, ...]] = {}
        for axis, place in enumerate(places):
            if isinstance(place, On):
                keys.add((axis, place.rank))
            elif isinstance(place, Shard):
                axes[place.dim] = (*axes.get(place.dim, ()), axis)
        keys |= {(type_.shape[dim], type_.unit(dim), own) for dim, own in axes.items()}
        read = windowed(places).items()
        keys |= {(windows, type_.shape[dim], own) for dim, (windows, own) in read}
    return keys


def _roles(key: Key, mesh: Mesh) -> list[Hashable]:
    """By device what it is with regard to a key: lengths of what each axis leaves, or whether it
    is the one.
    """
    coordinates = map(mesh.coordinates, range(mesh.size))
    if len(key) == 2:
        axis, rank = key
        return [c[axis] == rank for c in coordinates]
    whole, number, axes = key
    known: dict[tuple[int, ...], Hashable] = {}
    roles = []
    for each in coordinates:
        own = tuple(each[axis] for axis in axes)
        if own not in known:
            extents = [mesh.shape[axis] for axis in axes]
            if isinstance(whole, Halo):
                known[own] = _reading(whole, number, own, extents)
            else:
                known[own] = _lengths(whole, number, own, extents)
        roles.append(known[own])
    return roles


def _reading(windows: Halo, extent: int, own: Sequence[int], extents: Sequence[int]) -> Hashable:
    """Lengths of what each axis leaves of what is divided, how much is read for it, and where that
    is cut off: devices that have this alike are apart by whole windows.
    """
    lengths = _lengths(windows.size, windows.unit, own, extents)
    parts = list(zip(extents, own, strict=True))
    start, stop = shard_of(windows.size, windows.unit, parts)
    first, end = windows.reach.span(start, stop, extent)
    beyond = tuple(
        a - b for a, b in zip((first, end), windows.reach.uncut(start, stop), strict=True)
    )
    if start == stop:
        return lengths, 0
    distances = _distances(windows, parts)
    whole = all(each * windows.reach.up % windows.reach.down == 0 for each in distances)
    return lengths, end - first, beyond, None if whole else tuple(own)


def _lengths(size: int, unit: int, own: Sequence[int], extents: Sequence[int]) -> tuple[int, ...]:
    lengths = []
    for position, extent in zip(own, extents, strict=True):
        start, stop = shard_bounds(size, unit, extent, position)
        size = stop - start
        lengths.append(size)
    return tuple(lengths)


def _refined(mesh: Mesh, roles: Iterable[Sequence[Hashable]]) -> tuple[DeviceClass, ...]:
    """The largest classes of devices with the same roles that meet the same classes along every
    axis in the same order; each is all combinations of some coordinates.
    """
    colors = _numbered(list(zip(*roles, strict=True)) or [()] * mesh.size)
    while True:
        refined = _numbered([*zip(colors, *_met(mesh, colors), strict=True)])
        refined = _combinations(mesh, refined)
        if max(refined) == max(colors):
            break
        colors = refined
    return tuple(_class_of(mesh, devices) for devices in _members(colors).values())


def _numbered(values: Sequence[Hashable]) -> list[int]:
    """Equal values as equal numbers, in the order of first appearance."""
    known: dict[Hashable, int] = {}
    return [known.setdefault(value, len(known)) for value in values]


def _met(mesh: Mesh, colors: Sequence[int]) -> list[list[int]]:
    """By axis and device, whom it meets there, as a number."""
    found = []
    for axis in range(len(mesh.shape)):
        groups: dict[tuple[int, ...], int] = {}
        own = [0] * mesh.size
        for group in mesh.groups((axis,)):
            number = groups.setdefault(tuple(colors[d] for d in group), len(groups))
            for device in group:
                own[device] = number
        found.append(own)
    return found


def _members(colors: Sequence[int]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {}
    for device, color in enumerate(colors):
        members.setdefault(color, []).append(device)
    return members


def _class_of(mesh: Mesh, devices: Sequence[int]) -> DeviceClass:
    """The class whose coordinates along each axis are those of the devices."""
    along = zip(*(mesh.coordinates(d) for d in devices), strict=True)
    return DeviceClass(tuple(tuple(sorted(set(each))) for each in along))


def _combinations(mesh: Mesh, colors: Sequence[int]) -> list[int]:
    """Colors where devices of one that are not all combinations of coordinates are set apart."""
    apart: list[Hashable] = list(colors)
    for color, devices in _members(colors).items():
        if _class_of(mesh, devices).size != len(devices):
            coordinates = [mesh.coordinates(device) for device in devices]
            along = enumerate(zip(*coordinates, strict=True))
            axis = next(axis for axis, line in along if len(set(line)) > 1)
            for device, here in zip(devices, coordinates, strict=True):
                apart[device] = (color, here[axis])
    return _numbered(apart)
