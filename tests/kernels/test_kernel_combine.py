"""Sums, joins, parts, copies and the update."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from kernel_oracles import Array, assert_close, assert_same, call


def normal(seed: int, *shape: int) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_add(count: int) -> None:
    xs = [normal(i, 2, 3, 4) for i in range(count)]
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    assert_same(call("add", (2, 3, 4), *xs), total)


def test_joins_and_parts_are_inverse() -> None:
    x = normal(0, 4, 5, 2, 3)
    cuts = [0, 2, 2, 5]
    spans = list(pairwise(cuts))
    parts = [call("slice", x[:, a:b].shape, x, dim=1, start=a) for a, b in spans]
    assert_same(call("concat", x.shape, *parts), x)
    rows = [call("slice", x[a : min(b, 4)].shape, x, dim=0, start=a) for a, b in spans]
    assert_same(call("concat_rows", x.shape, *rows), x)
    assert_same(call("slice", (4, 5, 2, 1), x, dim=3, start=2), x[..., 2:])
    assert_same(call("copy", x.shape, x), x)
    labels = np.arange(6)
    assert_same(call("slice", (2,), labels, dtype=np.int64, dim=0, start=3), [3, 4])
    assert_same(call("concat_rows", (6,), labels[:4], labels[4:], dtype=np.int64), labels)


def test_accumulate() -> None:
    acc, x = normal(0, 3, 2), normal(1, 3, 2)
    assert_same(call("accumulate", (3, 2), acc, x), acc + x)


def test_sgd() -> None:
    # two steps by hand: v = 0.5 v - 0.1 (g + 0.25 * 0.2 w), w = w + v
    v, w, lr = np.array([1.0]), np.array([4.0]), np.array(0.1)
    attributes = {"momentum": 0.5, "decay": 0.2, "scale": 0.25}
    for g, velocity, weight in ((2.0, 0.5 - 0.1 * 2.2, 4.28), (0.0, 0.14 - 0.1 * 0.214, 4.3986)):
        v = call("sgd_velocity", (1,), v, w, np.array([g]), lr, **attributes)
        w = call("sgd_apply", (1,), w, v)
        assert_close(v, np.array([velocity]), 1e-14)
        assert_close(w, np.array([weight]), 1e-14)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("rounds", [1, 3])
def test_adam(rounds: int, decoupled: bool) -> None:
    """Algorithm 1 of Kingma and Ba 2015, and algorithm 2 of Loshchilov and Hutter 2019; after each
    of three rounds of a step the rate is a third, and the gradient the mean over a third.
    """
    w, m, v = normal(0, 3, 2), np.zeros((3, 2)), np.zeros((3, 2))
    mine = w, m, v
    rate, beta1, beta2, eps, decay, share = 0.1, 0.8, 0.9, 1e-8, 0.05, 1 / rounds
    slope = {"decay": 0.0 if decoupled else decay, "scale": share}
    moving: dict[str, Any] = {"beta1": beta1, "beta2": beta2, "eps": eps, "scale": share}
    moving |= {"decoupled": decay if decoupled else 0.0, "turns": rounds}
    for t in range(1, 7):
        mean = normal(t, 3, 2)
        # by the kernels
        old, one, two = mine
        one = call("adam_moment1", (3, 2), one, old, mean * share, beta1=beta1, **slope)
        two = call("adam_moment2", (3, 2), two, old, mean * share, beta2=beta2, **slope)
        step, turn = divmod(t - 1, rounds)
        at = np.array(rate), np.array(step)
        mine = call("adam_apply", (3, 2), old, one, two, *at, turn=turn, **moving), one, two
        # by the papers
        g = mean if decoupled else mean + decay * w
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        w = w - share * rate * decay * w if decoupled else w
        w = w - share * rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        for actual, expected in zip(mine, (w, m, v), strict=True):
            assert_close(actual, expected, 1e-13)
