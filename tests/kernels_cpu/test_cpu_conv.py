"""Every variant of the convolutions against the reference."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from _pytest.mark.structures import ParameterSet
from numpy.typing import NDArray

pytest.importorskip("numba")

from netc_kernels.cpu import pool
from netc_kernels.cpu.shape import ConvShape
from netc_kernels.cpu.table import IMPLEMENTATIONS, Implementation
from netc_kernels.cpu.threads import Pool
from netc_kernels.reference import KERNELS

Array = NDArray[Any]
TOLERANCE = {"winograd": 3e-6, "blas": 1e-6, "direct": 1e-6}
"""The relative error of a whole tensor in the 2-norm, against float64."""
PASSES = "conv", "conv_dx", "conv_dw"

SHAPES = {
    "one pixel": ConvShape(1, 1, 1, (1, 1), (1, 1)),
    "one pixel, padded": ConvShape(1, 3, 2, (1, 1), (3, 3), (1, 1), (1, 1, 1, 1)),
    "no padding": ConvShape(2, 5, 7, (9, 6), (3, 3)),
    "uneven padding": ConvShape(2, 17, 33, (9, 6), (3, 3), (1, 1), (0, 2, 1, 0)),
    "more padding than window": ConvShape(1, 17, 20, (4, 4), (3, 3), (1, 1), (4, 4, 4, 4)),
    "many tiles": ConvShape(3, 16, 32, (30, 21), (3, 3), (1, 1), (1, 1, 1, 1)),
    "groups": ConvShape(2, 24, 40, (13, 14), (3, 3), (1, 1), (1, 1, 1, 1), 2),
    "many channels": ConvShape(1, 256, 288, (8, 8), (3, 3), (1, 1), (1, 1, 1, 1)),
    "few channels": ConvShape(2, 3, 8, (9, 11), (3, 3), (1, 1), (1, 1, 1, 1)),
    "first of ResNet": ConvShape(2, 3, 40, (19, 21), (7, 7), (2, 2), (3, 3, 3, 3)),
    "first of AlexNet": ConvShape(2, 3, 40, (23, 21), (11, 11), (4, 4)),
    "first of AlexNet, padded": ConvShape(3, 3, 70, (25, 33), (11, 11), (4, 4), (2, 2, 2, 2)),
    "7x7, uneven padding": ConvShape(1, 4, 9, (20, 17), (7, 7), (2, 2), (0, 5, 3, 1)),
    "7x7, stride 3": ConvShape(2, 5, 33, (22, 19), (7, 7), (3, 3), (1, 2, 3, 0)),
    "6x5, strides 2 and 1": ConvShape(1, 9, 12, (15, 11), (6, 3), (2, 1), (2, 2, 1, 1)),
    "9x9, more padding than window": ConvShape(1, 2, 5, (3, 4), (9, 9), (2, 2), (11, 10, 12, 13)),
    "7x7, many channels": ConvShape(1, 150, 70, (12, 13), (7, 7), (2, 2), (3, 3, 3, 3)),
    "7x7, stride, groups": ConvShape(2, 6, 10, (12, 13), (7, 7), (2, 2), (3, 3, 3, 3), 2),
    "12x12, one pixel": ConvShape(2, 3, 40, (12, 12), (12, 12), (4, 4)),
    "4x4": ConvShape(3, 17, 33, (15, 23), (4, 4), (1, 1), (1, 2, 2, 1)),
    "4x4, groups": ConvShape(2, 36, 80, (9, 11), (4, 4), (1, 1), (2, 1, 1, 2), 2),
    "4x4, more padding than window": ConvShape(1, 7, 5, (4, 4), (4, 4), (1, 1), (5, 5, 5, 5)),
    "4x4, many channels": ConvShape(1, 256, 288, (8, 8), (4, 4), (1, 1), (1, 2, 2, 1)),
    "1x1": ConvShape(2, 37, 40, (9, 11), (1, 1)),
    "1x1, many pixels": ConvShape(3, 8, 20, (17, 16), (1, 1)),
    "1x1, stride": ConvShape(2, 37, 40, (9, 11), (1, 1), (2, 2)),
    "1x1, groups": ConvShape(2, 36, 40, (9, 11), (1, 1), (1, 1), (0, 0, 0, 0), 2),
    "1x1, padding": ConvShape(2, 18, 20, (3, 5), (1, 1), (1, 1), (1, 0, 0, 2)),
    "5x5": ConvShape(3, 17, 33, (15, 22), (5, 5), (1, 1), (2, 2, 2, 2)),
    "5x5, one pixel": ConvShape(1, 18, 17, (1, 1), (5, 5), (1, 1), (2, 2, 2, 2)),
    "5x5, uneven padding": ConvShape(2, 8, 40, (9, 6), (5, 5), (1, 1), (0, 3, 1, 0)),
    "5x5, more padding than window": ConvShape(1, 7, 5, (4, 4), (5, 5), (1, 1), (6, 6, 6, 6)),
    "5x5, many channels": ConvShape(1, 256, 288, (8, 8), (5, 5), (1, 1), (2, 2, 2, 2)),
    "5x5, groups": ConvShape(2, 36, 40, (9, 11), (5, 5), (1, 1), (2, 2, 2, 2), 2),
    "uneven everything": ConvShape(2, 36, 40, (9, 11), (3, 2), (2, 3), (1, 0, 2, 1), 2),
    "pixels behind the windows": ConvShape(3, 4, 4, (3, 1), (2, 1), (2, 2), (0, 0, 0, 0), 2),
    "columns behind the windows": ConvShape(2, 19, 20, (4, 7), (2, 2), (2, 2)),
    "stride past window": ConvShape(1, 19, 20, (5, 5), (2, 2), (3, 3)),
    "stride past image": ConvShape(2, 16, 20, (1, 2), (3, 3), (2, 3), (1, 1, 1, 1)),
    "1x1, deep": ConvShape(3, 512, 40, (9, 11), (1, 1)),
    "1x1, deep, stride": ConvShape(2, 256, 512, (9, 11), (1, 1), (2, 2)),
    "1x1, deep, groups": ConvShape(2, 1024, 70, (5, 9), (1, 1), (1, 1), (0, 0, 0, 0), 2),
    "deep, stride": ConvShape(1, 512, 512, (6, 7), (3, 3), (2, 2), (1, 1, 1, 1)),
    "more windows than are laid out at a time": ConvShape(
        3, 512, 16, (30, 21), (3, 3), (2, 2), (1, 1, 1, 1)
    ),
    "deep": ConvShape(1, 300, 9, (6, 7), (3, 3), (2, 2), (1, 1, 1, 1)),
    "no images": ConvShape(0, 16, 16, (5, 5), (3, 3), (1, 1), (1, 1, 1, 1)),
    "no images, stride": ConvShape(0, 3, 4, (15, 15), (11, 11), (4, 4)),
}
FUSED = "groups", "1x1", "4x4", "5x5, groups", "first of AlexNet", "uneven everything"
"""Shapes that are tried with what is done besides a convolution."""

POOLED = (
    ConvShape(3, 8, 32, (14, 22), (3, 3), (1, 1), (1, 1, 1, 1)),
    ConvShape(1, 6, 16, (4, 5), (3, 3), (1, 1), (0, 0, 0, 1)),
    ConvShape(2, 36, 96, (10, 12), (5, 5), (1, 1), (2, 2, 2, 2), 2),
    ConvShape(1, 256, 288, (8, 8), (3, 3), (1, 1), (1, 1, 1, 1)),
    ConvShape(2, 3, 48, (31, 39), (11, 11), (4, 4)),
    ConvShape(2, 64, 80, (30, 18), (3, 3), (1, 1), (1, 1, 1, 1)),
)
"""Shapes whose outputs are pooled before they are written; the fourth shares out positions."""


def cases(names: Iterable[str], *passes: str) -> list[ParameterSet]:
    """Every variant of some passes with every shape that it is for."""
    return [
        pytest.param(op, variant, SHAPES[name], id=f"{op}-{variant.name}-{name}")
        for op in passes
        for variant in IMPLEMENTATIONS[op]
        for name in names
        if variant.applies(SHAPES[name])
    ]


def scratch(size: int) -> Array:
    """Scratch memory that is garbage at first, with a guard after its end."""
    return np.full(size // 4 + 64, np.nan, np.float32)


def operands(op: str, shape: ConvShape) -> tuple[Array, Array, Array]:
    """Return an output full of garbage and the inputs, as the CPU's kernels take them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((shape.images, *shape.image, shape.channels), np.float32)
    y = rng.standard_normal((shape.images, *shape.outputs, shape.filters), np.float32)
    per_group = shape.channels // shape.groups
    w = rng.standard_normal((shape.filters, per_group, *shape.size), np.float32)
    out, one, other = {"conv": (y, x, w), "conv_dx": (x, y, w), "conv_dw": (w, x, y)}[op]
    return np.full_like(out, np.nan), one, other


