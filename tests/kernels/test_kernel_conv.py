"""Convolution: loops, differences, and the laws of its splits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_oracles import Array, Windows, assert_close, call, naive_conv, numeric_gradient

# (images, channels, height, width), filters, groups, windows
CASES = [
    ((2, 3, 5, 4), 4, 1, Windows((3, 3), pad=(1, 1, 1, 1))),
    ((1, 2, 7, 6), 3, 1, Windows((3, 2), (2, 3), (1, 0, 0, 2))),
    ((2, 4, 5, 5), 6, 2, Windows((3, 3), (2, 2), (2, 1, 0, 1))),
    ((1, 4, 3, 3), 4, 4, Windows((2, 3), pad=(0, 1, 1, 1))),
    ((2, 3, 1, 1), 2, 1, Windows((1, 1))),
    ((1, 2, 1, 1), 2, 1, Windows((5, 5), pad=(2, 2, 2, 2))),
    ((1, 1, 6, 7), 2, 1, Windows((2, 2), (4, 4))),
    ((2, 2, 5, 6), 2, 1, Windows((1, 1), (2, 2))),
]


def example(
    shape: tuple[int, ...], filters: int, groups: int, windows: Windows, seed: int = 0
) -> tuple[Array, Array, Array, dict[str, Any]]:
    """Return x, w, dy and the attributes of a convolution."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    w = rng.standard_normal((filters, shape[1] // groups, *windows.size))
    dy = rng.standard_normal((shape[0], filters, *windows.outputs(*shape[2:])))
    attributes = {"stride": windows.stride, "pad": windows.pad, "groups": groups}
    return x, w, dy, {**attributes, "filters": filters, "first_filter": 0}


@pytest.mark.parametrize(("shape", "filters", "groups", "windows"), CASES)
def test_forward_equals_nested_loops(
    shape: tuple[int, ...], filters: int, groups: int, windows: Windows
) -> None:
    x, w, dy, attributes = example(shape, filters, groups, windows)
    assert_close(call("conv", dy.shape, x, w, **attributes), naive_conv(x, w, windows, groups))


@pytest.mark.parametrize(("shape", "filters", "groups", "windows"), CASES)
def test_backward_equals_differences(
    shape: tuple[int, ...], filters: int, groups: int, windows: Windows
) -> None:
    x, w, dy, attributes = example(shape, filters, groups, windows)
    dx = numeric_gradient(lambda x: call("conv", dy.shape, x, w, **attributes), x, dy)
    assert_close(call("conv_dx", x.shape, dy, w, **attributes), dx)
    dw = numeric_gradient(lambda w: call("conv", dy.shape, x, w, **attributes), w, dy)
    assert_close(call("conv_dw", w.shape, x, dy, **attributes), dw)


@st.composite
def splits(draw: st.DrawFn) -> tuple[tuple[Any, ...], list[int]]:
    """Draw a convolution, and cuts of its filters that need not fall between groups."""
    groups = draw(st.sampled_from([1, 2, 3, 4]))
    filters = groups * draw(st.integers(1, 4))
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pad = draw(st.tuples(*[st.integers(0, 2)] * 4))
    shape = (2, groups * draw(st.integers(1, 2)), draw(st.integers(3, 6)), 5)
    cuts = sorted(draw(st.lists(st.integers(0, filters), max_size=4)))
    return (shape, filters, groups, Windows(size, stride, pad)), [0, *cuts, filters]


@settings(max_examples=60, deadline=None)
@given(splits())
def test_filter_shards(split: tuple[tuple[Any, ...], list[int]]) -> None:
    case, cuts = split
    x, w, dy, whole = example(*case)
    y, dw, dx = [], [], np.zeros(x.shape)
    for start, stop in pairwise(cuts):
        part, attributes = dy[:, start:stop], {**whole, "first_filter": start}
        y.append(call("conv", part.shape, x, w[start:stop], **attributes))
        dw.append(call("conv_dw", w[start:stop].shape, x, part, **attributes))
        dx += call("conv_dx", x.shape, part, w[start:stop], **attributes)
    assert_close(np.concatenate(y, 1), call("conv", dy.shape, x, w, **whole))
    assert_close(np.concatenate(dw), call("conv_dw", w.shape, x, dy, **whole))
    assert_close(dx, call("conv_dx", x.shape, dy, w, **whole))


@pytest.mark.parametrize("cuts", [(0, 2, 5), (0, 0, 5), (0, 1, 2, 3, 4, 5, 5)])
def test_channel_shards(cuts: tuple[int, ...]) -> None:
    x, w, dy, attributes = example((2, 5, 6, 4), 3, 1, Windows((3, 3), (2, 1), (1, 0, 2, 1)))
    y, dx, dw = np.zeros(dy.shape), [], []
    for start, stop in pairwise(cuts):
        part, filters = x[:, start:stop], w[:, start:stop]
        y += call("conv", dy.shape, part, filters, **attributes)
        dx.append(call("conv_dx", part.shape, dy, filters, **attributes))
        dw.append(call("conv_dw", filters.shape, part, dy, **attributes))
    assert_close(y, call("conv", dy.shape, x, w, **attributes))
    assert_close(np.concatenate(dx, 1), call("conv_dx", x.shape, dy, w, **attributes))
    assert_close(np.concatenate(dw, 1), call("conv_dw", w.shape, x, dy, **attributes))


def test_more_images_than_the_cache_holds() -> None:
    x, w, dy, attributes = example((20, 8, 12, 12), 4, 2, Windows((3, 3), pad=(1, 1, 1, 1)))
    y = call("conv", dy.shape, x, w, **attributes)
    dx = call("conv_dx", x.shape, dy, w, **attributes)
    dw = np.zeros(w.shape)
    for i in range(len(x)):
        one, dy_one = x[i : i + 1], dy[i : i + 1]
        assert_close(y[i : i + 1], call("conv", dy_one.shape, one, w, **attributes))
        assert_close(dx[i : i + 1], call("conv_dx", one.shape, dy_one, w, **attributes))
        dw += call("conv_dw", w.shape, one, dy_one, **attributes)
    assert_close(call("conv_dw", w.shape, x, dy, **attributes), dw)


def test_no_output_rows() -> None:
    attributes = {"stride": (1, 1), "pad": (0,) * 4, "groups": 1, "filters": 3, "first_filter": 0}
    x, w, dy = np.ones((2, 3, 0, 4)), np.ones((3, 3, 1, 1)), np.ones((2, 3, 0, 4))
    assert call("conv", dy.shape, x, w, **attributes).size == 0
    assert not call("conv_dx", (2, 3, 2, 4), dy, w, **attributes).any()
    assert not call("conv_dw", w.shape, x, dy, **attributes).any()
