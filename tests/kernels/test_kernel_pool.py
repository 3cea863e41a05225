"""Pooling: loops, differences, ties, and windows that run past the padding."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_oracles import (
    Windows,
    assert_close,
    assert_same,
    call,
    naive_pool,
    numeric_gradient,
)

from netc_kernels.reference.pool import maxpool_places, maxpool_places_dx

CASES = [
    ((2, 3, 6, 6), Windows((2, 2), (2, 2))),
    ((1, 2, 7, 5), Windows((3, 3), (2, 2))),
    ((2, 2, 7, 6), Windows((3, 3), (2, 2), ceil=True)),
    ((1, 2, 6, 8), Windows((3, 2), (2, 3), (1, 1, 1, 1), ceil=True)),
    ((1, 2, 5, 7), Windows((3, 4), (2, 3), (1, 0, 0, 2))),
    ((2, 1, 5, 4), Windows((3, 3), (1, 1), (1, 1, 1, 1))),
    ((1, 3, 1, 1), Windows((1, 1))),
    ((1, 1, 1, 1), Windows((3, 3), (2, 2), (1, 1, 1, 1))),
    ((2, 2, 7, 7), Windows((2, 2), (3, 3), ceil=True)),
    ((3, 4, 4, 5), Windows((4, 5))),
]


@pytest.mark.parametrize(("shape", "windows"), CASES)
@pytest.mark.parametrize("ties", [False, True])
def test_equals_loops(shape: tuple[int, ...], windows: Windows, ties: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(-2, 1, shape).astype(float) if ties else rng.standard_normal(shape) - 3
    maxima, where, averages = naive_pool(x, windows)
    attributes, dy = windows.attributes, rng.standard_normal(maxima.shape)
    assert_same(call("maxpool", maxima.shape, x, **attributes), maxima)
    assert_close(call("avgpool", maxima.shape, x, **attributes), averages)
    dx = np.zeros(shape)
    for n, c, p, q in np.ndindex(maxima.shape):
        dx[n, c][tuple(where[n, c, p, q])] += dy[n, c, p, q]
    assert_close(call("maxpool_dx", shape, x, maxima, dy, **attributes), dx)


@pytest.mark.parametrize(("shape", "windows"), CASES)
def test_backward_equals_differences(shape: tuple[int, ...], windows: Windows) -> None:
    rng = np.random.default_rng(2)
    x = rng.permutation(np.prod(shape)).reshape(shape) * 0.1  # no two within a difference's step
    outputs = (*shape[:2], *windows.outputs(*shape[2:]))
    attributes, dy = windows.attributes, rng.standard_normal(outputs)
    y = call("maxpool", outputs, x, **attributes)
    dx = numeric_gradient(lambda x: call("maxpool", outputs, x, **attributes), x, dy)
    assert_close(call("maxpool_dx", shape, x, y, dy, **attributes), dx)
    dx = numeric_gradient(lambda x: call("avgpool", outputs, x, **attributes), x, dy)
    assert_close(call("avgpool_dx", shape, dy, **attributes), dx)


def test_padding_never_takes_a_gradient() -> None:
    x, attributes = np.full((1, 1, 2, 2), -np.inf), Windows((3, 3), (2, 2), (1, 1, 1, 1)).attributes
    y = call("maxpool", (1, 1, 1, 1), x, **attributes)
    dx = call("maxpool_dx", x.shape, x, y, np.ones((1, 1, 1, 1)), **attributes)
    assert_same(dx, [[[[1, 0], [0, 0]]]])


@pytest.mark.parametrize(
    "windows",
    [Windows((2, 2), (2, 2)), Windows((3, 3), (2, 2), (1, 1, 1, 0)), Windows((3, 2), (1, 2))],
)
@pytest.mark.parametrize("relu", [False, True])
def test_noted_places_lead_to_the_same_gradient(relu: bool, windows: Windows) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(-3, 3, (2, 3, 6, 8)).astype(float)  # many equal, some windows below 0
    x = np.maximum(x, 0) if relu else x
    attributes = windows.attributes
    dy = rng.standard_normal((2, 3, *windows.outputs(*x.shape[2:])))
    y = call("maxpool", dy.shape, x, **attributes)
    wanted = call("maxpool_dx", x.shape, x, y, dy, **attributes) * (x > 0 if relu else 1)
    places, dx = np.full(y.shape, 9, np.uint8), np.empty(x.shape)
    maxpool_places(places, x, y, relu=relu, **attributes)
    maxpool_places_dx(dx, places, dy, **attributes)
    assert_same(dx, wanted)
    assert (places == windows.size[0] * windows.size[1]).any() == relu
