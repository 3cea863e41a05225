"""What a recipe has done with the gradients of all weights, beside what random networks hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from harness import CLUSTER, compiled, data, options, session, tiny
from networks import Maker
from random_networks import SGD

from netc.errors import PlanError
from netc.ir.optimizers import SQUARES, WeightRule
from netc.ir.program import Bundle, Collective
from netc.ir.types import line_mesh
from netc.passes.options import Options, task
from netc.passes.pipeline import compile_network
from netc.syntax.network import Network

CLIPS = replace(SGD, clip=0.5)


def of_squares(bundle: Bundle) -> list[Collective]:
    found = (i for i in bundle.train.instructions if isinstance(i, Collective))
    return [each for each in found if SQUARES in each.node]


@pytest.mark.parametrize("updates", ["replicated", "sharded"])
@pytest.mark.parametrize("strategy", ["data", "hybrid"])
def test_squares_of_all_weights_are_one_exchange(strategy: str, updates: str) -> None:
    """Each device adds up its own first; where all have all weights nothing is exchanged."""
    told = {"strategy": strategy, "updates": updates, "optimizer": CLIPS, "fetch": ()}
    bundle, _ = compiled(tiny(), options(tiny(), 4, 8, **told))
    found = of_squares(bundle)
    assert len(found) == int((strategy, updates) != ("data", "replicated"))
    assert all(each.kind == "all_reduce" and len(each.parts) == 1 for each in found)


def one_weight() -> Network:
    net = Maker(4, 2, 2)
    return net.loss(net.fc("image", 4, bias=False))


@pytest.mark.parametrize("split", ["n", "k", "c", "@1"])
def test_one_weight_alone_is_clipped(split: str) -> None:
    """The sum of one number."""
    network = one_weight()
    bundle, _ = compiled(network, options(network, 2, 4, strategy="data", optimizer=CLIPS))
    assert {port.name for port in bundle.train.outputs} >= {SQUARES, "loss"}


def test_rounds_have_no_norm_of_the_step() -> None:
    chosen = options(
        tiny(), 2, 8, strategy="hybrid", scheme="b", fc_update="round", optimizer=CLIPS
    )
    with pytest.raises(PlanError, match="'clip' limits") as refused:
        compiled(tiny(), chosen)
    (problem,) = refused.value.diagnostics
    assert problem.code == "E043" and "--fc-update step" in problem.help


def test_measured_plans_tell_recipes_apart() -> None:
    frozen = replace(SGD, rules=(WeightRule("fc1.bias", frozen=True),))
    averages = replace(SGD, ema=0.5)
    recipes = (SGD, CLIPS, replace(SGD, clip=0.25), frozen, averages, replace(SGD, ema=0.75))
    chosen = (Options(line_mesh(2), 8, CLUSTER, optimizer=each) for each in recipes)
    assert len({task(tiny(), each) for each in chosen}) == len(recipes)


def test_facts_say_it() -> None:
    network = tiny()
    recipe = replace(network.recipe, clip=0.5, ema=0.75)
    bundle, _ = compile_network(replace(network, recipe=recipe), options(network, 1, 8))
    assert (bundle.facts.clip, bundle.facts.ema) == (0.5, 0.75)


@pytest.mark.parametrize("updates", ["replicated", "sharded"])
def test_evaluation_reads_averages_where_they_are(updates: str) -> None:
    """No weight is in the program that evaluates, nor moved for it but as weights would be."""
    told = {"strategy": "data", "updates": updates, "fetch": ()}
    rules = replace(SGD, rules=(WeightRule("fc1.bias", frozen=True),))
    bundle, plain = (
        compiled(tiny(), options(tiny(), 4, 8, **told, optimizer=each))[0]
        for each in (replace(rules, ema=0.75), rules)
    )
    kept = {port.name for port in bundle.eval.state}
    assert "fc1.bias" in kept and "fc1.weight.average" in kept and "fc1.weight" not in kept
    parts = [[[p.node for p in i.parts] for i in each.eval.instructions
              if isinstance(i, Collective)] for each in (bundle, plain)]  # fmt: skip
    assert len(parts[0]) == len(parts[1])
    assert [len(each) for each in parts[0]] == [len(each) for each in parts[1]]
    ports = {port.name: port for port in bundle.train.state}
    for device in range(4):
        weight, average = (
            bundle.train.block(ports[name], device) for name in ("fc1.weight", "fc1.weight.average")
        )
        assert weight is not None and average is not None
        assert (weight.shape, weight.where) == (average.shape, average.where)


def test_an_average_begins_as_the_weight() -> None:
    """Evaluated before the first step, a network is what it is without averages."""
    plain, averaging = (
        session(compiled(tiny(), options(tiny(), 2, 8, optimizer=each))[0])
        for each in (SGD, replace(SGD, ema=0.75))
    )
    for made in (plain, averaging):
        made.initialize(seed=3)
    images, labels = data(tiny(), 8, 1)
    first = averaging.evaluate(images, labels, 8)
    assert first == plain.evaluate(images, labels, 8)
    for made in (plain, averaging):
        made.step(images, labels, step=0, seed=1, learning_rate=0.05)
    assert averaging.evaluate(images, labels, 8) == plain.evaluate(images, labels, 8) != first
    for made in (plain, averaging):
        made.step(images, labels, step=1, seed=1, learning_rate=0.05)
    assert averaging.evaluate(images, labels, 8) != plain.evaluate(images, labels, 8)
    averaging.restore({name: v for name, v in averaging.state().items() if "average" not in name})
    assert averaging.evaluate(images, labels, 8) == plain.evaluate(images, labels, 8)
