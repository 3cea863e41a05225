"""What a recipe has done with the gradients of all weights, beside what random networks hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import CLUSTER, compiled, data, options, session, tiny
from networks import Maker
from random_networks import OPTIMIZERS, SGD

from netc.errors import PlanError
from netc.ir.load import read_bundle
from netc.ir.ops import InitConstant
from netc.ir.optimizers import SQUARES, Chosen, WeightRule
from netc.ir.plain import TextError
from netc.ir.program import Bundle, Collective
from netc.ir.text import bundle_text
from netc.ir.types import line_mesh
from netc.ir.verify import VerifyError
from netc.passes import shard_updates
from netc.passes.options import Options, task
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


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [(CLIPS, "'clip' limits"), (replace(SGD, accumulate=2), "not added up over batches")],
)
def test_rounds_have_no_gradients_of_the_step(optimizer: Chosen, said: str) -> None:
    chosen = options(
        tiny(), 2, 8, strategy="hybrid", scheme="b", fc_update="round", optimizer=optimizer
    )
    with pytest.raises(PlanError, match=said) as refused:
        compiled(tiny(), chosen)
    (problem,) = refused.value.diagnostics
    assert problem.code == "E043" and "--fc-update step" in problem.help


def test_measured_plans_tell_recipes_apart() -> None:
    frozen = replace(SGD, rules=(WeightRule("fc1.bias", frozen=True),))
    averages = replace(SGD, ema=0.5)
    adds = replace(SGD, accumulate=2)
    recipes = (SGD, CLIPS, replace(SGD, clip=0.25), frozen, averages, replace(SGD, ema=0.75), adds)
    chosen = (Options(line_mesh(2), 8, CLUSTER, optimizer=each) for each in recipes)
    assert len({task(tiny(), each) for each in chosen}) == len(recipes)


def test_facts_say_it() -> None:
    network = tiny()
    told = replace(SGD, clip=0.5, ema=0.75, accumulate=3)
    facts = compiled(network, options(network, 1, 8, optimizer=told))[0].facts
    assert (facts.clip, facts.ema, facts.accumulate) == (0.5, 0.75, 3)


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


def plain(classes: int = 4) -> Network:
    """Without what depends on how images are divided among batches."""
    net = Maker(2, 6, 6)
    x = net.pool(net.relu(net.conv("image", 4, pad=1)), 2)
    return net.loss(net.fc(x, classes), 0.1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_several_batches_are_one_large_one(optimizer: Chosen) -> None:
    network, batches = plain(), 3
    whole, parts = (
        session(compiled(network, options(network, devices, rows, optimizer=each))[0])
        for devices, rows, each in (
            (1, 12, replace(optimizer, clip=0.1)),
            (2, 4, replace(optimizer, clip=0.1, accumulate=batches)),
        )
    )
    for update in range(3):
        images, labels = data(network, 12, update)
        told: dict[str, Any] = {"seed": 1, "learning_rate": 0.1}
        large = whole.step(images, labels, step=update, **told)
        small = [
            parts.step(images[at : at + 4], labels[at : at + 4], step=3 * update + at // 4, **told)
            for at in range(0, 12, 4)
        ]
        np.testing.assert_allclose(sum(each["loss"] for each in small) / 3, large["loss"], 1e-12)
        np.testing.assert_allclose(small[-1][SQUARES], large[SQUARES], 1e-10)
        after = parts.state()
        for name, value in whole.state().items():
            np.testing.assert_allclose(after[name], value, 1e-9, 1e-12, err_msg=name)


def test_sums_are_in_shards_with_updates() -> None:
    told = {"strategy": "data", "fetch": (), "optimizer": replace(SGD, accumulate=2)}
    whole, parts = (
        compiled(tiny(), options(tiny(), 4, 8, updates=each, **told))[0]
        for each in ("replicated", "sharded")
    )
    for bundle in (whole, parts):
        assert bundle.part is not None
        assert max(bundle.part.arena_bytes) <= max(bundle.train.arena_bytes)
        kept = {port.name for port in bundle.part.state}
        assert "fc1.weight.sum" in kept and "fc1.weight.velocity" not in kept
        sizes = {b.nbytes for b in bundle.train.buffers if b.storage == "fc1.weight.sum"}
        assert len(sizes) == 1
    share = next(b.nbytes for b in parts.train.buffers if b.storage == "fc1.weight.sum")
    assert 4 * share == next(b.nbytes for b in whole.train.buffers if b.storage == "fc1.weight.sum")


def test_a_program_of_parts_is_read_back(tmp_path: Path) -> None:
    chosen = options(tiny(), 2, 8, strategy="hybrid", optimizer=replace(SGD, accumulate=2))
    bundle, _ = compiled(tiny(), chosen)
    text = bundle_text(bundle)
    assert read_bundle(text.encode()) == bundle
    for wrong in (
        text.replace("fact accumulate 2", "fact accumulate 1"),
        text.replace("fact accumulate 2", "fact accumulate 3"),
        text[: text.index("program tiny.part")] + text[text.index("program tiny.eval") :],
    ):
        with pytest.raises(TextError):
            read_bundle(wrong.encode())


def test_copies_of_state_are_not_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what empties sums had the layer's split, in place of the sums', it would empty a copy
    of theirs: the verifier sees it.
    """
    kept = tuple(op for op in shard_updates._KEPT if op is not InitConstant)
    monkeypatch.setattr(shard_updates, "_KEPT", kept)
    told = {"strategy": "data", "updates": "sharded", "optimizer": replace(SGD, accumulate=2)}
    with pytest.raises(VerifyError, match="P6"):
        compiled(tiny(), options(tiny(), 2, 8, fetch=(), **told))
