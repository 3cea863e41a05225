"""Laws that every kernel obeys, checked on the same table of calls."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from kernel_oracles import Array, Call, assert_same, example_calls

from netc_kernels.reference import KERNELS
from netc_kernels.reference.activation import ACTIVATIONS


def channels_last(x: Array) -> Array:
    if x.ndim != 4:
        return x
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def column_major(x: Array) -> Array:
    return np.asfortranarray(x)


def piece_of_larger(x: Array) -> Array:
    larger = np.full(tuple(2 * length + 1 for length in x.shape), 55, x.dtype)
    piece = larger[tuple(slice(0, 2 * length, 2) for length in x.shape)]
    piece[...] = x
    return piece


def backwards(x: Array) -> Array:
    return np.flip(np.flip(x).copy())


LAYOUTS = (channels_last, column_major, piece_of_larger, backwards)


def relaid(layout: Callable[[Array], Array], x: Array) -> Array:
    """Lay an array out anew; one number has only one layout."""
    return layout(x) if x.ndim else x


def test_every_op_has_an_example() -> None:
    assert {example.op for example in example_calls(np.float64)} == set(KERNELS)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("n", "c", "k"), [(1, 6, 4), (3, 6, 4), (33, 40, 10)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strides_do_not_matter(
    layout: Callable[[Array], Array], n: int, c: int, k: int, dtype: type
) -> None:
    for example in example_calls(dtype, n=n, c=c, k=k):
        expected = example.run()
        inputs = tuple(relaid(layout, x) for x in example.inputs)
        assert_same(example.run(inputs=inputs), expected)
        assert_same(example.run(out=relaid(layout, np.full_like(expected, 7))), expected)


def widened(x: Array) -> Array:
    return x.astype(np.float64) if x.dtype == np.float32 else x


def test_float32_agrees_with_float64() -> None:
    for example in example_calls(np.float32):
        wide = replace(example, inputs=tuple(map(widened, example.inputs)))
        np.testing.assert_allclose(example.run(), wide.run(), 2e-5, 2e-5, err_msg=example.op)


@pytest.mark.parametrize("empty", ["n", "c", "k"])
def test_empty_shards(empty: str) -> None:
    for example in example_calls(np.float64, **{empty: 0}):
        out = example.run()
        if example.op != "row_max":  # -inf
            assert np.isfinite(out).all(), example.op
        if example.op in ("conv", "conv_dx", "conv_dw", "fc", "fc_dx", "fc_dw"):
            assert_same(out, np.zeros(example.shape))


def test_sums_over_an_empty_batch_are_zero() -> None:
    sums = {"conv_dw", "bias_db", "fc_dw", "bn_mean", "bn_var", "bn_dgamma", "ce_loss", "correct"}
    sums |= {"grouped_mean", "grouped_var", "grouped_dgamma", "grouped_dbeta"}
    for example in example_calls(np.float64, n=0):
        if example.op in sums | {"ce_loss_masked", "square_sum"}:
            assert_same(example.run(), np.zeros(example.shape))


IN_PLACE = [
    *[(op, 0) for op in (*ACTIVATIONS, "bias", "dropout", "bn_norm", "softmax_dx")],
    *[(f"{op}_dx", i) for op in ACTIVATIONS for i in (0, 1)],
    *[("sgd_apply", i) for i in (0, 1)],
    *[
        ("lrn_dx", 1),
        ("bn_dx", 6),
        ("bn_running", 0),
        ("inside_mean", 0),
        ("accumulate", 0),
        ("sgd_velocity", 0),
    ],
    *[("grouped_norm", 0), ("grouped_dx", 6)],
    *[("momentum_velocity", 0), ("nesterov_apply", 0)],
    *[("adam_moment1", 0), ("adam_moment2", 0), ("adam_apply", 0)],
    *[("rmsprop_velocity", 0), ("velocity_apply", 0), ("clipped", 0), ("average", 0)],
    *[("add", i) for i in range(3)],
]


@pytest.mark.parametrize(("op", "position"), IN_PLACE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_place(op: str, position: int, layout: Callable[[Array], Array]) -> None:
    for example in example_calls(np.float64):
        if example.op == op:
            inputs = [x.copy() for x in example.inputs]
            inputs[position] = relaid(layout, inputs[position])
            assert_same(example.run(inputs[position], tuple(inputs)), example.run())


def test_inputs_are_left_alone() -> None:
    for example in example_calls(np.float64):
        before = [x.copy() for x in example.inputs]
        example.run()
        for x, kept in zip(example.inputs, before, strict=True):
            assert_same(x, kept)


def test_many_threads_agree() -> None:
    calls = list(example_calls(np.float32)) * 8
    expected = [example.run() for example in calls]
    with ThreadPoolExecutor(8) as pool:
        for actual, value in zip(pool.map(Call.run, calls), expected, strict=True):
            assert_same(actual, value)
