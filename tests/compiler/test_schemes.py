"""The exchange schemes of Krizhevsky 2014, and weights that are updated after every round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import compiled, data, difference, options, session, single, tiny, train
from hypothesis import given, reject
from networks import Maker
from numpy.typing import NDArray
from plain_updates import states_of, updated
from random_networks import GRIDS, OPTIMIZERS, Case, cases, round_cases

from netc.errors import PlanError, render
from netc.ir.optimizers import Chosen
from netc.passes.choose_splits import Pin
from netc.passes.split_rounds import rounds_of
from netc.syntax.network import Network

Array = NDArray[Any]
RATE = 0.05


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize(("devices", "batch"), [(3, 9), (5, 25)])
def test_all_equal_one_device(devices: int, batch: int, optimizer: Chosen) -> None:
    network = tiny()
    one = single(network, batch, seed=5, optimizer=optimizer)
    for scheme in ("a", "b", "c"):
        chosen = options(
            network, devices, batch, strategy="hybrid", scheme=scheme, optimizer=optimizer
        )
        bundle, made = compiled(network, chosen)
        assert made.scheme == scheme
        assert difference(train(network, bundle, seed=5), one) < 1e-10


@pytest.mark.parametrize(("devices", "batch"), [(3, 7), (4, 6), (8, 3), (5, 6)])
def test_scheme_b_with_unequal_shares(devices: int, batch: int) -> None:
    network = tiny()
    bundle, _ = compiled(network, options(network, devices, batch, strategy="hybrid", scheme="b"))
    assert difference(train(network, bundle, seed=5), single(network, batch, seed=5)) < 1e-10


def test_rounds() -> None:
    assert [r.rows for r in rounds_of("b", 7, 3)] == [((0, 3),), ((3, 3),), ((6, 1),)]
    assert [r.worker for r in rounds_of("b", 5, 4)] == [0, 1, 2]
    assert [r.rows for r in rounds_of("c", 8, 2)] == [((0, 2), (4, 2)), ((2, 2), (6, 2))]


# Weights updated every round.


def dense() -> Network:
    """conv-like fc1 by the batch, fc2 by columns."""
    net = Maker(1, 3, 3)
    x = net.unary("tanh", net.fc("image", 6, bias_value=0.1))
    return net.loss(net.fc(x, 5, bias_value=0.1))


BY_BATCH = (Pin("flatten1", "n"), Pin("fc1", "n"), Pin("tanh1", "n"), Pin("image", "n"))


class PlainRounds:
    """Two matrices; those of the second layer move after every round.

    A round of n of N examples moves by n / N of the rate with the mean gradient of its examples,
    which for SGD is the rate with their part of the whole batch's mean gradient.
    """

    def __init__(self, state: dict[str, Array], optimizer: Any) -> None:
        self.state, self.optimizer = dict(state), optimizer
        self.moves: Counter[str] = Counter()

    def step(self, images: Array, labels: Array, rounds: Sequence[Array]) -> float:
        batch, s = len(images), self.state
        x, loss = images.reshape(batch, -1), 0.0
        sums = {"weight": np.zeros(1), "bias": np.zeros(1)}
        h = np.tanh(x @ s["fc1.weight"].T + s["fc1.bias"])
        for rows in rounds:
            logits = h[rows] @ s["fc2.weight"].T + s["fc2.bias"]
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            loss -= np.log(p[np.arange(len(rows)), labels[rows]]).sum() / batch
            p[np.arange(len(rows)), labels[rows]] -= 1
            dh = (p / batch) @ s["fc2.weight"] * (1 - h[rows] ** 2)
            sums = {"weight": sums["weight"] + dh.T @ x[rows], "bias": sums["bias"] + dh.sum(0)}
            self.move("fc2.weight", (p / batch).T @ h[rows], len(rows) / batch)
            self.move("fc2.bias", (p / batch).sum(0), len(rows) / batch)
        for role, gradient in sums.items():
            self.move(f"fc1.{role}", gradient, 1.0)
        return loss

    def move(self, name: str, part: Array, share: float) -> None:
        """By the share that `part` is of the batch's mean gradient."""
        names = states_of(self.optimizer, name)
        self.moves[name] += 1
        state = {role: self.state[each] for role, each in names.items()}
        count, rate = self.moves[name], share * RATE
        for role, value in updated(self.optimizer, count, rate, state, part / share).items():
            self.state[names[role]] = value


