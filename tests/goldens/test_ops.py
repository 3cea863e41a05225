"""Every op of the reference kernels gives PyTorch's numbers, on the calls listed in the golden file
(`make_ops.py` makes it)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open

from netc.ir import ops
from netc.ir.types import TensorType
from netc_kernels.reference import KERNELS

Array = NDArray[Any]
TOLERANCE = {np.float64: 1e-13, np.float32: 1e-6}
"""Relative L2 difference of a result; float32 starts from rounded inputs."""
OWN = {"dropout", "init_normal", "init_constant"}
"""Random numbers are netc's own."""
PLACING = {
    "cast", "copy", "concat_rows", "accumulate", "maxpool_places", "maxpool_places_dx",
    "square_sum", "clipped", "average", "bn_sums", "grouped_sums", "sums_mean", "sums_var",
}  # fmt: skip
"""Ops that only move, round, or add up what is there already, or do in two parts what is here in
one, or what is of all weights together; other tests hold these."""

with safe_open(Path(__file__).with_name("ops.safetensors"), "numpy") as file:
    TENSORS: dict[str, Array] = {name: file.get_tensor(name) for name in sorted(file.keys())}
    CALLS: list[dict[str, Any]] = json.loads(file.metadata()["goldens"])["calls"]


def frozen(value: Any) -> Any:
    return tuple(map(frozen, value)) if isinstance(value, list) else value


def attributes(call: dict[str, Any]) -> dict[str, Any]:
    return {name: frozen(value) for name, value in call["attributes"].items()}


def of_type(dtype: Any, x: Array) -> Array:
    return x.astype(dtype) if x.dtype == np.float64 else x


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call['op']} {call['case']}")
def test_equals_pytorch(call: dict[str, Any], dtype: Any) -> None:
    expected = TENSORS[call["expected"]]
    whole = np.issubdtype(expected.dtype, np.integer)
    out = np.full(expected.shape, -77 if whole else np.nan, expected.dtype if whole else dtype)
    inputs = [of_type(dtype, TENSORS[name]) for name in call["inputs"]]
    told = {name: value for name, value in attributes(call).items() if name != "ceil"}
    KERNELS[call["op"]](out, *inputs, **told)
    if whole:
        assert np.array_equal(out, expected)
    else:
        error = np.linalg.norm(out - expected) / (np.linalg.norm(expected) or 1.0)
        assert error <= TOLERANCE[dtype]


@pytest.mark.parametrize(
    "call",
    [call for call in CALLS if call["op"] in ("conv", "maxpool", "avgpool")],
    ids=lambda call: f"{call['op']} {call['case']}",
)
def test_shapes_are_those_of_pytorch(call: dict[str, Any]) -> None:
    told = attributes(call)
    if call["op"] == "conv":
        op: ops.Op = ops.Conv(told["stride"], told["pad"], told["groups"])
    else:
        op = {"maxpool": ops.MaxPool, "avgpool": ops.AvgPool}[call["op"]](**told)
    inputs = (TensorType("f64", TENSORS[name].shape) for name in call["inputs"])
    assert op.infer(*inputs).shape == TENSORS[call["expected"]].shape


def test_every_op_is_there() -> None:
    assert {call["op"] for call in CALLS} == set(KERNELS) - OWN - PLACING