def first_channels(x: Array) -> Array:
    return np.moveaxis(x, 3, 1)


def expected(op: str, shape: ConvShape, out: Array, a: Array, b: Array) -> Array:
    """Compute in float64 by the reference, in the layout of `out`."""
    result = np.empty(out.shape)
    views = [np.asarray(array, np.float64) for array in (a, b)]
    views[0] = first_channels(views[0])
    views[1] = first_channels(views[1]) if op == "conv_dw" else views[1]
    attributes: dict[str, Any] = {"stride": shape.stride, "pad": shape.pad, "groups": shape.groups}
    target = result if op == "conv_dw" else first_channels(result)
    KERNELS[op](target, *views, **attributes, filters=shape.filters, first_filter=0)
    return result


def run(
    op: str, variant: Implementation, shape: ConvShape, pool: Pool, *more: Any
) -> tuple[Array, tuple[Array, Array]]:
    out, a, b = operands(op, shape)
    size = variant.workspace_bytes(shape, pool.threads)
    work = scratch(size)
    variant.run(out, a, b, shape, work, pool, *more)
    assert np.isnan(work[size // 4 :]).all(), "it wrote past its workspace"
    return out, (a, b)


def assert_near(actual: Array, wanted: Array, tolerance: float) -> None:
    assert np.linalg.norm(actual - wanted) <= tolerance * np.linalg.norm(wanted)


@pytest.mark.parametrize(("op", "variant", "shape"), cases(SHAPES, *PASSES))
def test_equals_reference(op: str, variant: Implementation, shape: ConvShape) -> None:
    for threads in (1, 3):
        with Pool(threads) as pool:
            out, inputs = run(op, variant, shape, pool)
        assert_near(out, expected(op, shape, out, *inputs), TOLERANCE[variant.name])


@pytest.mark.parametrize(("op", "variant", "shape"), cases(FUSED, "conv"))
@pytest.mark.parametrize("relu", [False, True])
def test_bias_and_relu(op: str, variant: Implementation, shape: ConvShape, relu: bool) -> None:
    bias = np.random.default_rng(1).standard_normal(shape.filters).astype(np.float32)
    with Pool(2) as pool:
        out, inputs = run(op, variant, shape, pool, bias, relu)
    wanted = expected(op, shape, out, *inputs) + bias
    assert_near(out, np.maximum(wanted, 0) if relu else wanted, TOLERANCE[variant.name])


@pytest.mark.parametrize("shape", POOLED)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("threads", "equal"), [(1, False), (3, False), (2, True)])
def test_pooled_at_once(shape: ConvShape, relu: bool, threads: int, equal: bool) -> None:
    """As by the kernels of both, and so are the gradients, to the bit; also of equal pixels."""
    (variant,) = (each for each in IMPLEMENTATIONS["conv"] if each.name == "winograd")
    assert variant.pools(shape, (2, 2), (2, 2), (0, 0, 0, 0))
    rng = np.random.default_rng(1)
    bias = rng.standard_normal(shape.filters).astype(np.float32)
    rows, columns = (extent // 2 for extent in shape.outputs)
    y, wanted = np.full((2, shape.images, rows, columns, shape.filters), np.nan, np.float32)
    dy, places = rng.standard_normal(y.shape).astype(np.float32), np.full(y.shape, 9, np.uint8)
    with Pool(threads) as threads_:
        image, (x, w) = run("conv", variant, shape, threads_, bias, relu)
        if equal:  # all pixels of a window are its bias
            x[...] = 0
            image[...] = np.maximum(bias, 0) if relu else bias
        over = pool.windows(image, y, (2, 2), (2, 2), (0, 0, 0, 0))
        pool.maxpool(wanted, image, over, threads_)
        size = variant.workspace_bytes(shape, threads)
        work = scratch(size)
        for noted in (places[:0], places):
            y[...] = np.nan
            variant.run(y, x, w, shape, work, threads_, bias, relu, True, noted)
            np.testing.assert_array_equal(y, wanted)
        assert np.isnan(work[size // 4 :]).all(), "it wrote past its workspace"
        dx, wanted_dx = np.full((2, *image.shape), np.nan, np.float32)
        pool.maxpool_dx(wanted_dx, image, y, dy, over, threads_, relu)
        over = pool.windows(dx, dy, (2, 2), (2, 2), (0, 0, 0, 0))
        pool.maxpool_places_dx(dx, places, dy, over, threads_)
    np.testing.assert_array_equal(dx, wanted_dx)
    assert (places == 4).any() == relu


def test_which_pooling_is_done_at_once() -> None:
    (winograd,) = (each for each in IMPLEMENTATIONS["conv"] if each.name == "winograd")
    fits, none = ((2, 2), (2, 2)), (0, 0, 0, 0)
    even = ConvShape(2, 8, 32, (12, 10), (3, 3), (1, 1), (1, 1, 1, 1))
    assert winograd.pools(even, *fits, none)
    assert not winograd.pools(even, *fits, (0, 1, 0, 0))
    assert not winograd.pools(even, (3, 3), (2, 2), none)
    assert not winograd.pools(even, (2, 2), (1, 1), none)
    assert not winograd.pools(replace(even, image=(12, 11)), *fits, none)
    assert not winograd.pools(replace(even, filters=33), *fits, none)
    assert not winograd.pools(replace(even, filters=40, groups=2), *fits, none)
    assert not winograd.pools(replace(even, size=(4, 4), pad=(1, 2, 1, 2)), *fits, none)
    others = [each for each in IMPLEMENTATIONS["conv"] if each.name != "winograd"]
    assert not any(each.pools(even, *fits, none) for each in others)


@pytest.mark.parametrize(("op", "variant", "shape"), cases(FUSED, "conv_dx"))
def test_slope_of_relu(op: str, variant: Implementation, shape: ConvShape) -> None:
    size = (shape.images, *shape.image, shape.channels)
    positive = np.random.default_rng(1).standard_normal(size).astype(np.float32)
    with Pool(2) as pool:
        out, inputs = run(op, variant, shape, pool, positive)
    wanted = expected(op, shape, out, *inputs) * (positive > 0)
    assert_near(out, wanted, TOLERANCE[variant.name])
    assert not out[positive <= 0].any()


@pytest.mark.parametrize("op", PASSES)
@pytest.mark.parametrize("size", [(3, 3), (4, 4), (5, 5), (1, 1)])
def test_long_sums_stay_exact(op: str, size: tuple[int, int]) -> None:
    shape = ConvShape(2, 512, 512, (8, 8), size, (1, 1), (size[0] // 2,) * 4)
    wanted = expected(op, shape, *operands(op, shape))
    for variant in IMPLEMENTATIONS[op]:
        if variant.applies(shape):
            with Pool(2) as pool:
                out, _ = run(op, variant, shape, pool)
            assert_near(out, wanted, TOLERANCE[variant.name])


@pytest.mark.parametrize("op", PASSES)
def test_same_bits_every_time(op: str) -> None:
    shape = SHAPES["many tiles"]
    for variant in IMPLEMENTATIONS[op]:
        with Pool(3) as pool:
            results = [run(op, variant, shape, pool)[0] for _ in range(5)]
        assert all(np.array_equal(results[0], result) for result in results)


def test_two_pools_at_once() -> None:
    shape, results = SHAPES["many tiles"], {}

    def device(number: int) -> None:
        with Pool(2) as pool:
            results[number] = [
                run(op, variant, shape, pool)[0]
                for _ in range(5)
                for op in PASSES
                for variant in IMPLEMENTATIONS[op]
            ]

    device(0)
    others = [threading.Thread(target=device, args=(number,)) for number in (1, 2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    for number in (1, 2):
        for mine, theirs in zip(results[0], results[number], strict=True):
            np.testing.assert_array_equal(mine, theirs)
