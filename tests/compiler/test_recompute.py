"""Values computed again for the backward pass are those that would have been kept, to the bit."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from harness import case_options, compiled, options, same, tiny, train
from hypothesis import event, given
from networks import Maker
from random_networks import GRIDS, Case, cases, free_cases, round_cases

from netc.ir.graph import Graph
from netc.ir.ops import Dropout, Fused
from netc.ir.verify import verify_graph
from netc.passes.build_graph import build_graph
from netc.passes.differentiate import differentiate
from netc.passes.recompute import SUFFIX, Activations, is_copy, recompute
from netc.syntax import Network


def some_layers(case: Case) -> tuple[str, ...]:
    """All of a few layers, by the case's own seed."""
    drawn = random.Random(case.seed)
    share = drawn.choice([0.3, 0.6, 1.0])
    names = [layer.name for layer in case.network.layers]
    return tuple(name for name in names if drawn.random() < share) or (names[0],)


def check(case: Case) -> None:
    chosen, layers = case_options(case), some_layers(case)
    kept, _ = compiled(case.network, chosen)
    again, made = compiled(case.network, replace(chosen, recompute=layers))
    copies = sum(SUFFIX in node.name for node in made.plan.graph.nodes)
    event("nothing to compute again" if not copies else "some values are computed again")
    one = train(case.network, kept, case.seed, steps=2).results
    other = train(case.network, again, case.seed, steps=2).results
    assert one.keys() == other.keys()
    differing = [name for name, value in one.items() if not np.array_equal(value, other[name])]
    assert not differing, f"{layers}: {differing}"


@cases(40)
@given(free_cases())
def test_any_layers_of_any_plan(case: Case) -> None:
    check(case)


@cases(20)
@given(free_cases(GRIDS))
def test_on_two_axes_of_devices(case: Case) -> None:
    check(case)


@cases(40)
@given(round_cases())
def test_under_exchange_schemes(case: Case) -> None:
    check(case)


def kept_for_backward(graph: Graph) -> set[str]:
    """Values of the forward pass that the backward pass reads."""
    later = (node for node in graph.nodes if node.phase != "forward")
    return {name for node in later for name in node.inputs if graph[name].phase == "forward"}


@cases(100)
@given(free_cases())
def test_nothing_that_was_to_be_computed_again_is_kept(case: Case) -> None:
    graph = differentiate(build_graph(case.network, case.batch), case.optimizer)
    layers, values = some_layers(case), Activations(graph, frozenset())
    made = recompute(graph, layers)
    verify_graph(made)
    for name in kept_for_backward(made):
        root = graph[values.root(name)]
        assert root.layer not in layers or not values.has(root), name
        assert values.root(name) in values.wanted or not values.has(root), name


@cases(100)
@given(free_cases())
def test_each_value_is_computed_again_once_at_most_and_just_before_it_is_read(case: Case) -> None:
    graph = differentiate(build_graph(case.network, case.batch), case.optimizer)
    made = recompute(graph, some_layers(case))
    copies = [node for node in made.nodes if is_copy(node)]
    assert [node.name for node in made.nodes if not is_copy(node)] == [n.name for n in graph.nodes]
    assert len({node.name for node in copies}) == len(copies)
    position = {node.name: at for at, node in enumerate(made.nodes)}
    for copy in copies:
        original = graph[copy.name.removesuffix(SUFFIX)]
        assert (copy.op, copy.layer, copy.type) == (original.op, original.layer, original.type)
        between = made.nodes[position[copy.name] : min(position[u] for u in made.users[copy.name])]
        assert all(map(is_copy, between))


def batch_normalized() -> Network:
    net = Maker(2, 8, 8, name="normalized")
    x = net.unary("relu", net.bn(net.conv("image", 6, pad=1, bias=False)))
    x = net.pool(net.dropout(net.unary("gelu", net.conv(x, 6, pad=1))), 2)
    x = net.unary("relu", net.add(x, net.bn(net.conv(x, 6, pad=1, bias=False))))
    return net.loss(net.fc(net.dropout(x), 5))


def test_statistics_move_once_and_masks_are_drawn_alike() -> None:
    network = batch_normalized()
    chosen = options(network, 2, 6, strategy="data", recompute=("*",))
    bundle, made = compiled(network, chosen)
    kinds = [node.op.kernel for node in made.plan.graph.nodes if not isinstance(node.op, Fused)]
    assert kinds.count("bn_running") == 4 and kinds.count("bn_sums") == 2
    fused = [
        link.op for n in made.plan.graph.nodes if isinstance(n.op, Fused) for link in n.op.links
    ]
    drawn = [*fused, *(node.op for node in made.plan.graph.nodes)]
    assert len({op.key for op in drawn if isinstance(op, Dropout)}) == 2
    again = train(network, bundle, seed=4).results
    kept = train(network, compiled(network, replace(chosen, recompute=()))[0], seed=4).results
    assert same(again, kept)


def test_rounds_keep_what_they_make() -> None:
    network = tiny()
    chosen = options(network, 2, 8, strategy="hybrid", scheme="b", recompute=("*",))
    _, made = compiled(network, chosen)
    assert made.scheme == "b" and made.recomputed
    behind = {layer for layer, split in made.splits.items() if split != ("n",)}
    assert not behind.intersection(made.recomputed)
