"""Pooling and response normalization on a GPU against the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netc_kernels.cuda import lrn, pool
from netc_kernels.reference import KERNELS

pytestmark = pytest.mark.gpu

TYPES = pytest.mark.parametrize("dtype", ["f32", "bf16"])


POOLS = [
    # images, size, stride, pad, outputs
    ((2, 32, 6, 6), (2, 2), (2, 2), (0, 0, 0, 0), (3, 3)),
    ((2, 33, 7, 9), (2, 2), (2, 2), (0, 0, 0, 0), (3, 4)),
    ((1, 16, 37, 71), (3, 3), (2, 2), (0, 0, 0, 0), (18, 35)),
    ((2, 16, 7, 6), (3, 3), (2, 2), (0, 0, 0, 0), (3, 3)),
    ((2, 8, 6, 8), (3, 2), (2, 3), (1, 1, 1, 1), (4, 4)),
    ((2, 5, 7, 7), (2, 2), (3, 3), (0, 0, 0, 0), (3, 3)),
    ((3, 3, 17, 17), (3, 3), (1, 1), (1, 1, 1, 1), (17, 17)),
    ((1, 72, 20, 35), (3, 3), (1, 1), (1, 1, 1, 1), (20, 35)),
    ((1, 8, 5, 33), (2, 3), (1, 5), (0, 0, 1, 1), (4, 7)),
    ((1, 1, 1, 1), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ((2, 24, 7, 7), (7, 7), (7, 7), (0, 0, 0, 0), (1, 1)),
    ((2, 520, 8, 8), (8, 8), (8, 8), (0, 0, 0, 0), (1, 1)),
    ((1, 8, 30, 30), (13, 13), (2, 2), (0, 0, 0, 0), (9, 9)),
    ((1, 2056, 5, 5), (2, 2), (2, 2), (1, 0, 1, 0), (3, 3)),
    ((0, 8, 4, 4), (2, 2), (2, 2), (0, 0, 0, 0), (2, 2)),
    ((2, 0, 4, 4), (2, 2), (2, 2), (0, 0, 0, 0), (2, 2)),
]


@TYPES
@pytest.mark.parametrize(("shape", "size", "stride", "pad", "outputs"), POOLS)
def test_pooling(
    device: Any, shape: Any, size: Any, stride: Any, pad: Any, outputs: Any, dtype: str
) -> None:
    at = {"size": size, "stride": stride, "pad": pad}
    x = device.random.integers(-2, 4, shape) / 2.0  # many equal
    result = (*shape[:2], *outputs)
    dy, same = device.normal(*result), {"dtype": dtype, "told": at}
    y = device.get(device.check(pool.maxpool, "maxpool", result, x, **same))
    device.check(pool.maxpool_dx, "maxpool_dx", shape, x, y, dy, **same)
    device.check(
        pool.maxpool_dx, "maxpool_dx", shape, x, y, dy, joined={"relu": True}, shift=1,
        then=lambda dx: dx * (x > 0), **same,
    )  # fmt: skip
    device.check(pool.avgpool, "avgpool", result, x, **same)
    device.check(pool.avgpool_dx, "avgpool_dx", shape, dy, **same)


@TYPES
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("shape", "size", "stride", "pad", "outputs"), POOLS)
def test_places_of_maxima(
    device: Any, shape: Any, size: Any, stride: Any, pad: Any, outputs: Any, dtype: str, relu: bool
) -> None:
    at: Any = {"size": size, "stride": stride, "pad": pad}
    x = device.random.integers(0 if relu else -2, 4, shape) / 2.0  # many equal
    result = (*shape[:2], *outputs)
    y, dy, places = np.zeros(result), device.normal(*result), np.zeros(result, np.uint8)
    KERNELS["maxpool"](y, x, **at)
    KERNELS["maxpool_places"](places, x, y, relu=relu, **at)
    blocks = [device.put(each, dtype, True) for each in (x, y, dy)]
    noted = device.empty(result, "u8", True)
    pool.maxpool_places(noted, *blocks[:2], relu=relu, stream=device.stream, **at)
    np.testing.assert_array_equal(device.get(noted), places)
    dx, wanted = device.empty(shape, dtype, True), np.zeros(shape)
    pool.maxpool_places_dx(dx, noted, blocks[2], stream=device.stream, **at)
    KERNELS["maxpool_places_dx"](wanted, places, device.get(blocks[2]), **at)
    device.assert_near(dx, wanted)
    device.check_guards()


@TYPES
@pytest.mark.parametrize(
    ("shape", "stride", "pad", "outputs"),
    [((2, 8, 6, 9), (2, 2), (2, 0, 1, 0), (4, 5)), ((1, 16, 3, 4), (1, 1), (2, 2, 0, 2), (5, 4))],
)
def test_gradients_of_pooling_of_a_part(
    device: Any, shape: Any, stride: Any, pad: Any, outputs: Any, dtype: str
) -> None:
    """Windows that begin far before it: all but one of their rows are elsewhere."""
    at: Any = {"size": (3, 3), "stride": stride, "pad": pad}
    dy = device.normal(*shape[:2], *outputs)
    device.check(pool.avgpool_dx, "avgpool_dx", shape, dy, dtype=dtype, told=at)
    places = device.random.integers(0, 10, dy.shape).astype(np.uint8)
    dx, share = device.empty(shape, dtype, True), device.put(dy, dtype, True)
    noted, wanted = device.put(places, "u8", True), np.zeros(shape)
    pool.maxpool_places_dx(dx, noted, share, stream=device.stream, **at)
    KERNELS["maxpool_places_dx"](wanted, places, device.get(share), **at)
    device.assert_near(dx, wanted)


@TYPES
@pytest.mark.parametrize("size", [2, 5, 9])
@pytest.mark.parametrize("own", [(0, 8), (8, 16), (5, 12), (22, 24)])
def test_lrn_of_some_channels(device: Any, own: tuple[int, int], size: int, dtype: str) -> None:
    """What sums over neighbours need of them is there."""
    at = {"size": size, "alpha": 0.3, "beta": 0.75, "k": 2.0}
    before, after = size // 2, (size - 1) // 2
    near = slice(max(own[0] - after, 0), min(own[1] + before, 24))
    far = slice(max(own[0] - size + 1, 0), min(own[1] + size - 1, 24))
    x, dy = device.normal(2, 24, 5, 7), device.normal(2, 24, 5, 7)
    shape = (2, own[1] - own[0], 5, 7)
    same: Any = {"dtype": dtype, "told": at | {"inside": (own[0] - far.start,)}}
    device.check(lrn.lrn, "lrn", shape, x[:, far], **same)
    same["told"] = at | {"inside": (own[0] - far.start, own[0] - near.start)}
    device.check(lrn.lrn_dx, "lrn_dx", shape, x[:, far], dy[:, near], **same)


@TYPES
@pytest.mark.parametrize(
    ("channels_", "size", "beta"),
    [(96, 5, 0.75), (7, 4, 0.6), (40, 1, 0.75), (3, 9, 0.75), (64, 2, 0.75), (264, 5, 0.75),
     (24, 9, 0.5), (16, 5, 0.75), (1000, 3, 0.75)],
)  # fmt: skip
def test_lrn(device: Any, channels_: int, size: int, beta: float, dtype: str) -> None:
    shape, at = (2, channels_, 5, 7), {"size": size, "alpha": 0.3, "beta": beta, "k": 2.0}
    x, dy, same = device.normal(*shape), device.normal(*shape), {"dtype": dtype, "told": at}
    x[0, :, 0, 0] *= 100
    device.check(lrn.lrn, "lrn", shape, x, **same)
    device.check(lrn.lrn, "lrn", shape, x, shift=1, **same)
    for over in (None, 1):
        device.check(lrn.lrn_dx, "lrn_dx", shape, x, dy, over=over, **same)
    device.check(
        lrn.lrn_dx, "lrn_dx", shape, x, dy, joined={"relu": True}, then=lambda dx: dx * (x > 0),
        **same,
    )  # fmt: skip


@TYPES
def test_lrn_of_nothing(device: Any, dtype: str) -> None:
    at = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0}
    for shape in ((0, 8, 3, 3), (2, 0, 3, 3)):
        x = device.normal(*shape)
        device.check(lrn.lrn, "lrn", shape, x, dtype=dtype, told=at)
        device.check(lrn.lrn_dx, "lrn_dx", shape, x, x, dtype=dtype, told=at)


@TYPES
@pytest.mark.parametrize("channel_count", [3, 16])
def test_means_inside_an_image(device: Any, channel_count: int, dtype: str) -> None:
    """A part of the means, from the second row and third column of windows on."""
    told = {
        "size": (3, 2), "stride": (2, 1), "around": (1, 1, 0, 1), "image": (9, 8),
        "shape": (2, channel_count, 5, 8), "offset": (0, 0, 1, 2),
    }  # fmt: skip
    part = (2, channel_count, 4, 6)
    x = device.normal(*part)
    device.check(pool.inside_mean, "inside_mean", part, x, dtype=dtype, told=told)
