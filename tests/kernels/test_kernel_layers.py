"""Fully connected layers, bias, activations and normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_oracles import Array, assert_close, assert_same, call, numeric_gradient

from netc.ir.ops import ACTIVATIONS
from netc_kernels.reference import KERNELS

SHAPES = [(3, 4), (2, 5, 3, 4), (1, 1, 1, 1), (1, 7, 2, 1)]


def normal(seed: int, *shape: int) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize(("n", "c", "k"), [(3, 5, 4), (1, 1, 1), (1, 6, 2), (4, 1, 3)])
def test_fc(n: int, c: int, k: int) -> None:
    x, w, dy = normal(0, n, c), normal(1, k, c), normal(2, n, k)
    loops = [[sum(x[i, m] * w[j, m] for m in range(c)) for j in range(k)] for i in range(n)]
    assert_close(call("fc", (n, k), x, w), np.array(loops))
    dx = numeric_gradient(lambda x: call("fc", (n, k), x, w), x, dy)
    assert_close(call("fc_dx", x.shape, dy, w), dx)
    dw = numeric_gradient(lambda w: call("fc", (n, k), x, w), w, dy)
    assert_close(call("fc_dw", w.shape, x, dy), dw)


@pytest.mark.parametrize(("n", "c", "k"), [(33, 77, 5), (96, 64, 10), (200, 300, 250)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_order_of_the_output_does_not_matter(n: int, c: int, k: int, dtype: Any) -> None:
    x, w = normal(0, n, c).astype(dtype), normal(1, k, c).astype(dtype)
    out = np.zeros((n, k), dtype, order="F")
    KERNELS["fc"](out, x, w)
    assert_same(out, call("fc", (n, k), x, w, dtype=dtype))


@pytest.mark.parametrize("cut", [0, 2, 7])
def test_fc_shards(cut: int) -> None:
    x, w, dy = normal(0, 3, 7), normal(1, 7, 7), normal(2, 3, 7)
    by_k = [call("fc", (3, len(part)), x, part) for part in (w[:cut], w[cut:])]
    assert_close(np.concatenate(by_k, 1), call("fc", (3, 7), x, w))
    by_c = [call("fc", (3, 7), x[:, i], w[:, i]) for i in (slice(cut), slice(cut, None))]
    assert_close(by_c[0] + by_c[1], call("fc", (3, 7), x, w))
    dx = [call("fc_dx", (3, 7), dy[:, i], w[i]) for i in (slice(cut), slice(cut, None))]
    assert_close(dx[0] + dx[1], call("fc_dx", (3, 7), dy, w))


@pytest.mark.parametrize("shape", SHAPES)
def test_bias(shape: tuple[int, ...]) -> None:
    x, b, dy = normal(0, *shape), normal(1, shape[1]), normal(2, *shape)
    y = call("bias", shape, x, b)
    for index in np.ndindex(shape):
        assert y[index] == x[index] + b[index[1]]
    db = numeric_gradient(lambda b: call("bias", shape, x, b), b, dy)
    assert_close(call("bias_db", b.shape, dy), db)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("op", ACTIVATIONS)
def test_activation_backward_equals_differences(op: str, shape: tuple[int, ...]) -> None:
    x, dy = normal(0, *shape), normal(1, *shape)
    x += 0.01 * np.sign(x)  # not at the kink of relu
    told = {"result": call(op, shape, x), "operand": x}[ACTIVATIONS[op].slope]
    dx = numeric_gradient(lambda x: call(op, shape, x), x, dy)
    assert_close(call(f"{op}_dx", shape, told, dy), dx)


def test_activation_values() -> None:
    x = np.array([-np.inf, -1000.0, -2.0, 0.0, 2.0, 1000.0, np.inf])
    two = 1 / (1 + np.exp(-2.0))
    with np.errstate(all="raise", under="ignore"):
        assert_same(call("relu", (7,), x), [0, 0, 0, 0, 2, 1000, np.inf])
        assert_close(call("sigmoid", (7,), x), [0, 0, 1 - two, 0.5, two, 1, 1], 1e-15)
        tanh_two = (np.exp(4) - 1) / (np.exp(4) + 1)
        assert_close(call("tanh", (7,), x), [-1, -1, -tanh_two, 0, tanh_two, 1, 1], 1e-15)
        big = np.array([-1000.0, 0.0, 1000.0])
        assert_same(call("gelu", (3,), big), np.maximum(big, 0))
    assert_same(call("relu_dx", (2,), np.zeros(2), np.ones(2)), [0, 0])


LRN = [
    (5, 1e-1, 0.75, 2.0),
    (3, 0.5, 1.0, 1.0),
    (4, 0.3, 0.5, 1.5),
    (1, 1.0, 0.75, 1.0),
    (9, 0.2, 0.75, 1.0),
]


@pytest.mark.parametrize(("size", "alpha", "beta", "k"), LRN)
@pytest.mark.parametrize("shape", [(2, 7, 2, 1), (1, 3, 1, 1), (1, 1, 2, 2)])
def test_lrn(shape: tuple[int, ...], size: int, alpha: float, beta: float, k: float) -> None:
    attributes = {"size": size, "alpha": alpha, "beta": beta, "k": k}
    x, dy = normal(0, *shape), normal(1, *shape)
    y = np.zeros(shape)
    for n, c, h, w in np.ndindex(shape):
        window = range(max(0, c - size // 2), min(shape[1], c - size // 2 + size))
        total = sum(x[n, i, h, w] ** 2 for i in window)
        y[n, c, h, w] = x[n, c, h, w] / (k + alpha * total) ** beta
    assert_close(call("lrn", shape, x, **attributes), y)
    dx = numeric_gradient(lambda x: call("lrn", shape, x, **attributes), x, dy)
    assert_close(call("lrn_dx", shape, x, dy, **attributes), dx)


def test_lrn_of_some_channels_is_that_of_all() -> None:
    x, dy = normal(0, 2, 9, 3, 2), normal(1, 2, 9, 3, 2)
    at: dict[str, Any] = {"size": 4, "alpha": 0.3, "beta": 0.75, "k": 2.0}
    y, dx = call("lrn", x.shape, x, **at), call("lrn_dx", x.shape, x, dy, **at)
    own, near, far, part = slice(4, 6), slice(3, 8), slice(1, 9), (2, 2, 3, 2)
    assert_close(call("lrn", part, x[:, far], inside=(3,), **at), y[:, own])
    assert_close(call("lrn_dx", part, x[:, far], dy[:, near], inside=(3, 1), **at), dx[:, own])


def batch_norm(x: Array, gamma: Array, beta: Array) -> tuple[Array, Array, Array]:
    """Return y, mean and variance."""
    count = x.size // x.shape[1]
    mean = call("bn_mean", gamma.shape, x, count=count)
    var = call("bn_var", gamma.shape, x, mean, count=count)
    return call("bn_norm", x.shape, x, mean, var, gamma, beta, eps=1e-3), mean, var


@pytest.mark.parametrize("shape", [(4, 3, 2, 3), (5, 2), (2, 1, 1, 1), (1, 3, 3, 2)])
def test_batch_norm(shape: tuple[int, ...]) -> None:
    x, dy, count = 3 + 2 * normal(0, *shape), normal(1, *shape), np.prod(shape) // shape[1]
    gamma, beta = normal(2, shape[1]), normal(3, shape[1])
    y, mean, var = batch_norm(x, gamma, beta)
    for c in range(shape[1]):
        deviation = np.sqrt(np.mean((x[:, c] - x[:, c].mean()) ** 2) + 1e-3)
        assert_close(y[:, c], gamma[c] * (x[:, c] - x[:, c].mean()) / deviation + beta[c])
    dbeta = call("bias_db", beta.shape, dy)
    dgamma = call("bn_dgamma", gamma.shape, x, mean, var, dy, eps=1e-3)
    assert_close(dgamma, numeric_gradient(lambda g: batch_norm(x, g, beta)[0], gamma, dy))
    inputs = (x, mean, var, gamma, dgamma, dbeta, dy)
    dx = call("bn_dx", shape, *inputs, eps=1e-3, count=count)
    assert_close(dx, numeric_gradient(lambda x: batch_norm(x, gamma, beta)[0], x, dy))


def test_batch_norm_shards_add_up() -> None:
    x, dy = normal(0, 5, 3, 2, 2), normal(1, 5, 3, 2, 2)
    _, mean, var = batch_norm(x, np.ones(3), np.zeros(3))
    parts = [slice(2), slice(2, 2), slice(2, 5)]
    assert_close(np.sum([call("bn_mean", (3,), x[i], count=20) for i in parts], 0), mean)
    assert_close(np.sum([call("bn_var", (3,), x[i], mean, count=20) for i in parts], 0), var)
    dgamma = [call("bn_dgamma", (3,), x[i], mean, var, dy[i], eps=1e-3) for i in parts]
    assert_close(np.sum(dgamma, 0), call("bn_dgamma", (3,), x, mean, var, dy, eps=1e-3))


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e4])
def test_sums_of_shards_have_mean_and_variance(offset: float) -> None:
    """Also far from zero, in the digits that float64 leaves of a square."""
    x = normal(0, 5, 3, 2, 2) + offset
    _, mean, var = batch_norm(x, np.ones(3), np.zeros(3))
    parts = [slice(2), slice(2, 2), slice(2, 5)]
    sums = np.sum([call("bn_sums", (3, 2), x[i], count=20) for i in parts], 0)
    assert_close(call("sums_mean", (3,), sums), mean, 1e-14)
    assert_close(call("sums_var", (3,), sums), var, 1e-14 + 1e-15 * offset**2)
    narrow = [call("bn_sums", (3, 2), x[i].astype(np.float32), count=20) for i in parts]
    wide = [call("bn_sums", (3, 2), x[i].astype(np.float32).astype(float), count=20) for i in parts]
    assert_close(narrow, wide, 1e-14)
    nothing = np.array([[offset, offset**2 * (1 - 1e-15)], [np.nan, 1]])
    found = call("sums_var", (2,), nothing)
    assert found[0] == 0
    assert np.isnan(found[1])


def test_running_statistics() -> None:
    running, value = np.array([1.0, 2.0]), np.array([3.0, 6.0])
    out = call("bn_running", (2,), running, value, momentum=0.25, correction=4 / 3)
    assert_close(out, [0.75 + 1.0, 1.5 + 2.0])
