"""The additive model prices what the compiler does, and its optimum is the best plan it knows."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
from harness import CLUSTER, options
from networks import Maker

import netc_models
from netc.cost import (
    LinkLevel,
    Links,
    MeasuredPlan,
    Nccl,
    exchange_price,
    launch_seconds,
    moved_bytes,
    traffic,
)
from netc.errors import PlanError
from netc.ir.comm import Comm
from netc.ir.facts import REPLICATED
from netc.ir.graph import Graph
from netc.ir.optimizers import choose_optimizer
from netc.ir.plan import Plan, Split
from netc.ir.types import ITEM_BYTES, Mesh, line_mesh, local_block
from netc.passes.build_graph import build_graph
from netc.passes.differentiate import differentiate
from netc.passes.insert_comm import insert_comm
from netc.passes.note_places import note_places
from netc.passes.options import task
from netc.passes.split_groups import split_groups
from netc.passes.sum_statistics import sum_statistics
from netc.planner.auto import find_plan
from netc.planner.blocks import alike
from netc.planner.choice import Found
from netc.planner.prices import Priced, choices_of, price
from netc.planner.terms import terms_of
from netc.strategies.search import minimize, total
from netc.syntax import Network, parse_file

CASES = 50


def shipped(name: str) -> Network:
    return parse_file(Path(netc_models.__file__).parent / f"{name}.net")


GRID = Mesh((2, 2), ("d", "e"))
HALVES = Links(
    (LinkLevel("in", 2, 4e9, 1e-5), LinkLevel("out", None, 1e9, 3e-5, 1.5e9)),
    ("direct", "ring", "doubling"),
)
GPUS = Links(
    (LinkLevel("nvlink", 2, 4e11, 1e-5), LinkLevel("network", None, 5e10, 3e-5, 1e11)),
    ("cuda", "nccl"), nccl=Nccl("hopper", 18),
)  # fmt: skip
MACHINES = (CLUSTER, replace(CLUSTER, links=HALVES), replace(CLUSTER, links=GPUS))


def residual() -> Network:
    """Every size divides by four: branches, groups, pooling, batch norm, windows of all kinds."""
    net = Maker(8, 16, 16)
    x = net.relu(net.conv("image", 8, pad=1))
    y = net.relu(net.bn(net.conv(x, 8, pad=1, groups=4)))
    x = net.pool(net.add(net.conv(y, 8, 1), x), 2)
    z = net.concat(net.conv(x, 8, 1), net.conv(x, 8, pad=1), x)
    z = net.flatten(net.pool(z, "global", "avgpool"))
    return net.loss(net.fc(net.relu(net.fc(z, 16)), 8))


def graph_of(network: Network, batch: int = 16) -> Graph:
    return differentiate(build_graph(network, batch), choose_optimizer("sgd"))


def exchanged(graph: Graph, splits: dict[str, Split], mesh: Mesh, machine: int) -> float:
    """Seconds of all communication nodes that the compiler inserts, one after the other."""
    high = {layer: ("h",) * len(mesh.shape) for layer in splits}
    graph = split_groups(note_places(graph, high, mesh), splits, mesh)
    graph = sum_statistics(graph, splits, mesh)
    plan: Plan = insert_comm(graph, splits, mesh)
    cluster, seconds = MACHINES[machine], 0.0
    for node in plan.graph.nodes:
        if not isinstance(node.op, Comm) or node.op.view:
            continue
        source, target = plan.placement[node.inputs[0]], plan.placement[node.name]
        if node.op.on_device:
            block = local_block(node.type, target, mesh, 0)
            moved = 2 * prod(block.shape) * ITEM_BYTES[node.type.dtype] if block else 0
            seconds += launch_seconds(cluster, "other", node.type.dtype, 0, moved) if moved else 0
            continue
        moved_ = moved_bytes([traffic(node.op, node.type, source, target, mesh)], mesh)
        if any(map(any, moved_)):
            seconds += exchange_price(
                cluster.links, mesh, node.op.axes, node.op.kernel, moved_
            ).seconds
    return seconds


def random_splits(
    rng: np.random.Generator, choices: dict[str, tuple[Split, ...]]
) -> dict[str, Split]:
    """Few different labels, so that most values stay where they are and some do not."""
    liked = rng.choice(list("nkchwr"), 2)
    found = {}
    for layer, own in choices.items():
        fitting = [s for s in own if all(label in liked for label in s)]
        every = fitting if fitting and rng.random() < 0.7 else own
        found[layer] = every[rng.integers(len(every))]
    return found


@pytest.mark.parametrize("machine", range(len(MACHINES)))
@pytest.mark.parametrize("mesh", [line_mesh(4), GRID], ids=str)
def test_exchanges_cost_what_the_compiler_inserts(mesh: Mesh, machine: int) -> None:
    graph = graph_of(residual())
    choices = {
        layer: tuple(s for s in own if len(mesh.shape) == 1 or not set("hw") & set(s))
        for layer, own in choices_of(graph, mesh).items()
    }
    priced = price(terms_of(graph, choices), mesh, MACHINES[machine], choices)
    rng, ratios = np.random.default_rng(machine), []
    for _ in range(CASES):
        splits = random_splits(rng, choices)
        predicted = total(priced.number(splits), (*priced.exchanging, *priced.updating))
        ratios.append(predicted / exchanged(graph, splits, mesh, machine))
    # Where two ways begin with the same step the compiler takes it once: on grids that happens.
    assert min(ratios) >= 0.98 and max(ratios) <= 1.4
    assert 0.99 <= np.median(ratios) <= 1.05


def test_splitting_computation_divides_it() -> None:
    """On four devices a layer split by n costs a quarter of one that everybody computes."""
    net = Maker(64, 64, 64)
    graph = graph_of(net.loss(net.fc(net.flatten(net.relu(net.conv("image", 64, pad=1))), 8)))
    choices = choices_of(graph, line_mesh(4))
    priced = price(terms_of(graph, choices), line_mesh(4), CLUSTER, choices)
    layer = priced.layers.index("conv1")
    own = dict(zip(priced.choices[layer], priced.computing[layer], strict=True))
    for label in "nkhw":
        assert own["r",] / 4 <= own[label,] <= own["r",] / 3.5
    assert own["@0",] == own["r",]


def brute(priced: Priced) -> float:
    tables = priced.tables()
    sizes = [range(len(own)) for own in priced.choices]
    return min(total(choices, tables) for choices in product(*sizes))


def test_the_optimum_of_a_network_equals_exhaustive_search() -> None:
    net = Maker(4, 8, 8)
    network = net.loss(net.fc(net.flatten(net.relu(net.conv("image", 8, pad=1))), 8))
    graph, mesh = graph_of(network), line_mesh(2)
    for labels in ("nk", "nh"):
        choices = choices_of(graph, mesh, labels)
        priced = price(terms_of(graph, choices), mesh, CLUSTER, choices)
        found = minimize([len(own) for own in priced.choices], priced.tables())
        assert found.cost == pytest.approx(brute(priced), rel=1e-12)


def test_plans_that_were_measured_decide() -> None:
    """The fastest of them is taken, unless something else gains more than prices may be off."""
    network = residual()
    chosen = replace(options(network, 4, 16), precision="fp32", fetch=())

    def asked(*took: float | None, error: float) -> Found:
        plans = tuple(
            MeasuredPlan(
                each.name,
                seconds,
                each.mesh.shape,
                each.scheme,
                each.updates or REPLICATED,
                (*each.splits.items(),),
            )
            for each, seconds in zip(ranked, took, strict=False)
            if seconds is not None
        )
        cluster = replace(chosen.cluster, plans={task(network, chosen): plans}, error=error)
        return find_plan(network, replace(chosen, cluster=cluster), [line_mesh(4), GRID])

    ranked = find_plan(network, chosen, [line_mesh(4), GRID]).candidates
    best = asked(3e-9, 1e-9, 2e-9, error=0.05).best
    assert best.measured and best.seconds == 1e-9 and best.splits == ranked[1].splits
    # What is not measured is sure only beyond the error.
    slower = 1.5 * ranked[0].seconds
    sure = asked(slower, slower, slower, error=0.9)
    assert sure.best.measured or not sure.best.found
    assert ranked[0].found
    others = [None, *(each.seconds for each in ranked[1:])]
    assert asked(*others, error=0.5).best.measured
    assert asked(*others, error=1e-9).best.key == ranked[0].key
    # All were measured to take ten times as long as predicted: so would the one that was not.
    tenfold = [None, *(10 * each.seconds for each in ranked[1:])]
    assert asked(*tenfold, error=1e-9).best.seconds == pytest.approx(10 * ranked[0].seconds)


def test_the_plan_found_is_no_slower_than_any_fixed_one_and_always_the_same() -> None:
    network = residual()
    chosen = replace(options(network, 4, 16), precision="fp32", fetch=())
    one, other = (find_plan(network, chosen, [line_mesh(4), GRID]) for _ in range(2))
    assert one == other
    assert one.candidates[0].seconds == min(c.seconds for c in one.candidates)
    assert one.best.seconds <= min(c.seconds for c in one.candidates if not c.found)
    for search in one.searches:
        assert search.bound == search.seconds


def test_equal_blocks_are_split_alike() -> None:
    """In a stage of ResNet-50 all blocks but the first; nested ones as their blocks."""
    graph = build_graph(shipped("resnet50"), 8)
    found = alike(graph, graph.layers)
    assert found["layer1.bottleneck3.conv2"] == "layer1.bottleneck2.conv2"
    assert found["layer3.bottleneck6.bn3"] == "layer3.bottleneck2.bn3"
    assert not {"layer1.bottleneck1.conv1", "layer1.bottleneck2.conv1", "conv1"} & set(found)
    for layer, other in found.items():
        assert other not in found
        own, theirs = (
            [(n.op, graph.operand_types(n), n.type) for n in graph.by_layer[x]]
            for x in (layer, other)
        )
        assert own == theirs
    network = shipped("resnet18")
    chosen = replace(options(network, 4, 32), precision="fp32", fetch=())
    tied, apart = (
        find_plan(network, chosen, [line_mesh(4)], share=share) for share in (True, False)
    )
    graph = build_graph(network, 8)
    pairs = alike(graph, graph.layers)
    assert pairs
    for plan in tied.candidates:
        assert all(plan.splits[layer] == plan.splits[other] for layer, other in pairs.items())
    for found_alike, free in zip(tied.searches, apart.searches, strict=True):
        assert found_alike.seconds >= free.seconds * (1 - 1e-12)


@pytest.mark.parametrize("exact", [False, True])
def test_where_memory_is_short_the_bound_holds(exact: bool) -> None:
    """No plan that fits costs less in the model, and the one found fits there; found by sets of
    seconds and bytes, it costs no more than that.
    """
    net = Maker(4, 8, 8)
    network = net.loss(net.fc(net.flatten(net.relu(net.conv("image", 8, pad=1))), 8))
    chosen = replace(options(network, 2, 4), precision="fp32", fetch=())
    graph, mesh = graph_of(network, 4), line_mesh(2)
    choices = choices_of(graph, mesh, "nk")
    priced = price(terms_of(graph, choices), mesh, chosen.cluster, choices)
    tables = priced.tables()
    every = [
        (total(c, tables), sum(own[i] for own, i in zip(priced.memory, c, strict=True)))
        for c in product(*(range(len(own)) for own in priced.choices))
    ]
    fastest = min(every)[1]
    checked = 0
    for part in (0.6, 0.75, 0.9):
        cluster = replace(chosen.cluster, memory_bytes=part * fastest)
        with suppress(PlanError):
            asked = replace(chosen, cluster=cluster)
            found = find_plan(network, asked, [mesh], "nk", exact_memory=exact)
            for search in found.searches:
                if search.memory_bytes is None or search.hidden:
                    continue
                least = min(s for s, nbytes in every if nbytes <= search.memory_bytes)
                assert search.bound <= least * (1 + 1e-12) <= search.seconds * (1 + 1e-9)
                assert search.exact_memory == exact
                if exact:
                    assert search.bound == search.seconds == pytest.approx(least, rel=1e-12)
                checked += 1
    assert checked
