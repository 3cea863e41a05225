"""Tensors of a file that follow from stored ones: computed when it is read, within bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import (
    apart,
    export,
    images,
    network,
    random_values,
    read_back,
    scores_of_file,
)
from onnx_cases import scores_of_netc as scores

from netc_runtime.io import onnx_constants, onnx_file
from netc_runtime.io.onnx_constants import FOLDED, Constants

X = np.array([[1.0, -2.0, 4.0], [0.5, 8.0, 16.0]], np.float32)
ROW = np.array([2.0, 4.0, 8.0], np.float32)
CASES: dict[str, tuple[Any, dict[str, Any], list[Any]]] = {
    "Add": (X + ROW, {}, [X, ROW]),
    "Cast": (X.astype(np.float32), {"to": TensorProto.FLOAT}, [X.astype(np.float16)]),
    "CastLike": (X, {}, [X, X]),
    "Concat": (np.concatenate([X, X], 1), {"axis": 1}, [X, X]),
    "ConstantOfShape": (np.zeros((2, 3), np.float32), {}, [np.array([2, 3])]),
    "Div": (X / ROW, {}, [X, ROW]),
    "Expand": (np.stack([ROW, ROW]), {}, [ROW, np.array([2, 3])]),
    "Flatten": (X.reshape(1, 6), {"axis": 0}, [X]),
    "Identity": (X, {}, [X]),
    "Mul": (X * ROW, {}, [X, ROW]),
    "Neg": (-X, {}, [X]),
    "Reciprocal": (1 / X, {}, [X]),
    "Reshape": (X.reshape(3, 2), {}, [X, np.array([3, 2])]),
    "Shape": (np.array([2, 3]), {}, [X]),
    "Slice": (X[:, 1:], {}, [X, np.array([1]), np.array([3]), np.array([1])]),
    "Sqrt": (np.sqrt(ROW), {}, [ROW]),
    "Squeeze": (ROW, {}, [ROW[None], np.array([0])]),
    "Sub": (X - ROW, {}, [X, ROW]),
    "Transpose": (X.T, {"perm": [1, 0]}, [X]),
    "Unsqueeze": (ROW[None], {}, [ROW, np.array([0])]),
}  # fmt: skip


def computed(op_type: str, operands: list[Any], **attributes: Any) -> Any:
    names = [f"v{place}" for place in range(len(operands))]
    node = helper.make_node(op_type, names, ["y"], **attributes)
    stored = {name: np.asarray(value) for name, value in zip(names, operands, strict=True)}
    return Constants(onnx, 17).result(node, stored)


@pytest.mark.parametrize("op_type", sorted(FOLDED))
def test_an_operator(op_type: str) -> None:
    wanted, attributes, operands = CASES[op_type]
    found = computed(op_type, operands, **attributes)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.asarray(wanted).dtype


def test_what_does_not_fit_or_is_too_large_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert computed("Exp", [X]) is None
    assert computed("Add", [X, X.T]) is None
    assert computed("Reshape", [X, np.array([5])]) is None
    assert computed("ConstantOfShape", [np.array([2**20, 2**20])]) is None
    assert computed("Add", [np.zeros((2**20, 1), "f4"), np.zeros((1, 2**20), "f4")]) is None
    monkeypatch.setattr(onnx_constants, "LIMIT", 10)
    constants, node = Constants(onnx, 17), helper.make_node("Neg", ["x"], ["y"])
    assert [constants.result(node, {"x": X}) is None for _ in range(2)] == [False, True]


def test_models_of_16_bits(tmp_path: Path) -> None:
    """Weights are those numbers in 32 bits; scores differ by what the file rounds to."""
    net = network("conv 3x3 4 pad=1 | bn | relu | maxpool 2x2")
    values = {name: v.astype(np.float16) for name, v in random_values(net).items()}
    export(net, values, tmp_path / "wide.onnx")
    model = onnx.load(tmp_path / "wide.onnx")
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, tmp_path / "half.onnx")
    again, stored = read_back(tmp_path / "half.onnx")
    for name, value in values.items():
        assert stored[name].dtype == np.float32
        np.testing.assert_array_equal(stored[name], value)
    x = images(net).astype(np.float16).astype(np.float32)
    found = scores(again, stored, x)
    assert apart(found, scores_of_file(tmp_path / "wide.onnx", x)) < 1e-5
    assert apart(found, scores_of_file(tmp_path / "half.onnx", x)) < 5e-3


def test_a_cast_between_layers(tmp_path: Path) -> None:
    """As converters write it that keep a model's ends in 32 bits."""
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[N,3,8,8] x, float16[4,3,3,3] w, float16[4,144] wk) => (float[N,K] y) {
        a = Cast <to = 10> (x)
        b = Conv (a, w)
        c = Flatten (b)
        d = Gemm <transB = 1> (c, wk)
        y = Cast <to = 1> (d)
    }"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(4)
    for value in list(model.graph.input)[1:]:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = (rng.standard_normal(shape) / 8).astype(np.float16)
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        model.graph.input.remove(value)
    onnx.save(model, tmp_path / "t.onnx")
    net, stored = read_back(tmp_path / "t.onnx")
    assert [layer.kind for layer in net.layers] == ["conv", "fc", "softmax_loss"]
    x = images(net)
    assert apart(scores(net, stored, x), scores_of_file(tmp_path / "t.onnx", x)) < 5e-3


def test_shapes_are_stored_too(tmp_path: Path) -> None:
    """What a model computes of the shapes of its weights is known."""
    made = helper.make_node("Shape", ["w"], ["s"])
    graph = helper.make_graph(
        [made, helper.make_node("Identity", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info("x", 1, [1, 3, 2, 2])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(X, "w")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph), tmp_path / "t.onnx")
    model, stored = onnx_file.read(tmp_path / "t.onnx")
    assert [node.op_type for node in model.nodes] == ["Identity"]
    assert list(stored["s"]) == [2, 3]
