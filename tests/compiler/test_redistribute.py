"""The table of redistributions, simulated with blocks of arrays; and where shards end."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from netc.ir.comm import Comm, redistribute
from netc.ir.types import (
    Halo,
    Mesh,
    On,
    Partial,
    Placement,
    Placements,
    Replicate,
    Shard,
    TensorPart,
    TensorType,
    WindowReach,
    local_block,
    numbers,
    shard_bounds,
)

Array = NDArray[Any]
Held = dict[int, Array]
"""What every device holds; devices that hold nothing are left out."""
TYPE = TensorType("f64", (5, 12), (1, 2))
TARGETS: tuple[Placement, ...] = (Replicate(), Shard(0), Shard(1), On(0), On(1))
SOURCES: tuple[Placement, ...] = (*TARGETS, Partial())
WINDOWS: tuple[Placement, ...] = (
    Halo(0, 4, 1, WindowReach(1, 1, -1, 2)),
    Halo(0, 3, 1, WindowReach(2, 1, 0, 0)),
    Halo(1, 25, 1, WindowReach(1, 2, -2, 1)),
)
"""Overlapping blocks; some rows that nobody reads; a mirrored reach."""


def region(block: TensorPart) -> tuple[slice, ...]:
    return tuple(slice(w, w + n) for w, n in zip(numbers(block.where), block.shape, strict=True))


def terms(whole: Array, placements: Placements, mesh: Mesh) -> dict[tuple[int, ...], Array]:
    """Tensors by coordinates along the partial axes, that add up to the whole one."""
    extents = [
        e if isinstance(p, Partial) else 1 for e, p in zip(mesh.shape, placements, strict=True)
    ]
    where = list(product(*map(range, extents)))
    random = np.random.default_rng(1).integers(-9, 9, (len(where), *whole.shape)).astype(float)
    random[0] += whole - random.sum(0)
    return dict(zip(where, random, strict=True))


def placed(whole: Array, placements: Placements, mesh: Mesh) -> Held:
    """The blocks of every device."""
    parts, held = terms(whole, placements, mesh), {}
    for device in range(mesh.size):
        block = local_block(TYPE, placements, mesh, device)
        if block is not None:
            partial = tuple(
                c if isinstance(p, Partial) else 0
                for c, p in zip(mesh.coordinates(device), placements, strict=True)
            )
            held[device] = parts[partial][region(block)]
    return held


def after(held: Held, op: Comm, before: Placements, then: Placements, mesh: Mesh) -> Held:
    """Run one operation: a device knows its own block, and its group's if it communicates."""
    result: Held = {}
    for group in mesh.groups(op.axes):
        for taker in group:
            wanted = local_block(TYPE, then, mesh, taker)
            if wanted is not None and any(d in held for d in group):
                givers = (taker,) if op.on_device else group
                result[taker] = _collected(held, givers, wanted, before, op, mesh)
    return result


def _collected(
    held: Held,
    givers: tuple[int, ...],
    wanted: TensorPart,
    before: Placements,
    op: Comm,
    mesh: Mesh,
) -> Array:
    canvas, filled = np.zeros(TYPE.shape), np.zeros(TYPE.shape, int)
    for giver in givers:
        block = local_block(TYPE, before, mesh, giver)
        if giver in held and block is not None:
            canvas[region(block)] += held[giver]
            filled[region(block)] += 1
    times = len(givers) if isinstance(before[op.axis], Partial) else 1
    if not isinstance(before[op.axis], Replicate):
        assert (filled[region(wanted)] == times).all(), "not all is there, or some of it twice"
    return canvas[region(wanted)] / (filled[region(wanted)] if times == 1 else 1)


def check(source: Placements, target: Placements, mesh: Mesh) -> None:
    """Every device ends with its block of the same tensor."""
    whole = np.arange(60.0).reshape(TYPE.shape)
    held, placements = placed(whole, source, mesh), source
    for op, then in redistribute(source, target):
        held = after(held, op, placements, then, mesh)
        placements = then
    assert placements == target
    expected = placed(whole, target, mesh)
    assert held.keys() == expected.keys()
    for device, value in expected.items():
        np.testing.assert_array_equal(held[device], value)


@pytest.mark.parametrize("devices", [1, 2, 3, 8])
def test_one_axis(devices: int) -> None:
    mesh = Mesh((devices,), ("d",))
    for source, target in product(SOURCES, TARGETS):
        if devices > 1 or On(1) not in (source, target):
            check((source,), (target,), mesh)


@pytest.mark.parametrize("shape", [(2,), (3,), (8,), (2, 2), (2, 3), (3, 2)])
def test_windows(shape: tuple[int, ...]) -> None:
    """From every placement; several axes that divide one dimension do so for the same windows."""
    mesh = Mesh(shape, ("a", "b")[: len(shape)])
    targets = product((*TARGETS, *WINDOWS), repeat=len(shape))
    wanted = [t for t in targets if set(t) & set(WINDOWS) and _of_one_kind(t)]
    for source, target in product(product(SOURCES, repeat=len(shape)), wanted):
        check(source, target, mesh)


def _of_one_kind(target: Placements) -> bool:
    """Whether a dimension that windows read is divided by nothing else."""
    dims = [p.dim for p in set(target) if isinstance(p, Shard | Halo)]
    return len(set(dims)) == len(dims)


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 2)])
def test_two_axes(shape: tuple[int, int]) -> None:
    """Also where both axes divide one dimension, and one of them changes."""
    mesh = Mesh(shape, ("a", "b"))
    pairs = list(product(SOURCES, SOURCES))
    for source, target in product(pairs, product(TARGETS, TARGETS)):
        check(source, target, mesh)


def test_three_axes() -> None:
    mesh = Mesh((2, 2, 2), ("a", "b", "c"))
    few: tuple[Placement, ...] = (Replicate(), Shard(1), Partial())
    for source in product(few, repeat=3):
        for target in product(few[:2], repeat=3):
            check(source, target, mesh)


def test_nothing_moves_where_nothing_changes() -> None:
    for source in product(SOURCES, repeat=2):
        assert redistribute(source, source) == ()


@pytest.mark.parametrize(
    ("source", "target", "names"),
    [
        ((Partial(),), (Replicate(),), ["all_reduce"]),
        ((Partial(),), (Shard(1),), ["reduce_scatter"]),
        ((Shard(0),), (Shard(1),), ["all_to_all"]),
        ((On(1),), (Shard(0),), ["scatter"]),
        ((Replicate(), Shard(0)), (Shard(0), Shard(0)), ["all_gather", "slice", "slice"]),
        ((Shard(0), Partial()), (Shard(0), Shard(0)), ["reduce_scatter"]),
    ],
)
def test_what_the_table_says(source: Placements, target: Placements, names: list[str]) -> None:
    assert [op.kernel for op, _ in redistribute(source, target)] == names


def test_uneven_and_empty_shards() -> None:
    sizes = [stop - start for start, stop in (shard_bounds(10, 1, 8, i) for i in range(8))]
    assert sizes == [2, 2, 2, 2, 2, 0, 0, 0]


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 9))
def test_shards_follow_each_other_in_whole_units(count: int, unit: int, parts: int) -> None:
    bounds = [shard_bounds(count * unit, unit, parts, index) for index in range(parts)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == count * unit
    assert all(left[1] == right[0] for left, right in pairwise(bounds))
    assert all(start % unit == stop % unit == 0 for start, stop in bounds)
    assert max(stop - start for start, stop in bounds) == -(-count // parts) * unit
