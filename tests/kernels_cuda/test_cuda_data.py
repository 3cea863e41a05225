"""Copies, random numbers, softmax and updates on a GPU against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from update_calls import FORGETFUL, SLOW, WORDS, UpdateCall

from netc_kernels.cuda import move, random, rows, update
from netc_kernels.reference import KERNELS

pytestmark = pytest.mark.gpu

TYPES = pytest.mark.parametrize("dtype", ["f32", "bf16"])
ORDERS = pytest.mark.parametrize("nhwc", [False, True])
SEED, STEP = 0x1234_5678_9ABC, 7


def exact(device: Any, block: Any, wanted: Any) -> None:
    np.testing.assert_array_equal(device.get(block), wanted)
    device.check_guards()


@TYPES
@pytest.mark.parametrize(
    "shape",
    [
        (2, 3, 33, 31),
        (3, 64, 7, 7),
        (2, 130, 9, 10),
        (1, 70, 66, 2),
        (5, 8, 1, 4),
        (4, 1, 3, 5),
        (3, 12, 1, 1),
        (2, 300, 2, 2),
        (0, 3, 4, 4),
        (2, 0, 4, 4),
    ],
)
def test_copy(device: Any, shape: Any, dtype: str) -> None:
    x = device.normal(*shape)
    for to, of in ((True, False), (False, True), (True, True), (False, False)):
        for shift in (0, 1):
            block, out = device.put(x, dtype, of, shift), device.empty(shape, dtype, to)
            move.copy(out, block, stream=device.stream)
            exact(device, out, device.get(block))


@pytest.mark.parametrize("dtype", ["f32", "bf16", "i64"])
@ORDERS
@pytest.mark.parametrize("dim", [0, 1, 2, 3])
@pytest.mark.parametrize(("start", "stop"), [(0, 3), (2, 6), (5, 16), (4, 4), (8, 16)])
def test_slice(device: Any, dim: int, start: int, stop: int, nhwc: bool, dtype: str) -> None:
    shape = [5, 3, 7, 4]
    shape[dim] = 16
    x = device.put(10 * device.normal(*shape), dtype, nhwc)
    part = (*(slice(None),) * dim, slice(start, stop))
    shape[dim] = stop - start
    out = device.empty(tuple(shape), dtype, nhwc)
    move.slice_dim(out, x, dim=dim, start=start, stream=device.stream)
    exact(device, out, device.get(x)[part])


def test_slice_of_labels_and_of_long_rows(device: Any) -> None:
    labels = device.put(device.random.integers(0, 1000, 77), "i64")
    out = device.empty((30,), "i64")
    move.slice_dim(out, labels, dim=0, start=41, stream=device.stream)
    exact(device, out, device.get(labels)[41:71])
    x = device.put(device.normal(3, 5003), "f32")
    out = device.empty((3, 4101), "f32")
    move.slice_dim(out, x, dim=1, start=900, stream=device.stream)
    exact(device, out, device.get(x)[:, 900:5001])


@TYPES
@ORDERS
@pytest.mark.parametrize("sizes", [(8,), (16, 32, 8), (3, 0, 5, 1), (64, 64)])
def test_concat(device: Any, sizes: Any, nhwc: bool, dtype: str) -> None:
    for dim, concat in ((1, move.concat), (0, move.concat_rows)):
        shapes = [(size, 6, 5, 7) if dim == 0 else (6, size, 5, 7) for size in sizes]
        xs = [device.put(device.normal(*shape), dtype, nhwc) for shape in shapes]
        joined = np.concatenate([device.get(x) for x in xs], axis=dim)
        out = device.empty(joined.shape, dtype, nhwc)
        concat(out, *xs, stream=device.stream)
        exact(device, out, joined)


BLOCKS = [
    # global shape, block, offset, segments of rows
    ((8, 64), (8, 64), (0, 0), ()),
    ((9, 33), (4, 33), (3, 0), ()),
    ((9, 40), (9, 16), (0, 17), ()),
    ((32, 40), (8, 40), (0, 0), ((4, 3), (16, 1), (20, 4))),
    ((6, 8, 5, 3), (6, 8, 5, 3), (0, 0, 0, 0), ()),
    ((6, 16, 5, 4), (3, 8, 5, 4), (2, 3, 0, 0), ()),
    ((6, 8, 9, 4), (6, 8, 3, 4), (0, 0, 4, 0), ()),
    ((6, 8, 4, 9), (2, 5, 2, 4), (1, 2, 1, 3), ()),
    ((12, 24, 1, 1), (4, 24, 1, 1), (0, 0, 0, 0), ((2, 2), (8, 2))),
    ((6, 8, 5, 3), (0, 8, 5, 3), (2, 0, 0, 0), ()),
    ((6, 8), (3, 0), (2, 8), ()),
    ((2**22, 2**14), (2, 24), (2**22 - 2, 2**14 - 24), ()),
]


@TYPES
@ORDERS
@pytest.mark.parametrize(("shape", "block", "offset", "segments"), BLOCKS)
@pytest.mark.parametrize("rate", [0.5, 0.1, 0.0, 1.0])
def test_dropout(
    device: Any, shape: Any, block: Any, offset: Any, segments: Any, rate: float, nhwc: bool,
    dtype: str,
) -> None:  # fmt: skip
    told = {"rate": rate, "key": 0xDEADBEEF, "shape": shape, "offset": offset, "rows": segments}
    seed, step = device.put(np.int64(SEED), "i64"), device.put(np.int64(STEP), "i64")
    for shift in (0, 1):
        x = device.put(device.normal(*block), dtype, nhwc, shift)
        wanted = device.get(x).astype(np.float32)
        KERNELS["dropout"](wanted, wanted.copy(), np.int64(SEED), np.int64(STEP), **told)
        out = device.empty(block, dtype, nhwc, shift)
        for result in (out, x):
            random.dropout(result, x, seed, step, stream=device.stream, **told)
            exact(device, result, device.get(device.put(wanted, dtype)))


def test_dropout_of_a_large_tensor(device: Any) -> None:
    shape = (3, 70, 57, 55)
    told: dict[str, Any] = {
        "rate": 0.4, "key": 5, "shape": shape, "offset": (0, 0, 0, 0), "rows": (),
    }  # fmt: skip
    scalars = [device.put(np.int64(n), "i64") for n in (-3, 2**33 + 1)]
    wanted = np.ones(shape, np.float32)
    KERNELS["dropout"](wanted, wanted.copy(), np.int64(-3), np.int64(2**33 + 1), **told)
    for nhwc in (False, True):
        x, out = device.put(np.ones(shape), "f32", nhwc), device.empty(shape, "f32", nhwc)
        random.dropout(out, x, *scalars, stream=device.stream, **told)
        exact(device, out, wanted)


@TYPES
@ORDERS
@pytest.mark.parametrize(("shape", "block", "offset", "segments"), BLOCKS)
def test_initial_weights(
    device: Any, shape: Any, block: Any, offset: Any, segments: Any, nhwc: bool, dtype: str
) -> None:
    told = {"std": 0.02, "key": 77, "shape": shape, "offset": offset}
    out, wanted = device.empty(block, dtype, nhwc), np.full(block, np.nan)
    if not segments:
        seed = device.put(np.int64(SEED), "i64")
        random.init_normal(out, seed, stream=device.stream, **told)
        KERNELS["init_normal"](wanted, np.int64(SEED), **told)
        device.assert_near(out, wanted)
    random.init_constant(out, value=0.375, stream=device.stream)
    exact(device, out, np.full(block, 0.375))


@TYPES
@pytest.mark.parametrize(("n", "k"), [(5, 10), (128, 1000), (3, 1), (4, 0), (0, 10), (7, 257)])
@pytest.mark.parametrize("first_class", [0, 4])
def test_softmax(device: Any, n: int, k: int, first_class: int, dtype: str) -> None:
    x, labels = 4 * device.normal(n, k), device.random.integers(0, first_class + k + 3, n)
    same, shard = {"dtype": dtype}, {"first_class": first_class}
    if k:
        x[:, 0] = x.max(axis=1)  # the maximum twice
    m = device.get(device.check(rows.row_max, "row_max", (n,), x, **same))
    top = np.where(np.isfinite(m), m, 1.0)
    s = device.get(device.check(rows.row_sum_exp, "row_sum_exp", (n,), x, top, **same)) + 1
    device.check(rows.row_pick, "row_pick", (n,), x, labels, told=shard, **same)
    classes = first_class + k + 5
    smoothed = {**shard, "smoothing": 0.1, "classes": classes}
    device.check(
        rows.row_pick_smoothed, "row_pick_smoothed", (n,), x, labels, told=smoothed, **same
    )
    others, share = device.random.integers(0, classes, n), device.random.random(n)
    targets = x, labels, others, share
    device.check(rows.row_pick_mixed, "row_pick_mixed", (n,), *targets, told=smoothed, **same)
    top[1:2] += 1
    argmax = {**shard, "classes": classes}
    device.check(rows.row_argmax, "row_argmax", (n,), x, top, out_dtype="i64", told=argmax, **same)
    told = {**shard, "batch": 8}
    for over in (None, 0):
        device.check(
            rows.softmax_dx, "softmax_dx", (n, k), x, labels, top, s, told=told, over=over, **same
        )
        device.check(
            rows.softmax_dx_smoothed, "softmax_dx_smoothed", (n, k), x, labels, top, s,
            told={**smoothed, "batch": 8}, over=over, **same,
        )  # fmt: skip
        device.check(
            rows.softmax_dx_mixed, "softmax_dx_mixed", (n, k), *targets, top, s,
            told={**smoothed, "batch": 8}, over=over, **same,
        )  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, 7, 300])
def test_loss(device: Any, n: int) -> None:
    m, s, p = device.normal(n), np.exp(device.normal(n)), device.normal(n)
    same = {"dtype": "f32", "scale": 10.0}
    device.check(rows.ce_loss, "ce_loss", (), m, s, p, told={"batch": 64}, **same)
    argmax, labels = (device.random.integers(0, 3, n) for _ in range(2))
    half = n // 2
    for segments in ((), ((2, half), (40, 0), (100, n - half))):
        for count in (0, 3, 101, 104, 10**6):
            told = {"offset": (1,), "rows": segments}
            if n:
                s[-1] = s[-1] if count > 10**5 else np.nan  # has no effect
            counted = np.int64(count)
            device.check(
                rows.ce_loss_masked, "ce_loss_masked", (), m, s, p, counted, told=told, **same
            )
            device.check(rows.correct, "correct", (), argmax, labels, counted, told=told, **same)


UPDATED = pytest.mark.parametrize(
    "shape", [(16, 8, 3, 3), (7, 5, 3, 1), (65, 33), (600, 40), (0, 4)]
)


@TYPES
@ORDERS
@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (7, 5, 3, 1), (3000, 701), (0, 4)])
@pytest.mark.parametrize(("limit", "shift"), [(0.5, 0), (1e9, 1)])
def test_gradients_are_clipped(
    device: Any, shape: Any, limit: float, shift: int, nhwc: bool, dtype: str
) -> None:
    g = device.put(device.normal(*shape), dtype, nhwc, shift)
    squares, size = device.empty((), "f32"), update.squares_workspace((), shape)
    work = device.empty((size // 4,), "f32") if size else None
    update.square_sum(squares, g, work=work, stream=device.stream)
    device.assert_near(squares, (device.get(g) ** 2).sum())
    wanted = device.get(g) * min(1.0, limit / (np.sqrt(device.get(squares)) + 1e-6))
    update.clipped(g, g, squares, limit=limit, stream=device.stream)
    device.assert_near(g, wanted)


@ORDERS
@UPDATED
@pytest.mark.parametrize(("step", "shift"), [(0, 0), (7, 0), (7, 1)])
def test_averages(device: Any, shape: Any, step: int, shift: int, nhwc: bool) -> None:
    e, w = (device.put(device.normal(*shape), "f32", nhwc, shift) for _ in range(2))
    wanted = 0.9 * device.get(e) + 0.1 * device.get(w) if step else device.get(w)
    update.average(e, e, w, device.put(step, "i64"), decay=0.9, stream=device.stream)
    device.assert_near(e, wanted)


@TYPES
@ORDERS
@UPDATED
@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize(
    ("shift", "step", "options"), [(0, 0, SLOW), (1, 10**6, SLOW), (0, 3, FORGETFUL)]
)
def test_updates(
    device: Any, word: str, shape: Any, shift: int, step: int, options: Any, nhwc: bool, dtype: str
) -> None:
    call = UpdateCall(word, options)
    types = {"g": dtype, "step": "i64"}
    held = {
        name: device.put(value, types.get(name, "f32"), nhwc, shift if value.ndim else 0)
        for name, value in call.values(shape, device.random, step).items()
    }
    wanted = call.by_reference({name: device.get(block) for name, block in held.items()})
    for part, op in call.moves:
        out = device.empty(shape, "f32", nhwc, shift)
        operands = (held[name] for name in part.operands)
        update.KERNELS[op.kernel](out, *operands, stream=device.stream, **op.attributes())
        device.assert_near(out, wanted[part.makes])
        held[f"{part.makes}'"] = out
    made = [device.empty(shape, "f32", nhwc, shift) for _ in call.results]
    old = [held[name] for name in call.results]
    read = [held["g"], *old, *(held[name] for name in call.numbers)]
    for results in (made, old):
        update.KERNELS[word](*results, *read, stream=device.stream, **call.told)
        for name, block in zip(call.results, results, strict=True):
            device.assert_near(block, wanted[name])