def rows_of(scheme: str, batch: int, devices: int) -> list[Array]:
    return [
        np.concatenate([np.arange(start, start + count) for start, count in round_.rows])
        for round_ in rounds_of(scheme, batch, devices)
    ]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize(
    ("scheme", "devices", "batch"),
    [("b", 2, 8), ("b", 3, 7), ("b", 4, 3), ("c", 2, 8), ("c", 3, 9)],
)
def test_updates_after_every_round(
    scheme: str, devices: int, batch: int, optimizer: Chosen
) -> None:
    network = dense()
    chosen = options(
        network, devices, batch, strategy="hybrid", scheme=scheme, fc_update="round",
        pins=BY_BATCH, optimizer=optimizer,
    )  # fmt: skip
    made = session(compiled(network, chosen)[0])
    plain = PlainRounds(made.state(), optimizer)
    for step in range(4):
        images, labels = data(network, batch, step)
        out = made.step(images, labels, step=step, seed=0, learning_rate=RATE)
        loss = plain.step(images, labels, rows_of(scheme, batch, devices))
        np.testing.assert_allclose(out["loss"], loss, rtol=1e-12)
        for name, value in made.state().items():
            np.testing.assert_allclose(value, plain.state[name], rtol=1e-10, atol=1e-13)


def test_schemes_differ_where_weights_move_every_round() -> None:
    runs = []
    for scheme in ("b", "c"):
        chosen = options(
            dense(), 2, 8, strategy="hybrid", scheme=scheme, fc_update="round", pins=BY_BATCH
        )
        runs.append(train(dense(), compiled(dense(), chosen)[0], seed=1))
    assert difference(runs[0], runs[1]) > 1e-6
    assert all(difference(run, single(dense(), 8, seed=1)) > 1e-6 for run in runs)


@cases(30)
@given(round_cases())
def test_how_layers_are_split_does_not_matter_there(case: Case) -> None:
    """The same rounds, whether the layers behind the boundary are split or computed everywhere."""
    scheme = case.scheme if case.scheme == "c" else "b"
    pins = (case.pins, tuple(Pin(p.pattern, p.split if p.split == "n" else "r") for p in case.pins))
    runs = []
    for each in pins:
        chosen = options(
            case.network, case.mesh, case.batch, scheme=scheme, fc_update="round", pins=each,
            optimizer=replace(case.optimizer, clip=None, accumulate=1),
        )  # fmt: skip
        try:
            bundle, _ = compiled(case.network, chosen)
        except PlanError:
            reject()
        runs.append(train(case.network, bundle, case.seed))
    assert difference(*runs) < 1e-9


# What is in force.


def test_two_axes() -> None:
    with pytest.raises(PlanError) as refused:
        compiled(tiny(), options(tiny(), GRIDS[0], 4, strategy="hybrid", scheme="b"))
    assert render(refused.value.diagnostics) == (
        "error[E043]: scheme b is not possible: rounds are defined on one axis of devices.\n"
        "     = help: take '--scheme a'."
    )


@pytest.mark.parametrize("scheme", [None, "b", "c"])
def test_a_boundary_decides(scheme: str | None) -> None:
    """Without a wish it is a; a wish that has nothing to do is told."""
    _, made = compiled(tiny(), options(tiny(), 2, 4, strategy="hybrid", scheme=scheme))
    assert (made.scheme, made.notes) == (scheme or "a", ())
    _, made = compiled(tiny(), options(tiny(), 2, 4, strategy="model", scheme=scheme))
    assert made.scheme == ""
    told = "has nothing to do: no layer split by the batch feeds one split otherwise."
    assert made.notes == ((f"scheme {scheme} {told}",) if scheme else ())


def test_who_updates_after_every_round_has_rounds() -> None:
    chosen = replace(options(tiny(), 2, 4, strategy="hybrid"), fc_update="round")
    assert compiled(tiny(), chosen)[1].scheme == "b"


def test_what_rounds_cannot_do_scheme_a_can() -> None:
    net = Maker(2, 4, 4)
    network = net.loss(net.fc(net.bn(net.fc(net.conv("image", 4), 6)), 4))
    _, made = compiled(network, options(network, 2, 4, strategy="hybrid"))
    assert (made.scheme, made.notes) == ("a", ())
    with pytest.raises(PlanError, match="'bn1' uses a value of the whole batch"):
        compiled(network, options(network, 2, 4, strategy="hybrid", scheme="b"))
