"""Pooling, normalization, products, updates and dropout against the reference."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from kernel_oracles import Windows
from numpy.typing import NDArray
from update_calls import SLOW, WORDS, UpdateCall

pytest.importorskip("numba")

from netc_kernels.cpu import channels, elementwise, grouped, linear, norm, pool, random, update
from netc_kernels.cpu.threads import Pool
from netc_kernels.reference import KERNELS

Array = NDArray[Any]
TOLERANCE = 2e-6
"""Of the largest element of a tensor."""
THREADS = pytest.mark.parametrize("threads", [1, 3])

POOLS = [
    ((2, 6, 6, 33), Windows((2, 2), (2, 2))),
    ((1, 37, 5, 17), Windows((3, 3), (2, 2))),
    ((2, 7, 6, 16), Windows((3, 3), (2, 2), ceil=True)),
    ((1, 6, 8, 5), Windows((3, 2), (2, 3), (1, 1, 1, 1), ceil=True)),
    ((2, 7, 7, 5), Windows((2, 2), (3, 3), ceil=True)),
    ((3, 17, 17, 3), Windows((3, 3), (1, 1), (1, 1, 1, 1))),
    ((1, 1, 1, 1), Windows((3, 3), (2, 2), (1, 1, 1, 1))),
    ((2, 7, 7, 20), Windows((7, 7))),
]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def reference(
    op: str, result_shape: tuple[int, ...], /, *inputs: Array, **attributes: Any
) -> Array:
    """Run the reference on images (N, H, W, C)."""
    result = np.empty(result_shape, np.float32)
    views = [np.moveaxis(x, -1, 1) if np.ndim(x) == 4 else x for x in (result, *inputs)]
    KERNELS[op](*views, **attributes)
    return result


def assert_near(actual: Array, wanted: Array) -> None:
    scale = np.abs(wanted).max(initial=1e-3)
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=TOLERANCE * scale)


def garbage(*shape: int) -> Array:
    return np.full(shape, np.nan, np.float32)


@THREADS
@pytest.mark.parametrize(("shape", "windows"), POOLS)
def test_pooling(shape: tuple[int, ...], windows: Windows, threads: int) -> None:
    x = np.random.default_rng(0).integers(-2, 3, shape).astype(np.float32)  # many equal
    result = (shape[0], *windows.outputs(*shape[1:3]), shape[3])
    y, dx, dy, at = garbage(*result), garbage(*shape), normal(*result), windows.attributes
    over = pool.windows(x, y, windows.size, windows.stride, windows.pad)
    with Pool(threads) as threads_:
        pool.maxpool(y, x, over, threads_)
        np.testing.assert_array_equal(y, reference("maxpool", result, x, **at))
        pool.maxpool_dx(dx, x, y, dy, over, threads_)
        wanted = reference("maxpool_dx", shape, x, y, dy, **at)
        assert_near(dx, wanted)
        pool.maxpool_dx(dx, x, y, dy, over, threads_, relu=True)
        assert_near(dx, wanted * (x > 0))
        pool.avgpool(y, x, over, threads_)
        assert_near(y, reference("avgpool", result, x, **at))
        pool.avgpool_dx(dx, dy, over, threads_)
        assert_near(dx, reference("avgpool_dx", shape, dy, **at))


@THREADS
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("shape", "windows"), [
    *POOLS, ((2, 8, 6, 37), Windows((16, 15), (3, 2), (15, 15, 14, 14))),
    ((1, 5, 4, 20), Windows((3, 3), (2, 2), (2, 0, 1, 2))),
])  # fmt: skip
def test_places_of_maxima(
    shape: tuple[int, ...], windows: Windows, threads: int, relu: bool
) -> None:
    x = np.random.default_rng(0).integers(0 if relu else -2, 3, shape).astype(np.float32)
    result = (shape[0], *windows.outputs(*shape[1:3]), shape[3])
    y, at = reference("maxpool", result, x, **windows.attributes), windows.attributes
    places, dx, dy = np.full(result, 99, np.uint8), garbage(*shape), normal(*result)
    over = pool.windows(x, y, windows.size, windows.stride, windows.pad)
    noted = np.empty(result, np.uint8)
    views = (np.moveaxis(each, -1, 1) for each in (noted, x, y))
    KERNELS["maxpool_places"](*views, relu=relu, **at)
    with Pool(threads) as threads_:
        pool.maxpool_places(places, x, y, over, threads_, relu=relu)
        np.testing.assert_array_equal(places, noted)
        pool.maxpool_places_dx(dx, places, dy, over, threads_)
    assert_near(dx, reference("maxpool_places_dx", shape, noted, dy, **at))


@THREADS
@pytest.mark.parametrize(
    ("channels", "size", "beta"), [(96, 5, 0.75), (7, 4, 0.6), (40, 1, 0.75), (3, 9, 0.75)]
)
def test_lrn(channels: int, size: int, beta: float, threads: int) -> None:
    shape = (2, 5, 3, channels)
    at: dict[str, Any] = {"size": size, "alpha": 0.3, "beta": beta, "k": 2.0}
    x, dy, out = normal(*shape), normal(*shape, seed=1), garbage(*shape)
    work = garbage(norm.lrn_workspace(channels, size, threads) // 4)
    with Pool(threads) as threads_:
        norm.lrn(out, x, work, threads_, **at)
        assert_near(out, reference("lrn", shape, x, **at))
        norm.lrn_dx(out, x, dy, work, threads_, **at)
        wanted = reference("lrn_dx", shape, x, dy, **at)
        assert_near(out, wanted)
        norm.lrn_dx(out, x, dy, work, threads_, relu=True, **at)
        assert_near(out, wanted * (x > 0))


@THREADS
def test_sums_of_no_images_are_zero(threads: int) -> None:
    x, (mean, var) = normal(0, 4, 5, 20), np.ones((2, 20), np.float32)
    work = np.full(elementwise.pairs_workspace(20) // 4, np.nan, np.float32)
    first, second = garbage(20), garbage(20)
    with Pool(threads) as threads_:
        elementwise.channel_sums(first, x, work, threads_)
        assert not first.any()
        norm.bn_slopes(first, second, x, mean, var, x, work, threads_, eps=1e-3)
        assert not first.any()
        assert not second.any()


@THREADS
@pytest.mark.parametrize("shape", [(3, 15, 17, 37), (5, 16), (1, 1, 1, 3)])
def test_batch_norm(shape: tuple[int, ...], threads: int) -> None:
    channels, count = shape[-1:], 999
    x, dy, out = normal(*shape) + 3, normal(*shape, seed=1), garbage(*shape)
    mean, gamma, beta = (normal(*channels, seed=seed) for seed in (2, 3, 4))
    var, sums = gamma**2 + 0.5, garbage(*channels)
    work = garbage(elementwise.sums_workspace(*channels) // 4)
    pairs = garbage(elementwise.pairs_workspace(*channels) // 4)
    with Pool(threads) as threads_:
        norm.bn_mean(sums, x, work, threads_, count=count)
        assert_near(sums, reference("bn_mean", channels, x, count=count))
        norm.bn_var(sums, x, mean, pairs, threads_, count=count)
        assert_near(sums, reference("bn_var", channels, x, mean, count=count))
        elementwise.channel_sums(sums, dy, work, threads_)
        assert_near(sums, reference("bias_db", channels, dy))
        norm.bn_dgamma(sums, x, mean, var, dy, pairs, threads_, eps=1e-3)
        assert_near(sums, reference("bn_dgamma", channels, x, mean, var, dy, eps=1e-3))
        norm.bn_norm(out, x, mean, var, gamma, beta, threads_, eps=1e-3)
        wanted = reference("bn_norm", shape, x, mean, var, gamma, beta, eps=1e-3)
        assert_near(out, wanted)
        norm.bn_norm(out, x, mean, var, gamma, beta, threads_, eps=1e-3, relu=True)
        assert_near(out, np.maximum(wanted, 0))
        norm.bn_norm(out, x, mean, var, gamma, beta, threads_, eps=1e-3, relu=True, other=dy)
        assert_near(out, np.maximum(wanted + dy, 0))
        more = garbage(*channels)
        norm.bn_slopes(sums, more, x, mean, var, dy, pairs, threads_, eps=1e-3)
        assert_near(sums, reference("bn_dgamma", channels, x, mean, var, dy, eps=1e-3))
        assert_near(more, reference("bias_db", channels, dy))
        inputs = (x, mean, var, gamma, sums, beta, dy)
        at: dict[str, Any] = {"eps": 1e-3, "count": count}
        norm.bn_dx(out, *inputs, threads_, **at)
        assert_near(out, reference("bn_dx", shape, *inputs, **at))


@THREADS
@pytest.mark.parametrize("before", [0, 1, 7])
@pytest.mark.parametrize("shape", [(7, 15, 17, 37), (7, 16), (1, 1, 1, 3)])
def test_batch_norm_by_groups(shape: tuple[int, ...], before: int, threads: int) -> None:
    """Groups of 3 images, of which the first and the last may be elsewhere."""
    (n, *_, c), at = shape, dict[str, Any](group=3, before=before)
    groups = -(-(n + before) // 3) + 1
    x, dy, out = normal(*shape) + 3, normal(*shape, seed=1), garbage(*shape)
    mean, gamma, beta = normal(groups, c, seed=2), normal(c, seed=3), normal(c, seed=4)
    var, sums, more = normal(groups, c, seed=5) ** 2 + 0.5, garbage(groups, c), garbage(groups, c)
    work = garbage(elementwise.sums_workspace(c) // 4)
    pairs = garbage(elementwise.pairs_workspace(c) // 4)
    rows, told = (groups, c), dict[str, Any](eps=1e-3, **at)
    with Pool(threads) as threads_:
        grouped.grouped_mean(sums, x, work, threads_, count=999, **at)
        assert_near(sums, reference("grouped_mean", rows, x, count=999, **at))
        grouped.grouped_var(sums, x, mean, pairs, threads_, count=999, **at)
        assert_near(sums, reference("grouped_var", rows, x, mean, count=999, **at))
        dbeta = reference("grouped_dbeta", rows, dy, **at)
        grouped.grouped_dbeta(sums, dy, work, threads_, **at)
        assert_near(sums, dbeta)
        dgamma = reference("grouped_dgamma", rows, x, mean, var, dy, **told)
        grouped.grouped_dgamma(sums, x, mean, var, dy, pairs, threads_, **told)
        assert_near(sums, dgamma)
        grouped.grouped_slopes(sums, more, x, mean, var, dy, pairs, threads_, **told)
        assert_near(sums, dgamma)
        assert_near(more, dbeta)
        wanted = reference("grouped_norm", shape, x, mean, var, gamma, beta, **told)
        grouped.grouped_norm(out, x, mean, var, gamma, beta, threads_, **told)
        assert_near(out, wanted)
        inputs = (x, mean, var, gamma, beta)
        grouped.grouped_norm(out, *inputs, threads_, relu=True, other=dy, **told)
        assert_near(out, np.maximum(wanted + dy, 0))
        slopes = (x, mean, var, gamma, dgamma, dbeta, dy)
        grouped.grouped_dx(out, *slopes, threads_, count=999, **told)
        assert_near(out, reference("grouped_dx", shape, *slopes, count=999, **told))


@THREADS
@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("shape", [(3, 15, 17, 37), (5, 16), (1, 1, 1, 3)])
def test_mean_and_variance_in_one_pass(shape: tuple[int, ...], offset: float, threads: int) -> None:
    """Also far from zero, where the squares of plain sums would cancel."""
    x = normal(*shape) + np.float32(offset)
    mean, var = garbage(shape[-1]), garbage(shape[-1])
    work = garbage(elementwise.pairs_workspace(shape[-1]) // 4)
    with Pool(threads) as threads_:
        norm.bn_moments(mean, var, x, work, threads_)
    pixels = x.reshape(-1, shape[-1]).astype(np.float64)
    assert_near(mean, pixels.mean(axis=0))
    np.testing.assert_allclose(var, pixels.var(axis=0), rtol=2e-5, atol=1e-6)


@THREADS
@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("shape", [(6, 15, 17, 37), (6, 16), (2, 1, 1, 3)])
def test_sums_of_shards_have_mean_and_variance(
    shape: tuple[int, ...], offset: float, threads: int
) -> None:
    """Far from zero too, where a deviation is a ten-thousandth of the mean; by groups too."""
    x, c = normal(*shape) * np.float32(0.1 if offset else 1) + np.float32(offset), shape[-1]
    pixels = x.reshape(-1, c).astype(np.float64)
    work = garbage(elementwise.pairs_workspace(c) // 4)
    mean, var, half = garbage(c), garbage(c), len(x) // 2
    with Pool(threads) as threads_:
        parts = [np.full((c, 2), np.nan) for _ in range(2)]
        for part, own in zip(parts, (x[:half], x[half:]), strict=True):
            norm.bn_sums(part, own, work, threads_, count=len(pixels))
            right = np.zeros((c, 2))
            KERNELS["bn_sums"](right, np.moveaxis(own, -1, 1), count=len(pixels))
            np.testing.assert_allclose(part, right, rtol=2e-6, atol=1e-6)
        norm.sums_moments(mean, var, parts[0] + parts[1], threads_)
        assert_near(mean, pixels.mean(axis=0))
        np.testing.assert_allclose(var, pixels.var(axis=0), rtol=2e-5, atol=1e-6)
        for before in (0, 1, 7):
            at = {"group": 3, "before": before, "count": 99}
            sums = np.full((-(-(len(x) + before) // 3) + 1, c, 2), np.nan)
            wanted = sums.copy()
            grouped.grouped_sums(sums, x, work, threads_, **at)
            KERNELS["grouped_sums"](wanted, np.moveaxis(x, -1, 1), **at)
            np.testing.assert_allclose(sums, wanted, rtol=2e-6, atol=1e-6)


@THREADS
def test_elementwise(threads: int) -> None:
    shape = (2, 111, 13, 37)
    x, y, b, out = normal(*shape), normal(*shape, seed=1), normal(37), garbage(*shape)
    with Pool(threads) as threads_:
        elementwise.relu(out, x, threads_)
        np.testing.assert_array_equal(out, np.maximum(x, 0))
        elementwise.relu_dx(out, x, y, threads_)
        np.testing.assert_array_equal(out, y * (x > 0))
        for relu in (False, True):
            elementwise.bias(out, x, b, threads_, relu)
            np.testing.assert_array_equal(out, np.maximum(x + b, 0) if relu else x + b)


@THREADS
@pytest.mark.parametrize("op", elementwise.ACTIVATIONS)
def test_activations(op: str, threads: int) -> None:
    x = 4 * normal(2, 11, 13, 37)
    x.flat[:8] = [np.nan, 1e9, -1e9, 0, -0.0, 30, -30, 1e-20]
    inputs = (x, normal(*x.shape, seed=1)) if op.endswith("_dx") else (x,)
    wanted, out = np.empty(x.shape), garbage(*x.shape)
    KERNELS[op](wanted, *(each.astype(np.float64) for each in inputs))
    with Pool(threads) as threads_:
        elementwise.ACTIVATIONS[op](out, *inputs, threads_)
        np.testing.assert_allclose(out, wanted, rtol=2e-6, atol=2e-6)
        for over in range(len(inputs)):
            mine = [each.copy() for each in inputs]
            elementwise.ACTIVATIONS[op](mine[over], *mine, threads_)
            np.testing.assert_array_equal(mine[over], out)


@THREADS
@pytest.mark.parametrize("count", [2, 3, 4])
def test_sums(threads: int, count: int) -> None:
    xs = [normal(2, 111, 13, 37, seed=seed) for seed in range(count)]
    wanted, out, y = functools.reduce(np.add, xs), garbage(*xs[0].shape), xs[1]
    with Pool(threads) as threads_:
        elementwise.add(out, *xs, pool=threads_)
        np.testing.assert_array_equal(out, wanted)
        elementwise.add(out, *xs, pool=threads_, then_relu=True)
        np.testing.assert_array_equal(out, np.maximum(wanted, 0))
        elementwise.add(out, *xs, pool=threads_, positive=y)
        np.testing.assert_array_equal(out, wanted * (y > 0))
        for over in range(count):
            mine = [x.copy() for x in xs]
            elementwise.add(mine[over], *mine, pool=threads_)
            np.testing.assert_array_equal(mine[over], wanted)


@THREADS
@pytest.mark.parametrize("pixels", [(2, 9, 7), (70,), (0, 3, 3)])
def test_channels_are_joined_and_taken_apart(threads: int, pixels: tuple[int, ...]) -> None:
    xs = [normal(*pixels, channels, seed=channels) for channels in (16, 5, 33, 0, 64)]
    wanted = np.concatenate(xs, axis=-1)
    out = garbage(*wanted.shape)
    with Pool(threads) as threads_:
        channels.concat(out, *xs, pool=threads_)
        np.testing.assert_array_equal(out, wanted)
        first = 0
        for x in xs[:3]:
            part, y = garbage(*x.shape), normal(*x.shape, seed=9)
            channels.slice_channels(part, out, threads_, first)
            np.testing.assert_array_equal(part, x)
            channels.slice_channels(part, out, threads_, first, positive=y)
            np.testing.assert_array_equal(part, x * (y > 0))
            first += x.shape[-1]


def test_relu_keeps_nan() -> None:
    x = np.array([np.nan, -1, 2, np.inf, -np.inf], np.float32)
    out = garbage(5)
    with Pool(1) as threads:
        elementwise.relu(out, x, threads)
        np.testing.assert_array_equal(out, np.maximum(x, 0))
        elementwise.add(out, x, np.zeros_like(x), pool=threads, then_relu=True)
    np.testing.assert_array_equal(out, np.maximum(x, 0))


@THREADS
@pytest.mark.parametrize(("n", "c", "k"), [(1, 5, 3), (9, 70, 50), (16, 33, 100), (0, 4, 6)])
def test_fully_connected(n: int, c: int, k: int, threads: int) -> None:
    x, w, dy = normal(n, c), normal(k, c), normal(n, k)
    y, dx, dw = garbage(n, k), garbage(n, c), garbage(k, c)
    with Pool(threads) as threads_:
        linear.fc(y, x, w, threads_)
        assert_near(y, x @ w.T)
        linear.fc_dx(dx, dy, w, threads_)
        assert_near(dx, dy @ w)
        linear.fc_dw(dw, x, dy, threads_)
        assert_near(dw, dy.T @ x)


@THREADS
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("step", [0, 100_000])
@pytest.mark.parametrize(("n", "c", "k"), [(1, 5, 3), (9, 70, 50), (16, 33, 100), (0, 4, 6)])
def test_updates(word: str, n: int, c: int, k: int, step: int, threads: int) -> None:
    call, x, dy, g = UpdateCall(word, SLOW), normal(n, c), normal(n, k), garbage(k, c)
    values = call.values((k, c), np.random.default_rng(0), step)
    before = [values[name].astype(np.float32) for name in call.results]
    joined, alone = ([each.copy() for each in before] for _ in range(2))
    told = call.told | {name: values[name].item() for name in call.numbers}
    with Pool(threads) as threads_:
        linear.fc_dw(g, x, dy, threads_)
        update.KERNELS[word](*alone, g, threads_, **told)
        work = garbage(update.fc_dw_workspace(c, threads) // 4)
        update.KERNELS[f"fc_dw_{word}"](*joined, x, dy, work, threads_, **told)
    wide = dict(zip(call.results, (each.astype(np.float64) for each in before), strict=True))
    wanted = call.by_reference({**values, **wide, "g": g.astype(np.float64)})
    for found in (joined, alone):
        for actual, name in zip(found, call.results, strict=True):
            assert_near(actual, wanted[name])


@THREADS
@pytest.mark.parametrize("shape", [(1,), (7, 5, 3, 1), (37,), (600, 400), (0, 4), (65536,)])
@pytest.mark.parametrize("limit", [0.5, 1e9])
def test_gradients_are_clipped(shape: tuple[int, ...], limit: float, threads: int) -> None:
    g, squares = normal(*shape), np.empty((), np.float32)
    with Pool(threads) as threads_:
        update.square_sum(squares, g, threads_)
        assert_near(squares, (g.astype(np.float64) ** 2).sum())
        wanted = g * min(1.0, limit / (float(np.sqrt(squares)) + 1e-6))
        update.clipped(g, g, squares, threads_, limit=limit)
    assert_near(g, wanted)


@THREADS
@pytest.mark.parametrize("shape", [(), (7, 5, 3, 1), (600, 400), (0, 4)])
def test_sums_over_batches(shape: tuple[int, ...], threads: int) -> None:
    acc, x = normal(*shape), normal(*shape, seed=1)
    wanted = acc + x
    with Pool(threads) as threads_:
        update.accumulate(acc, acc, x, threads_)
    np.testing.assert_array_equal(acc, wanted)


@THREADS
@pytest.mark.parametrize("step", [0, 7])
@pytest.mark.parametrize("shape", [(7, 5, 3, 1), (600, 400), (0, 4)])
def test_averages(shape: tuple[int, ...], step: int, threads: int) -> None:
    e, w = normal(*shape), normal(*shape, seed=1)
    wanted = 0.9 * e + 0.1 * w if step else w.copy()
    with Pool(threads) as threads_:
        update.average(e, e, w, np.array(step), threads_, decay=0.9)
    assert_near(e, wanted)


@THREADS
@pytest.mark.parametrize("seed", [5, -3, 2**40 + 7])
def test_dropout_has_the_reference_bits(seed: int, threads: int) -> None:
    state, at = (np.array(seed), np.array(2**32 + 3)), {"rate": 0.3, "key": 77}
    own: dict[str, Any] = {**at, "seed": seed, "counter": 2**32 + 3}
    block, image = normal(6, 50), normal(2, 5, 6, 7)
    with Pool(threads) as threads_:
        out, first = garbage(6, 50), np.arange(2, 8) * 61 + 5
        random.dropout(out, block, first, threads_, run=50, step=1, **own)
        where = {"shape": (9, 61), "offset": (2, 5), "rows": ()}
        np.testing.assert_array_equal(
            out, reference("dropout", (6, 50), block, *state, **at, **where)
        )
        out = garbage(2, 5, 6, 7)
        random.dropout(out, image, np.arange(14) * 30, threads_, run=30, step=7, **own)
        where = {"shape": (2, 7, 5, 6), "offset": (0, 0, 0, 0), "rows": ()}
        wanted = reference("dropout", image.shape, image, *state, **at, **where)
        np.testing.assert_array_equal(out, wanted)
        long, first = normal(1, 70_001), np.array([2**34 + 1])
        out = garbage(1, 70_001)
        random.dropout(out, long, first, threads_, run=70_001, step=1, **own)
        where = {"shape": (2**35,), "offset": (2**34 + 1,), "rows": ()}
        wanted = reference("dropout", (70_001,), long[0], *state, **at, **where)
        np.testing.assert_array_equal(out[0], wanted)


def test_a_pool_passes_on_what_a_part_raises() -> None:
    def part(thread: int, start: int, stop: int) -> None:
        if start == 3:
            raise ValueError("three")

    with Pool(3) as threads:
        with pytest.raises(ValueError, match="three"):
            threads.run(10, 1, part)
        seen: list[int] = []
        threads.run(10, 3, lambda thread, start, stop: seen.extend(range(start, stop)))
        assert sorted(seen) == list(range(10))
