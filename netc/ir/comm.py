"""Communication operations, and the one table that decides them: `redistribute`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netc.ir.ops.base import Op
from netc.ir.types import On, Partial, Placement, Placements, Replicate, Shard, TensorType


@dataclass(frozen=True, slots=True)
class Comm(Op):
    """A change of placement along one mesh axis; the global value stays the same."""

    on_device: ClassVar[bool] = False
    """True where no device needs anything from another."""
    axis: int
    """The mesh axis whose groups take part."""

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
class Keep(Comm):
    """Replicate to On(root), without communication: the others forget their copy."""

    kernel: ClassVar[str] = "keep"
    view: ClassVar[bool] = True
    on_device: ClassVar[bool] = True
    root: int


def transition(source: Placement, target: Placement, axis: int) -> Comm | None:
    """The one table: what turns `source` into a different `target` along `axis`, if anything."""
    match source, target:
        case Replicate(), Shard(dim):
            return Slice(axis, dim)
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
    """
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
    return tuple(steps)


def _divides_changed(
    axis: int, current: list[Placement], source: Placements, target: Placements
) -> bool:
    here = current[axis]
    return isinstance(here, Shard) and any(
        source[earlier] != target[earlier] and here in (source[earlier], target[earlier])
        for earlier in range(axis)
    )
