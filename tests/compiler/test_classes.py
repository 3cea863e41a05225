"""Equal devices are one: what a program says for a class is what it would say for each device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from harness import compile_case, options, tiny
from hypothesis import given
from hypothesis import strategies as st
from random_networks import GRIDS, Case, cases, free_cases, round_cases

from netc.ir.classes import class_block, equal_devices
from netc.ir.program import Bundle, Launch, Program, View
from netc.ir.text import program_text
from netc.ir.types import (
    Halo,
    Mesh,
    On,
    Placements,
    Replicate,
    Shard,
    TensorPart,
    TensorType,
    WindowReach,
    index_at,
    local_block,
)
from netc.passes.pipeline import compile_network
from netc.syntax import parse_text


@cases(40)
@given(st.one_of(free_cases(), free_cases(GRIDS), round_cases()))
def test_projections_are_those_of_devices_compiled_alone(case: Case) -> None:
    """Byte for byte: uneven and empty shards, one and two axes, all schemes."""
    together, apart = compile_case(case)[0], compile_case(case, apart=True)[0]
    assert len(apart.train.classes) == case.mesh.size
    for one, other in zip(_programs(together), _programs(apart), strict=True):
        for device in range(case.mesh.size):
            assert repr(projection(one, device)) == repr(projection(other, device))


def projection(program: Program, device: int) -> list[object]:
    """A program as it is on one device, whatever its class: buffers by their values' names, and
    instructions numbered from 0 as the device goes through them.
    """
    own, class_ = program.of(device), program.class_of[device]
    place = {number: i for i, number in enumerate(own.instructions)}
    found: list[object] = [
        replace(b, name=value_of(b.name), class_=device) for b in program.buffers_of[class_]
    ]
    for port in (*program.inputs, *program.outputs, *program.state):
        found.append((port.name, nameless(program.block(port, device))))
    for each in own.instructions.values():
        waits = tuple(place[wait] for wait in each.waits)
        if isinstance(each, Launch):
            reads, writes = map(all_nameless, (each.reads, each.writes))
            found.append(replace(each, class_=device, reads=reads, writes=writes, waits=waits))
            continue
        parts = [
            replace(p, sources=all_nameless(p.sources), targets=all_nameless(p.targets))
            for p in each.parts
        ]
        found.append(replace(each, parts=tuple(parts), waits=waits))
    return found


def value_of(buffer: str) -> str:
    return buffer.rpartition("@")[0]


def nameless(view: View | None) -> View | None:
    return None if view is None else replace(view, buffer=value_of(view.buffer))


def all_nameless(views: Sequence[View | None]) -> tuple[Any, ...]:
    return tuple(map(nameless, views))


def _programs(bundle: Bundle) -> tuple[Program, ...]:
    return bundle.programs


@cases(100)
@given(st.data())
def test_a_block_of_a_class_is_that_of_each_device(data: st.DataObject) -> None:
    """Of any tensor placed anyhow, in classes made for it and others."""
    mesh = data.draw(st.sampled_from([Mesh((n,), ("d",)) for n in (1, 2, 5, 8)] + [
        Mesh((2, 2), ("a", "b")), Mesh((2, 3), ("a", "b")), Mesh((4, 2), ("a", "b"))]))  # fmt: skip
    found = [_placed(data, mesh) for _ in range(3)]
    classes = equal_devices(mesh, found)
    assert sorted(d for each in classes for d in each.devices(mesh)) == list(range(mesh.size))
    for type_, places in found:
        for each in classes:
            block = class_block(type_, places, mesh, each)
            for device in each.devices(mesh):
                here = None if block is None else _at(block, mesh.coordinates(device))
                assert here == local_block(type_, places, mesh, device)


def _at(block: TensorPart, coordinates: tuple[int, ...]) -> TensorPart:
    return replace(block, where=tuple(index_at(i, coordinates) for i in block.where))


def _placed(data: st.DataObject, mesh: Mesh) -> tuple[TensorType, Placements]:
    sizes = data.draw(st.tuples(st.integers(0, 9), st.integers(1, 9)))
    place = st.one_of(
        st.just(Replicate()), st.builds(Shard, st.integers(0, 1)), st.builds(On, st.just(0))
    )
    places: Placements = tuple(data.draw(place) for _ in mesh.shape)
    if data.draw(st.booleans()):
        places = _with_windows(data, places)
    return TensorType("f32", sizes), places


def _with_windows(data: st.DataObject, places: Placements) -> Placements:
    """Placements where windows read the second dimension, wherever it was divided and elsewhere."""
    few = st.integers(1, 3)
    reach = WindowReach(data.draw(few), data.draw(few), data.draw(st.integers(-4, 1)), 0)
    reach = replace(reach, last=reach.first + data.draw(st.integers(0, 4)))
    windows = Halo(1, data.draw(st.integers(1, 16)), 1, reach)
    axis = data.draw(st.integers(0, len(places) - 1))
    return tuple(windows if i == axis or p == Shard(1) else p for i, p in enumerate(places))


@pytest.mark.parametrize(
    ("devices", "batch", "classes"), [(4, 16, 1), (4, 14, 2), (4, 9, 2), (8, 12, 2)]
)
def test_uneven_and_empty_shards_are_classes(devices: int, batch: int, classes: int) -> None:
    chosen = options(tiny(), devices, batch, strategy="data")
    program = compile_network(tiny(), chosen)[0].train
    assert len(program.classes) == classes


@pytest.mark.parametrize(("filters", "devices", "classes"), [(12, 2, 1), (12, 3, 3), (16, 4, 1)])
def test_filters_of_one_place_in_their_group_are_alike(
    filters: int, devices: int, classes: int
) -> None:
    """Of four groups: whole ones are alike; 4 of 12 filters are not, they begin inside of one."""
    text = f"net n()\ninput image 4x6x6\nconv 3x3 {filters} groups=4\nfc 12\nsoftmax_loss\n"
    chosen = options(parse_text(text, "n.net"), devices, 12, strategy="model")
    program = compile_network(parse_text(text, "n.net"), chosen)[0].train
    assert len(program.classes) == classes


def test_what_is_on_one_device_makes_classes_of_all() -> None:
    """In scheme b each worker has a round of its own."""
    chosen = options(tiny(), 4, 16, strategy="hybrid", scheme="b")
    assert len(compile_network(tiny(), chosen)[0].train.classes) == 4


def test_a_program_of_many_equal_devices_is_no_longer_than_that_of_two() -> None:
    two, many = (
        compile_network(tiny(), options(tiny(), n, 4 * n, strategy="data"))[0] for n in (2, 64)
    )
    assert len(many.train.classes) == 1
    assert len(program_text(many.train)) < 1.05 * len(program_text(two.train))
