"""Communication operations, and the one table that decides them: `redistribute`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netc.ir.ops.base import Op
from netc.ir.types import (
    Halo,
    On,
    Partial,
    Placement,
    Placements,
    Replicate,
    Shard,
    TensorType,
    divided,
    windowed,
)


@dataclass(frozen=True, slots=True)
class Comm(Op):
    """A change of placement along one mesh axis; the global value stays the same."""

    on_device: ClassVar[bool] = False
    """True where no device needs anything from another."""
    axis: int
    """The mesh axis whose groups take part; the first of them where there are several."""

    @property
    def axes(self) -> tuple[int, ...]:
        """All mesh axes whose groups take part, ascending."""
        return (self.axis,)

    @property
    def strided(self) -> bool:
        """Whether a shard that it makes or gathers is many runs of a tensor's bytes, not one."""
        return False

    def infer(self, *operands: TensorType) -> TensorType:
        """The operand's own type."""
        return operands[0]

    def flops(self, operands: tuple[tuple[int, ...], ...], result: tuple[int, ...]) -> int:
        """Arithmetic on the way is not counted."""
        return 0


@dataclass(frozen=True, slots=True)
class AllReduce(Comm):
    """Partial to Replicate."""

    kernel: ClassVar[str] = "all_reduce"
    op: str = "sum"
    """sum, max or min."""


@dataclass(frozen=True, slots=True)
class ReduceScatter(Comm):
    """Partial to Shard(dim)."""

    kernel: ClassVar[str] = "reduce_scatter"
    dim: int
    op: str = "sum"

    @property
    def strided(self) -> bool:
        """Shards of channels, of height or width."""
        return self.dim > 0


@dataclass(frozen=True, slots=True)
class Reduce(Comm):
    """Partial to On(root)."""

    kernel: ClassVar[str] = "reduce"
    root: int
    op: str = "sum"


@dataclass(frozen=True, slots=True)
class AllGather(Comm):
    """Shard(dim) to Replicate."""

    kernel: ClassVar[str] = "all_gather"
    dim: int

    @property
    def strided(self) -> bool:
        """Shards of channels, of height or width."""
        return self.dim > 0


@dataclass(frozen=True, slots=True)
class AllToAll(Comm):
    """Shard(source) to Shard(dim)."""

    kernel: ClassVar[str] = "all_to_all"
    source: int
    dim: int


@dataclass(frozen=True, slots=True)
class Gather(Comm):
    """Shard(dim) to On(root)."""

    kernel: ClassVar[str] = "gather"
    dim: int
    root: int


@dataclass(frozen=True, slots=True)
class Broadcast(Comm):
    """On(root) to Replicate."""

    kernel: ClassVar[str] = "broadcast"
    root: int


@dataclass(frozen=True, slots=True)
class Scatter(Comm):
    """On(root) to Shard(dim)."""

    kernel: ClassVar[str] = "scatter"
    root: int
    dim: int


@dataclass(frozen=True, slots=True)
class Send(Comm):
    """On(root) to On(target)."""

    kernel: ClassVar[str] = "send"
    root: int
    target: int


@dataclass(frozen=True, slots=True)
class Slice(Comm):
    """Replicate to Shard(dim), without communication."""

    kernel: ClassVar[str] = "slice"
    printed: ClassVar[str] = "local_slice"
    on_device: ClassVar[bool] = True
    dim: int


@dataclass(frozen=True, slots=True)
class HaloExchange(Comm):
    """Shard to Halo: each gets what its windows reach of `dim` from whoever holds it."""

    kernel: ClassVar[str] = "halo_exchange"
    dim: int
    inner: tuple[int, ...] = ()
    """Further mesh axes that divide the same dimension."""

    @property
    def axes(self) -> tuple[int, ...]:
        """All that divide the dimension."""
        return (self.axis, *self.inner)


@dataclass(frozen=True, slots=True)
class Keep(Comm):
    """Replicate to On(root), without communication: the others forget their copy."""

    kernel: ClassVar[str] = "keep"
    view: ClassVar[bool] = True
    on_device: ClassVar[bool] = True
    root: int


def transition(source: Placement, target: Placement, axis: int) -> Comm | None:
    """The one table: what turns `source` into a different `target` along `axis`, if anything."""
    match source, target:
        case Replicate(), Shard(dim) | Halo(dim):
            return Slice(axis, dim)
        case Shard(), Halo(dim):
            return HaloExchange(axis, dim)
        case Replicate(), On(root):
            return Keep(axis, root)
        case Shard(dim), Replicate():
            return AllGather(axis, dim)
        case Shard(dim), Shard(other):
            return AllToAll(axis, dim, other)
        case Shard(dim), On(root):
            return Gather(axis, dim, root)
        case Partial(op), Replicate():
            return AllReduce(axis, op)
        case Partial(op), Shard(dim):
            return ReduceScatter(axis, dim, op)
        case Partial(op), On(root):
            return Reduce(axis, root, op)
        case On(root), Replicate():
            return Broadcast(axis, root)
        case On(root), Shard(dim):
            return Scatter(axis, root, dim)
        case On(root), On(other):
            return Send(axis, root, other)
    return None


def redistribute(source: Placements, target: Placements) -> tuple[tuple[Comm, Placements], ...]:
    """The operations that turn `source` into `target`, each with the placement after it.

    Axis by axis. A later axis divides what earlier axes left of a dimension, so where an earlier
    axis changes its slice of a dimension, later slices of it are gathered first and cut again last.
    Where several axes divide what windows read of a dimension, its shards are made first, and then
    exchanged along all of them at once, so that only what is missing travels.
    """
    windows: list[tuple[Halo, tuple[int, ...]]] = []
    if any(isinstance(place, Halo) for place in target):
        target, windows = _before_windows(source, target)
    current = list(source)
    steps: list[tuple[Comm, Placements]] = []

    def change(axis: int, to: Placement) -> None:
        if current[axis] != to:
            operation = transition(current[axis], to, axis)
            assert operation, f"no redistribution from {current[axis]} to {to}"
            current[axis] = to
            steps.append((operation, tuple(current)))

    for axis in reversed(range(len(source))):
        if _divides_changed(axis, current, source, target):
            change(axis, Replicate())
    for axis, to in enumerate(target):
        change(axis, to)
    for place, axes in windows:
        for axis in axes:
            current[axis] = place
        exchange = HaloExchange(axes[0], place.dim, axes[1:])
        steps.append((exchange, tuple(current)))
    return tuple(steps)


def _before_windows(
    source: Placements, target: Placements
) -> tuple[Placements, list[tuple[Halo, tuple[int, ...]]]]:
    """The target with shards in place of windows that are read from shards afterwards, and those:
    where several axes divide them, and where the source is partial or on one device only.
    """
    first, later = list(target), []
    for dim, (place, axes) in windowed(target).items():
        sources = [source[axis] for axis in axes]
        here = all(isinstance(each, Replicate) for each in sources)
        if here or (len(axes) == 1 and isinstance(sources[0], Shard)):
            continue
        later.append((place, axes))
        for axis in axes:
            first[axis] = Shard(dim)
    return tuple(first), later


def _divides_changed(
    axis: int, current: list[Placement], source: Placements, target: Placements
) -> bool:
    here = divided(current[axis])
    return here is not None and any(
        source[earlier] != target[earlier]
        and here in (divided(source[earlier]), divided(target[earlier]))
        for earlier in range(axis)
    )
