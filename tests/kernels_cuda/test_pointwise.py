"""Convolutions of 1 by 1 pixel, and what is made with them, against the reference in float64: sums
are those of what was stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netc_kernels.cuda.conv import pointwise, products
from netc_kernels.cuda.conv.pointwise import PointwiseProduct
from netc_kernels.reference import KERNELS

pytestmark = pytest.mark.gpu
CASES = pytest.mark.parametrize(
    ("images", "side", "channels", "filters"),
    [
        (3, 7, 64, 64),
        (2, 5, 48, 40),
        (5, 9, 512, 192),
        (1, 1, 8, 8),
        (3, 13, 200, 320),
        (40, 28, 512, 128),
        (64, 14, 256, 1024),
    ],
)
"""Few rows; ends of tiles in all three ways; all stages again and again, by both warpgroups."""


def attributes(filters: int) -> dict[str, Any]:
    return {"stride": (1, 1), "pad": (0,) * 4, "groups": 1, "filters": filters, "first_filter": 0}


def near(found: Any, wanted: Any, relative: float) -> None:
    assert np.linalg.norm(found - wanted) <= relative * np.linalg.norm(wanted)


def work_of(device: Any, rows: int, columns: int, terms: int) -> Any:
    nbytes = PointwiseProduct(rows, columns, terms).partial_bytes
    return device.empty((nbytes // 4,), "f32")


@pytest.fixture(autouse=True)
def hopper(device: Any) -> None:
    if not products.hopper():
        pytest.skip("these kernels are for Hopper's chips")


@CASES
def test_forward_with_moments(
    device: Any, images: int, side: int, channels: int, filters: int
) -> None:
    shape = images, filters, side, side
    x = device.put(device.normal(images, channels, side, side), "bf16", True)
    w = device.put(device.normal(filters, channels, 1, 1) + 0.1, "bf16", True)
    rows = images * side * side
    wanted = np.empty(shape)
    KERNELS["conv"](wanted, device.get(x), device.get(w), **attributes(filters))
    work = work_of(device, rows, filters, channels)
    made = [device.empty(shape, "bf16", True) for _ in range(3)]
    mean, var = (device.empty((filters,), "f32") for _ in range(2))
    sums = device.empty((filters, 2), "f64")
    pointwise.conv(made[0], x, w, device.stream)
    pointwise.conv_moments(made[1], mean, var, x, w, work=work, stream=device.stream)
    told = {"count": 3 * rows, "work": work, "stream": device.stream}
    pointwise.conv_sums(made[2], sums, x, w, **told)
    for each in made:
        near(device.get(each), wanted, 4e-3)
        np.testing.assert_array_equal(device.get(each), device.get(made[0]))
    stored = device.get(made[0])
    near(device.get(mean), stored.mean((0, 2, 3)), 1e-5)
    near(device.get(var), stored.var((0, 2, 3)), 1e-4)
    pairs = np.stack([stored.sum((0, 2, 3)), (stored**2).sum((0, 2, 3))], 1) / (3 * rows)
    near(device.get(sums), pairs, 1e-5)
    device.check_guards()


@CASES
@pytest.mark.parametrize("added", [False, True])
def test_gradients_with_slopes(
    device: Any, images: int, side: int, channels: int, filters: int, added: bool
) -> None:
    shape, rows = (images, filters, side, side), images * side * side
    dy = device.put(device.normal(images, channels, side, side), "bf16", True)
    w = device.put(device.normal(channels, filters, 1, 1), "bf16", True)
    y, x, other = (device.put(device.normal(*shape) + i % 2, "bf16", True) for i in range(3))
    mean, var = (device.put(device.normal(filters) ** 2 + 0.5, "f32") for _ in range(2))
    alone, made = (device.empty(shape, "bf16", True) for _ in range(2))
    dgamma, dbeta = (device.empty((filters,), "f32") for _ in range(2))
    pointwise.conv_dx(alone, dy, w, device.stream, None)
    wanted = np.empty(shape)
    KERNELS["conv_dx"](wanted, device.get(dy), device.get(w), **attributes(channels))
    near(device.get(alone), wanted, 4e-3)
    told = {"eps": 1e-3, "work": work_of(device, rows, filters, channels), "stream": device.stream}
    results, norm = (made, dgamma, dbeta), (x, mean, var)
    if added:
        pointwise.conv_dx_add_slopes(*results, dy, w, other, y, *norm, **told)
    else:
        pointwise.conv_dx_slopes(*results, dy, w, y, *norm, **told)
    stored = device.get(made)
    summed = device.get(alone) + (device.get(other) if added else 0)
    near(stored, np.where(device.get(y) > 0, summed, 0), 3e-3 if added else 0)
    slopes = [np.empty(filters) for _ in range(2)]
    KERNELS["bn_dgamma"](slopes[0], *(device.get(each) for each in norm), stored, eps=1e-3)
    KERNELS["bias_db"](slopes[1], stored)
    near(device.get(dgamma), slopes[0], 1e-4)
    near(device.get(dbeta), slopes[1], 1e-4)
    device.check_guards()
