"""Softmax and cross-entropy in pieces over shards of the classes, and the counts of evaluation."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from kernel_oracles import Array, assert_close, assert_same, call, numeric_gradient

LABELS = np.array([0, 4, 2, 4])


def logits(rows: int = 4, classes: int = 5) -> Array:
    return 3 * np.random.default_rng(0).standard_normal((rows, classes))


def pieces(x: Array, cuts: list[int]) -> tuple[Array, Array, Array, Array]:
    """Reduce the pieces of all shards of the classes: maximum, sum, picked and argmax."""
    shards = [(start, x[:, start:stop]) for start, stop in pairwise(cuts)]
    rows, classes = x.shape[:1], x.shape[1]
    m = np.max([call("row_max", rows, part) for _, part in shards], axis=0)
    s = np.sum([call("row_sum_exp", rows, part, m) for _, part in shards], axis=0)
    p = [call("row_pick", rows, part, LABELS, first_class=start) for start, part in shards]
    best = [
        call("row_argmax", rows, part, m, dtype=np.int64, first_class=start, classes=classes)
        for start, part in shards
    ]
    return m, s, np.sum(p, axis=0), np.min(best, axis=0)


def loss(x: Array) -> Array:
    return call("ce_loss", (), *pieces(x, [0, 5])[:3], batch=8)


@pytest.mark.parametrize("cuts", [[0, 5], [0, 3, 5], [0, 2, 2, 4, 5, 5], [0, 1, 2, 3, 4, 5, 5, 5]])
def test_shards_give_the_whole(cuts: list[int]) -> None:
    x = logits()
    for shard, whole in zip(pieces(x, cuts), pieces(x, [0, 5]), strict=True):
        assert_close(shard, whole)
    m, s, *_ = pieces(x, [0, 5])
    parts = [
        call("softmax_dx", (4, b - a), x[:, a:b], LABELS, m, s, batch=8, first_class=a)
        for a, b in pairwise(cuts)
    ]
    whole = call("softmax_dx", (4, 5), x, LABELS, m, s, batch=8, first_class=0)
    assert_close(np.concatenate(parts, 1), whole)


def test_loss_and_gradient() -> None:
    x = logits()
    rows = [
        -math.log(math.exp(row[label]) / sum(map(math.exp, row)))
        for row, label in zip(x, LABELS, strict=True)
    ]
    assert_close(loss(x), np.array(sum(rows) / 8))
    m, s, *_ = pieces(x, [0, 5])
    dx = call("softmax_dx", x.shape, x, LABELS, m, s, batch=8, first_class=0)
    assert_close(dx, numeric_gradient(loss, x, np.ones(())))


def test_large_logits_do_not_overflow() -> None:
    x = logits() + 5000
    with np.errstate(all="raise"):
        assert_close(loss(x), loss(x - 5000))


def test_first_of_equal_classes_wins() -> None:
    x = np.array([[1.0, 3, 3, 0, 3], [2, 2, 2, 2, 2], [0, 0, 0, 0, 1], [0, -1, 0, 0, 0]])
    for cuts in ([0, 5], [0, 2, 5], [0, 0, 1, 2, 3, 4, 5]):
        assert_same(pieces(x, cuts)[3], [1, 0, 4, 0])


def test_argmax_without_a_hit() -> None:
    m, attributes = np.array([9.0, 1.0]), {"first_class": 2, "classes": 7}
    x = np.array([[1.0, 2.0], [0.0, 1.0]])
    assert_same(call("row_argmax", (2,), x, m, dtype=np.int64, **attributes), [7, 3])
    empty = np.zeros((2, 0))
    assert_same(call("row_argmax", (2,), empty, m, dtype=np.int64, **attributes), [7, 7])
    assert_same(call("row_max", (2,), empty), [-np.inf, -np.inf])


# global rows 5 ... 8, or two segments of them
ROWS = [((5,), (), [5, 6, 7, 8]), ((0,), ((2, 1), (6, 3)), [2, 6, 7, 8])]


@pytest.mark.parametrize(("offset", "rows", "numbers"), ROWS)
@pytest.mark.parametrize("count", [0, 5, 7, 8, 100])
def test_rows_from_count_on_have_no_effect(
    offset: tuple[int, ...], rows: tuple[tuple[int, int], ...], numbers: list[int], count: int
) -> None:
    m, s, p, best = pieces(logits(), [0, 5])
    valid, limit = np.array(numbers) < count, np.array(count)
    for values in (m, s, p):
        values[~valid] = np.nan
    attributes = {"offset": offset, "rows": rows}
    total = call("ce_loss_masked", (), m, s, p, limit, **attributes)
    assert_close(total, np.sum((m + np.log(s) - p)[valid]))
    hits = call("correct", (), best, LABELS, limit, **attributes)
    assert hits == sum(v and b == label for v, b, label in zip(valid, best, LABELS, strict=True))
    assert call("correct", (), LABELS, LABELS, limit, **attributes) == valid.sum()
