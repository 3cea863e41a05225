"""Activations, bias and batch normalization on a GPU against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netc.ir.ops import ACTIVATIONS
from netc_kernels.cuda import channels, elementwise, update
from netc_kernels.cuda.native import KERNELS as NATIVE
from netc_kernels.cuda.native import WORKSPACE_BYTES
from netc_kernels.reference import KERNELS

pytestmark = pytest.mark.gpu

TYPES = pytest.mark.parametrize("dtype", ["f32", "bf16"])
SHAPES = pytest.mark.parametrize(
    ("shape", "nhwc"),
    [
        ((2, 16, 5, 3), True),
        ((3, 7, 4, 5), True),
        ((3, 7, 4, 5), False),
        ((5, 13), True),
        ((64, 520), True),
        ((3, 24, 57, 55), True),
        ((0, 8, 3, 3), True),
        ((4, 0), True),
    ],
)
CHANNELS = pytest.mark.parametrize(
    "shape",
    [
        (2, 64, 9, 7),
        (3, 5, 11, 3),
        (7, 10),
        (2, 2056, 3, 1),
        (1, 96, 1, 1),
        (5, 264, 41, 37),
        (0, 8, 3, 3),
        (3, 0, 2, 2),
    ],
)


def relu_of(x: Any) -> Any:
    return np.maximum(x, 0)


@TYPES
@SHAPES
@pytest.mark.parametrize("op", elementwise.ACTIVATIONS)
def test_activations(device: Any, op: str, shape: Any, nhwc: bool, dtype: str) -> None:
    x = 3 * device.normal(*shape)
    for shift in (0, 1):
        kernel = elementwise.KERNELS[op]
        device.check(kernel, op, shape, x, dtype=dtype, nhwc=nhwc, shift=shift)
    device.check(kernel, op, shape, x, dtype=dtype, nhwc=nhwc, over=0)


@TYPES
@SHAPES
@pytest.mark.parametrize("op", [f"{op}_dx" for op in elementwise.ACTIVATIONS])
def test_slopes(device: Any, op: str, shape: Any, nhwc: bool, dtype: str) -> None:
    v, dy = 3 * device.normal(*shape), device.normal(*shape)
    if ACTIVATIONS[op.removesuffix("_dx")].slope == "result":
        v = np.tanh(v)
    kernel = elementwise.KERNELS[op]
    for over in (None, 0, 1):
        device.check(kernel, op, shape, v, dy, dtype=dtype, nhwc=nhwc, over=over)


@TYPES
def test_relu_keeps_nan_and_infinity(device: Any, dtype: str) -> None:
    x = np.array([[np.nan, -1, 2, np.inf, -np.inf, 0, -np.nan, 3e38]])
    device.check(elementwise.KERNELS["relu"], "relu", x.shape, x, dtype=dtype)


@TYPES
@SHAPES
@pytest.mark.parametrize("count", [1, 2, 3, 8, 11])
def test_add(device: Any, count: int, shape: Any, nhwc: bool, dtype: str) -> None:
    # eighths: sums are exact in both types
    xs = [device.random.integers(-8, 9, shape) / 8 for _ in range(count)]
    same = {"dtype": dtype, "nhwc": nhwc}
    device.check(elementwise.add, "add", shape, *xs, **same)
    device.check(elementwise.add, "add", shape, *xs, over=count - 1, **same)
    device.check(elementwise.add, "add", shape, *xs, joined={"relu": True}, then=relu_of, **same)
    y = device.random.integers(-1, 2, shape)
    slope = {"positive": device.put(y.astype(float), dtype, nhwc)}
    device.check(
        elementwise.add, "add", shape, *xs, joined=slope, then=lambda sum_: sum_ * (y > 0), **same
    )


@TYPES
def test_accumulate(device: Any, dtype: str) -> None:
    acc, x = device.normal(33, 40), device.normal(33, 40)
    device.check(update.accumulate, "accumulate", (33, 40), acc, x, dtype=dtype, over=0)


@SHAPES
def test_sums_are_wider_than_what_is_added(device: Any, shape: Any, nhwc: bool) -> None:
    acc = device.put(device.normal(*shape), "f32", nhwc)
    x = device.put(device.normal(*shape), "bf16", nhwc)
    wanted = device.get(acc) + device.get(x)
    update.accumulate(acc, acc, x, stream=device.stream)
    device.assert_near(acc, wanted)


@SHAPES
@pytest.mark.parametrize(("to", "of"), [("bf16", "f32"), ("f32", "bf16")])
def test_cast(device: Any, to: str, of: str, shape: Any, nhwc: bool) -> None:
    x = device.normal(*shape)
    for shift in (0, 1):
        out, block = device.empty(shape, to, nhwc, shift), device.put(x, of, nhwc, shift)
        elementwise.cast(out, block, stream=device.stream)
        device.assert_near(out, device.get(block))
    device.check_guards()


def test_cast_rounds_to_even(device: Any) -> None:
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x80000001, 0xFF800000])
    x = bits.astype(np.uint32).view(np.float32).reshape(1, -1)
    out = device.empty(x.shape, "bf16")
    elementwise.cast(out, device.put(x, "f32"), stream=device.stream)
    expected = np.array([0x3F80, 0x3F82, 0x3F81, 0x7F80, 0x8000, 0xFF80]).astype(np.uint32) << 16
    np.testing.assert_array_equal(device.get(out)[0], expected.astype(np.uint32).view(np.float32))


@TYPES
@SHAPES
def test_bias(device: Any, shape: Any, nhwc: bool, dtype: str) -> None:
    x, b, same = device.normal(*shape), device.normal(shape[1]), {"dtype": dtype, "nhwc": nhwc}
    device.check(elementwise.bias, "bias", shape, x, b, shift=1, **same)
    device.check(elementwise.bias, "bias", shape, x, b, over=0, **same)
    device.check(elementwise.bias, "bias", shape, x, b, joined={"relu": True}, then=relu_of, **same)


@TYPES
@CHANNELS
def test_sums(device: Any, shape: Any, dtype: str) -> None:
    dy, y, c = device.normal(*shape), device.normal(*shape), shape[1]
    scale = float(np.sqrt(dy.size / max(1, c)))
    work = channels.sums_workspace((shape[1],), shape) // 4
    for shift in (0, 1):
        device.check(
            channels.bias_db, "bias_db", (c,), dy, dtype=dtype, work=work, shift=shift, scale=scale
        )
    blocks = [device.put(each, dtype, True) for each in (dy, y)]
    db, wanted, slope = device.empty((c,), "f32"), np.zeros(c), np.zeros(shape)
    KERNELS["relu_dx"](slope, *(device.get(block) for block in reversed(blocks)))
    KERNELS["bias_db"](wanted, slope)
    work_block = device.empty((work,), "f32")
    channels.bias_db_relu_dx(blocks[0], db, *blocks, work=work_block, stream=device.stream)
    device.assert_near(blocks[0], slope)
    device.assert_near(db, wanted, scale)
    device.check_guards()


@TYPES
@CHANNELS
def test_batch_norm(device: Any, shape: Any, dtype: str) -> None:
    c, same, count = shape[1], {"dtype": dtype}, max(1, np.prod(shape) // max(1, shape[1]))
    x, dy = device.normal(*shape) + 1, device.normal(*shape)
    mean, gamma, beta, more = (device.normal(c) for _ in range(4))
    var, at, norm = gamma**2 + 0.5, {"eps": 1e-3}, {"eps": 1e-3, "count": int(count)}
    part, work = {"count": int(count)}, channels.sums_workspace((c,), shape) // 4
    device.check(channels.bn_mean, "bn_mean", (c,), x, told=part, work=work, scale=1, **same)
    device.check(channels.bn_var, "bn_var", (c,), x, mean, told=part, work=work, **same)
    device.check(
        channels.bn_dgamma, "bn_dgamma", (c,), x, mean, var, dy, told=at, work=2 * work,
        scale=3 * float(np.sqrt(count)), **same,
    )  # fmt: skip
    inputs = x, mean, var, gamma, beta
    for over in (None, 0):
        device.check(channels.bn_norm, "bn_norm", shape, *inputs, told=at, over=over, **same)
    device.check(
        channels.bn_norm, "bn_norm", shape, *inputs, told=at, joined={"relu": True},
        then=relu_of, shift=1, **same,
    )  # fmt: skip
    other = device.random.integers(-8, 9, shape) / 8
    device.check(
        channels.bn_norm, "bn_norm", shape, *inputs, told=at, over=0,
        joined={"relu": True, "other": device.put(other, dtype, True)},
        then=lambda y: relu_of(y + other), **same,
    )  # fmt: skip
    slopes = x, mean, var, gamma, more, beta, dy
    for over in (None, 6):
        device.check(channels.bn_dx, "bn_dx", shape, *slopes, told=norm, over=over, **same)
    device.check(
        channels.bn_running, "bn_running", (c,), mean, beta, over=0,
        told={"momentum": 0.1, "correction": 1.25}, **same,
    )  # fmt: skip


@TYPES
@CHANNELS
def test_batch_norm_in_one_pass(device: Any, shape: Any, dtype: str) -> None:
    c, rows = shape[1], np.prod(shape) // max(1, shape[1])
    if not rows:
        return
    x, dy = (device.put(each, dtype, True) for each in (device.normal(*shape) + 8,
                                                       device.normal(*shape)))  # fmt: skip
    mean, var, first, second = (device.empty((c,), "f32") for _ in range(4))
    work = device.empty((channels.two_sums_workspace((c,), shape) // 4,), "f32")
    channels.bn_moments(mean, var, x, work=work, stream=device.stream)
    numbers, wanted = device.get(x), [np.zeros(c) for _ in range(4)]
    KERNELS["bn_mean"](wanted[0], numbers, count=rows)
    KERNELS["bn_var"](wanted[1], numbers, wanted[0], count=rows)
    device.assert_near(mean, wanted[0])
    device.assert_near(var, wanted[1], scale=4)
    inputs = (x, mean, var, dy)
    channels.bn_slopes(first, second, *inputs, work=work, stream=device.stream, eps=1e-3)
    KERNELS["bn_dgamma"](wanted[2], *(device.get(each) for each in inputs), eps=1e-3)
    KERNELS["bias_db"](wanted[3], device.get(dy))
    device.assert_near(first, wanted[2], 3 * float(np.sqrt(rows)))
    device.assert_near(second, wanted[3], 3 * float(np.sqrt(rows)))
    device.check_guards()


@TYPES
@pytest.mark.parametrize("shift", [0, 1])
@CHANNELS
def test_a_sum_of_gradients_with_their_slopes_is_as_apart(
    device: Any, shape: Any, shift: int, dtype: str
) -> None:
    c, rows = shape[1], np.prod(shape) // max(1, shape[1])
    if not rows or not c:
        return
    put, stream = lambda x: device.put(x, dtype, True, shift), device.stream
    a, b, x, other = (put(device.normal(*shape) + i % 3) for i in range(4))
    y = put(np.maximum(device.normal(*shape), 0))
    means, variances = (
        [device.put(device.normal(c) ** 2 + 0.5, "f32") for _ in "12"] for _ in "mv"
    )
    norms = [(x, means[0], variances[0]), (other, means[1], variances[1])]
    d = device.empty(shape, dtype, True, shift)
    elementwise.add(d, a, b, positive=y, stream=stream)
    wanted = [d]
    for norm in norms:
        work = device.empty((channels.two_sums_workspace((c,), shape) // 4,), "f32")
        wanted += [device.empty((c,), "f32") for _ in range(2)]
        NATIVE["bn_slopes"](*wanted[-2:], *norm, d, eps=1e-3, work=work, stream=stream)
    values = [device.get(each) for each in wanted]
    for name, count in (("add_relu_slopes", 1), ("add_relu_two_slopes", 2)):
        operands = (y, *(each for norm in norms[:count] for each in norm))
        size = WORKSPACE_BYTES[name](shape, shape, shape, *(each.shape for each in operands))
        for over in (None, 0, 1):
            gradients = [put(device.get(each)) for each in (a, b)]
            made = [device.empty(shape, dtype, True, shift)] if over is None else [gradients[over]]
            made += [device.empty((c,), "f32") for _ in range(2 * count)]
            work = device.empty((size // 4,), "f32")
            NATIVE[name](*made, *gradients, *operands, eps=1e-3, work=work, stream=stream)
            for block, value in zip(made, values, strict=False):
                # Elements that are not read in packs may be summed with one rounding less.
                near = {"rtol": 1e-5, "atol": 1e-5 * rows**0.5} if shift else {"rtol": 0}
                np.testing.assert_allclose(device.get(block), value, **near)
    device.check_guards()


@TYPES
@pytest.mark.parametrize(("before", "behind"), [(0, 0), (8, 16), (3, 2)])
@CHANNELS
def test_a_part_of_a_gradient_with_its_slopes_is_as_apart_to_the_bit(
    device: Any, shape: Any, before: int, behind: int, dtype: str
) -> None:
    (n, c, *pixels), rows = shape, np.prod(shape) // max(1, shape[1])
    if not rows or not c:
        return
    stream, at = device.stream, {"dim": 1, "start": before}
    whole = device.put(device.normal(n, before + c + behind, *pixels), dtype, True)
    x, y = (device.put(np.maximum(device.normal(*shape), 0), dtype, True) for _ in "xy")
    norm = x, *(device.put(device.normal(c) ** 2 + 0.5, "f32") for _ in "mv")
    size = channels.two_slopes_workspace(shape)
    told = {"work": device.empty((size // 4,), "f32"), "eps": 1e-3, "stream": stream}
    wanted, found = (
        [device.empty(shape, dtype, True), *(device.empty((c,), "f32") for _ in "gb")] for _ in "wf"
    )
    NATIVE["slice"](wanted[0], whole, stream=stream, **at)
    NATIVE["relu_dx"](wanted[0], y, wanted[0], stream=stream)
    NATIVE["bn_slopes"](*wanted[1:], *norm, wanted[0], **told)
    NATIVE["slice_relu_slopes"](*found, whole, y, *norm, **at, **told)
    for one, other in zip(found, wanted, strict=True):
        if before % 8 and one is not found[0]:  # packs do not fit, so rows are dealt out otherwise
            device.assert_near(one, device.get(other), 3 * float(np.sqrt(rows)))
        else:
            np.testing.assert_array_equal(device.get(one), device.get(other))
    device.check_guards()


@TYPES
@CHANNELS
def test_a_sum_of_two_batch_norms(device: Any, shape: Any, dtype: str) -> None:
    def wanted(out: Any, *inputs: Any, eps: float) -> None:
        first, second = np.empty(shape), np.empty(shape)
        KERNELS["bn_norm"](first, *inputs[:5], eps=eps)
        KERNELS["bn_norm"](second, *inputs[5:], eps=eps)
        out[...] = np.maximum(first + second, 0)

    inputs: list[Any] = []
    for offset in (1, 8):
        mean, gamma, beta = (device.normal(shape[1]) for _ in range(3))
        inputs += [device.normal(*shape) + offset, mean + offset, gamma**2 + 0.5, gamma, beta]
    for over, shift in ((None, 0), (0, 0), (5, 0), (None, 1)):
        device.check(
            channels.bn_norms_add_relu, wanted, shape, *inputs, told={"eps": 1e-3}, over=over,
            shift=shift, scale=8, dtype=dtype,
        )  # fmt: skip


@TYPES
@pytest.mark.parametrize("offset", [0.0, 8.0, 1000.0])
@CHANNELS
def test_sums_of_shards_have_mean_and_variance(
    device: Any, shape: Any, offset: float, dtype: str
) -> None:
    """Of two devices that count from different rows, and one that has none; far from zero too."""
    (n, c), count = shape[:2], int(np.prod(shape) // max(1, shape[1]))
    if not count:
        return
    x = device.normal(*shape) * (0.1 if offset > 100 and dtype == "f32" else 1) + offset
    numbers, total = device.get(device.put(x, dtype, True)), np.zeros((c, 2))
    for own in (slice(0, n // 3), slice(n // 3, n), slice(n, n)):
        part = device.put(x[own], dtype, True)
        out = device.empty((c, 2), "f64")
        size = channels.pairs_workspace((c, 2), part.shape) // 4
        work = device.empty((size,), "f32") if size else None
        channels.bn_sums(out, part, count=count, work=work, stream=device.stream)
        wanted = np.zeros((c, 2))
        KERNELS["bn_sums"](wanted, numbers[own], count=count)
        np.testing.assert_allclose(device.get(out), wanted, rtol=2e-6, atol=2e-6)
        total += device.get(out)
    mean, var, *again = (device.empty((c,), "f32") for _ in range(4))
    sums = device.put(total, "f64")
    channels.sums_moments(mean, var, sums, stream=device.stream)
    channels.sums_mean(again[0], sums, stream=device.stream)
    channels.sums_var(again[1], sums, stream=device.stream)
    about = (0, *range(2, len(shape)))
    device.assert_near(mean, numbers.mean(about), scale=1)
    variance = numbers.var(about)
    near = 3e-6 * variance.max() + 1e-9
    np.testing.assert_allclose(device.get(var), variance, rtol=3e-5, atol=near)
    assert (device.get(mean) == device.get(again[0])).all()
    assert (device.get(var) == device.get(again[1])).all()
    device.check_guards()


@TYPES
@pytest.mark.parametrize("before", [0, 1, 7])
@CHANNELS
def test_batch_norm_by_groups(device: Any, shape: Any, before: int, dtype: str) -> None:
    """Groups of 3 images, of which the first and the last may be elsewhere."""
    (n, c), at = shape[:2], dict[str, Any](group=3, before=before)
    rows = (-(-(n + before) // 3) + 1, c)
    scale = 3 * float(np.sqrt(max(1, np.prod(shape) // max(1, c))))
    told, count = {**at, "eps": 1e-3}, {"count": 3 * int(np.prod(shape[2:]))}
    x, dy = (device.put(device.normal(*shape) + i, dtype, True) for i in (1, 0))
    gamma, beta = (device.put(device.normal(c), "f32") for _ in range(2))
    mean, first, second = (device.put(device.normal(*rows), "f32") for _ in range(3))
    var = device.put(device.normal(*rows) ** 2 + 0.5, "f32")
    for word, inputs, more in (
        ("mean", (x,), {**at, **count}), ("var", (x, mean), {**at, **count}),
        ("sums", (x,), {**at, **count}),
        ("dgamma", (x, mean, var, dy), told), ("dbeta", (dy,), at),
        ("norm", (x, mean, var, gamma, beta), told),
        ("dx", (x, mean, var, gamma, first, second, dy), {**told, **count}),
    ):  # fmt: skip
        op, wide = f"grouped_{word}", word in ("norm", "dx")
        made = {"sums": ((*rows, 2), "f64")}.get(word, (rows, "f32"))
        out = device.empty(*((shape, dtype) if wide else made), wide)
        given: dict[str, Any] = {}
        if op in WORKSPACE_BYTES:
            size = WORKSPACE_BYTES[op](out.shape, *(each.shape for each in inputs))
            given["work"] = device.empty((size // 4,), "f32") if size else None
        NATIVE[op](out, *inputs, stream=device.stream, **more, **given)
        wanted = np.full(out.shape, np.nan)
        KERNELS[op](wanted, *(device.get(each) for each in inputs), **more)
        device.assert_near(out, wanted, 0 if wide else scale)
    device.check_guards()


@TYPES
@pytest.mark.parametrize("shape", [(6, 64, 9, 7), (3, 5, 11, 3), (9, 10)])
def test_batch_norm_by_groups_in_one_pass(device: Any, shape: Any, dtype: str) -> None:
    rows, at = (shape[0] // 3, shape[1]), dict[str, Any](group=3, before=0)
    count = 3 * int(np.prod(shape[2:]))
    x, dy = (device.put(device.normal(*shape) + i, dtype, True) for i in (8, 0))
    made, wanted = [device.empty(rows, "f32") for _ in range(4)], [np.zeros(rows) for _ in range(4)]
    work = device.empty((channels.two_sums_workspace(rows, shape) // 4,), "f32")
    same = dict[str, Any](work=work, stream=device.stream, **at)
    mean, var, *slopes = made
    channels.bn_moments(mean, var, x, **same)
    KERNELS["grouped_mean"](wanted[0], device.get(x), count=count, **at)
    KERNELS["grouped_var"](wanted[1], device.get(x), wanted[0], count=count, **at)
    inputs = (x, mean, var, dy)
    channels.bn_slopes(slopes[0], slopes[1], *inputs, eps=1e-3, **same)
    numbers = [device.get(each) for each in inputs]
    KERNELS["grouped_dgamma"](wanted[2], *numbers, eps=1e-3, **at)
    KERNELS["grouped_dbeta"](wanted[3], numbers[3], **at)
    for block, value, scale in zip(made, wanted, (0, 4, *[3 * np.sqrt(count)] * 2), strict=True):
        device.assert_near(block, value, float(scale))
    device.check_guards()


@TYPES
def test_sums_repeat_to_the_bit(device: Any, dtype: str) -> None:
    shape = (6, 72, 31, 29)
    dy, out = device.put(device.normal(*shape), dtype, True), device.empty((72,), "f32")
    results = []
    for _ in range(3):
        work = device.empty((channels.sums_workspace((shape[1],), shape) // 4,), "f32")
        channels.bias_db(out, dy, work=work, stream=device.stream)
        results.append(device.get(out))
    assert (results[0] == results[1]).all() and (results[0] == results[2]).all()
