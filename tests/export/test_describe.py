"""What the exporters read off a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from harness import compiled, options, tiny
from random_networks import MIXING

from netc.cost import plan_traffic
from netc.export.describe import describe, most_sent, total_traffic
from netc.export.words import exchange_text
from netc.export.write import plan_dot
from netc.passes.choose_splits import Pin

Make = Callable[..., Any]

PLANS = [
    ("tiny", "hybrid", (4,), "b"),
    ("tiny", "hybrid", (2,), "c"),
    ("tiny", "model", (3,), None),
    ("blocks", "data", (2, 2), None),
    ("blocks", "model", (2,), None),
    ("blocks", "single", (1,), None),
]


@pytest.mark.parametrize(("name", "strategy", "mesh", "scheme"), PLANS)
def test_exchanges_carry_the_plan_s_bytes(
    case: Make, name: str, strategy: str, mesh: tuple[int, ...], scheme: str | None
) -> None:
    given = case(name, strategy, mesh, scheme)
    exchanges = describe(given.plan, given.network).exchanges
    expected = {
        node: t for node, t in plan_traffic(given.plan).items() if any(map(sum, t.values()))
    }
    assert {e.name: e.traffic for e in exchanges if most_sent(e.traffic)} == expected


@pytest.mark.parametrize(("name", "strategy", "mesh", "scheme"), PLANS)
def test_every_layer_is_described_once(
    case: Make, name: str, strategy: str, mesh: tuple[int, ...], scheme: str | None
) -> None:
    given = case(name, strategy, mesh, scheme)
    names = [layer.name for layer in describe(given.plan, given.network).layers]
    written = {layer.name for layer in given.network.layers}
    assert len(names) == len(set(names))
    assert written <= set(names)
    assert all(n in written or n == "image" or n.startswith("flatten") for n in names)


def test_vgg16_has_its_parameters_and_products(case: Make) -> None:
    given = case("vgg16", "data")
    description = describe(given.plan, given.network)
    assert description.parameters == 138_357_544
    products = sum(x.flops for x in description.layers if x.kind in ("conv", "fc"))
    assert products / description.batch / 2 == pytest.approx(15.470e9, rel=2e-3)


def test_shapes_of_a_layer_in_rounds(case: Make) -> None:
    given = case("tiny", "hybrid", (4,), "b", 16)
    fc = next(x for x in describe(given.plan, given.network).layers if x.name == "fc1")
    assert (fc.type.shape, fc.local, fc.rounds) == ((16, 6), (4, 2), 4)
    assert (fc.parameters, fc.local_parameters) == (6 * 64 + 6, 2 * 64 + 2)
    assert fc.inputs == ("flatten1",)


def test_places_of_maxima_are_no_result(case: Make) -> None:
    given = case("tiny", "spatial", (2,))
    described = describe(given.plan, given.network)
    pool = next(x for x in described.layers if x.kind == "maxpool")
    assert (pool.type.dtype, pool.type.shape, pool.local) == ("f32", (16, 4, 4, 4), (16, 4, 2, 4))
    assert "u8" in {node.type.dtype for node in given.plan.graph.nodes}


def test_a_layer_on_one_device_has_that_device_s_shape(case: Make) -> None:
    given = case("tiny", "data", (2,), pins=(Pin("fc1", "@1"),))
    fc = next(x for x in describe(given.plan, given.network).layers if x.name == "fc1")
    assert (fc.local, fc.local_parameters) == ((16, 6), fc.parameters)


def test_roles_on_the_boundary_of_rounds(case: Make) -> None:
    given = case("tiny", "hybrid", (2,), "b")
    found = {
        (e.role, e.kind, e.source, e.targets, e.round)
        for e in describe(given.plan, given.network).exchanges
    }
    assert ("activation", "broadcast", "flatten1", ("fc1",), 1) in found
    assert ("gradient", "reduce", "fc1", ("flatten1",), 1) in found
    assert ("weights", "all_reduce", "conv1", ("conv1",), None) in found
    assert ("labels", "broadcast", "labels", ("softmax_loss1",), 0) in found
    assert {role for role, *_ in found} == {
        "activation", "gradient", "weights", "labels", "statistics",
    }  # fmt: skip


def test_further_labels_are_labels() -> None:
    network = replace(tiny(), recipe=MIXING)
    chosen = options(network, 2, 8, strategy="hybrid", scheme="b")
    plan = compiled(network, chosen)[1].plan
    moved = [e for e in describe(plan, network).exchanges if e.source == "labels"]
    assert {(e.role, e.targets) for e in moved} == {("labels", ("softmax_loss1",))}
    assert len(moved) == 3 * 2


def test_an_activation_read_twice_is_moved_once_for_both(case: Make) -> None:
    given = case("blocks", "model", (2,))
    (moved,) = (
        e
        for e in describe(given.plan, given.network).exchanges
        if e.role == "activation" and e.source == "relu1"
    )
    assert moved.targets == ("unit1.conv1",)
    fans = [e for e in describe(given.plan, given.network).exchanges if len(e.targets) > 1]
    assert [set(e.targets) for e in fans if e.source == "unit3.relu2"] == [
        {"inception1.conv1", "inception1.conv2"}
    ]


def test_batch_norm_s_sums_are_statistics(case: Make) -> None:
    given = case("blocks", "data", (2,))
    roles = {
        e.name: e.role
        for e in describe(given.plan, given.network).exchanges
        if e.source == "unit1.bn1"
    }
    assert roles == {
        "unit1.bn1.sums.all_reduce": "statistics",
        "unit1.bn1.weight.grad.all_reduce": "weights",
        "unit1.bn1.bias.grad.all_reduce": "weights",
    }


def test_sharded_weights_are_gathered_and_their_gradients_scattered(case: Make) -> None:
    given = case("tiny", "data", (2,), updates="sharded")
    moved = [e for e in describe(given.plan, given.network).exchanges if e.role == "weights"]
    assert {exchange_text(each) for each in moved} == {
        "all-gather weights", "reduce-scatter gradients",
    }  # fmt: skip
    assert all(each.targets == (each.source,) for each in moved)
    assert "sharded (updates)" in plan_dot(*given.given)


def test_traffic_adds_up() -> None:
    assert total_traffic(()) == {}
    assert most_sent({}) == 0
