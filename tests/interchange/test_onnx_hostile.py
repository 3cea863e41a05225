"""Files that are damaged or made to do harm: a message, never anything else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_cases import export, network, random_values, read_back

from netc.errors import DataError, NetError
from netc.interchange.from_onnx import OPSETS, from_onnx
from netc.interchange.onnx_layers import HANDLERS
from netc.interchange.onnx_shapes import RULES
from netc.interchange.to_onnx import to_onnx
from netc.ir.onnx import OnnxModel, OnnxNode, OnnxTensor, OnnxValue
from netc_runtime.io import onnx_file

DATA = Path(__file__).parent / "data"
GOOD = (DATA / "torchscript.onnx").read_bytes()


def read(path: Path, data: bytes) -> list[str]:
    """The codes of what is said of a file with these bytes."""
    path.write_bytes(data)
    try:
        read_back(path)
    except NetError as error:
        str(error)
        return [each.code for each in error.diagnostics]
    return []


@pytest.mark.parametrize(
    "data", [b"", b"net t\n", b"\x08\x08", b"\x80\x02ccopy_reg\n", bytes(500), GOOD[:700], GOOD[1:]]
)
def test_what_is_no_whole_model(data: bytes, tmp_path: Path) -> None:
    assert read(tmp_path / "t.onnx", data) == ["E091"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1))
@settings(max_examples=300)
def test_changed_bytes(folder: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    read(folder / "t.onnx", bytes(data))


@given(st.integers(0, len(GOOD) - 1))
def test_a_part_of_a_file(folder: Path, length: int) -> None:
    assert read(folder / "t.onnx", GOOD[:length])


def changed(path: Path, change: Callable[[onnx.ModelProto], object]) -> list[str]:
    """What is said after one change."""
    model = onnx.load_model_from_string(GOOD)
    change(model)
    return read(path, model.SerializeToString())


def test_tensors_of_the_wrong_size(tmp_path: Path) -> None:
    def set_dims(*dims: int) -> Callable[[onnx.ModelProto], None]:
        def change(model: onnx.ModelProto) -> None:
            model.graph.initializer[0].dims[:] = dims

        return change

    path = tmp_path / "t.onnx"
    for dims in ((4, 1, 3, 4), (-1, 9), (2**40, 2**40), (2**62, 0, 2**62), (-4, -9)):
        assert changed(path, set_dims(*dims)) == ["E091"], dims
    assert changed(path, set_dims(36)) == ["E095"]
    assert changed(path, lambda m: m.graph.initializer[0].ClearField("raw_data")) == ["E091"]
    assert changed(path, lambda m: setattr(m.graph.initializer[0], "data_type", 99)) == ["E091"]


def test_cycles_and_values_that_nothing_writes(tmp_path: Path) -> None:
    path = tmp_path / "t.onnx"
    node = onnx.load_model_from_string(GOOD).graph.node
    assert changed(path, lambda m: m.graph.node[0].input.__setitem__(0, node[-1].output[0])) == [
        "E091"
    ]
    assert "E091" in changed(path, lambda m: m.graph.node.reverse())
    assert changed(path, lambda m: m.graph.ClearField("output")) == ["E094"]
    assert changed(path, lambda m: m.graph.ClearField("input")) == ["E091"]
    assert changed(path, lambda m: m.graph.ClearField("node")) == ["E091"]
    assert "E091" in changed(path, lambda m: m.graph.ClearField("initializer"))
    assert changed(path, lambda m: m.graph.node[0].ClearField("input"))
    assert changed(path, lambda m: m.graph.node[3].ClearField("output"))


def test_operators_of_its_own(tmp_path: Path) -> None:
    """What a file says otherwise than the standard is not read as the standard says it."""

    def call_it(domain: str) -> Callable[[onnx.ModelProto], None]:
        def change(model: onnx.ModelProto) -> None:
            model.functions.add(name="Relu", domain=domain)

        return change

    def constant(model: onnx.ModelProto) -> None:
        model.graph.node.add(op_type="Constant", output=["w"], domain="com.acme")
        model.graph.node[-1].attribute.add(name="value_int", type=2, i=1)
        model.graph.node.insert(0, model.graph.node.pop())
        model.graph.node[1].input[1] = "w"

    path = tmp_path / "t.onnx"
    assert changed(path, call_it("")) == changed(path, call_it("ai.onnx")) == ["E092"]
    assert changed(path, call_it("com.acme")) == []
    assert changed(path, constant) == ["E095"]


def test_what_is_there_twice_or_sparse(tmp_path: Path) -> None:
    path = tmp_path / "t.onnx"
    first = onnx.load_model_from_string(GOOD).graph
    other = onnx.helper.make_opsetid("ai.onnx", 9)
    assert changed(path, lambda m: m.graph.initializer.append(first.initializer[0])) == ["E091"]
    assert changed(path, lambda m: m.graph.input.append(first.input[0])) == ["E091"]
    assert changed(path, lambda m: m.opset_import.append(other)) == ["E091"]
    assert changed(path, lambda m: m.graph.sparse_initializer.add()) == ["E095"]
    node = onnx.helper.make_attribute("group", 1)
    assert changed(path, lambda m: m.graph.node[0].attribute.append(node)) == ["E093"]


def test_every_version_of_an_operator_was_looked_at() -> None:
    """A newer one may mean something else; those newer than known are refused whole."""
    read = {*HANDLERS, *RULES, "Softmax", "LogSoftmax", "Constant", "Transpose"}
    newest = [
        schema.since_version
        for schema in onnx.defs.get_all_schemas()
        if schema.domain == "" and schema.name in read
    ]
    assert len(newest) == len(read)
    assert max(newest) <= OPSETS[-1]


def test_tensors_beside_the_file(tmp_path: Path) -> None:
    path, data = tmp_path / "dynamo.onnx", (DATA / "dynamo.onnx").read_bytes()
    assert read(path, data) == ["E091"]
    beside = tmp_path / "dynamo.onnx.data"
    whole = (DATA / "dynamo.onnx.data").read_bytes()
    beside.write_bytes(whole[:100])
    assert read(path, data) == ["E091"]
    beside.write_bytes(whole)
    assert read(path, data) == []


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "", "."])
def test_a_path_that_leaves_the_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(10**4))

    def move(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    inner = tmp_path / "inner"
    inner.mkdir()
    assert changed(inner / "t.onnx", move) == ["E091"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.onnx"):
        with pytest.raises(DataError) as caught:
            onnx_file.read(path)
        assert caught.value.diagnostics[0].code == "E061"


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    net = network("relu")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError) as caught:
        export(net, random_values(net), tmp_path / "file" / "t.onnx")
    assert caught.value.diagnostics[0].code == "E069"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_the_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DataError) as caught:
        onnx_file.read(tmp_path)
    (said,) = caught.value.diagnostics
    assert (said.code, said.help) == ("E090", "pip install 'netc[onnx]'")


def test_weights_that_no_file_holds(tmp_path: Path) -> None:
    net = network("fc 20000 bias=false | fc 27000 bias=false", "1x1x1")
    values = {t.name: np.broadcast_to(np.float32(0), t.shape) for t in to_onnx(net).tensors}
    with pytest.raises(DataError) as caught:
        onnx_file.write(tmp_path / "t.onnx", to_onnx(net), values)
    assert caught.value.diagnostics[0].code == "E096"


NAMES = [
    "layer1.0",
    "layer1",
    "seed",
    "add",
    "net",
    "9x",
    "a b",
    "x" * 101,
    "é",
    "",
    "a..b",
    "relu1",
]


@given(st.lists(st.sampled_from(NAMES), min_size=6, max_size=6), st.sampled_from(NAMES))
def test_names_that_the_language_cannot_say(names: list[str], name: str) -> None:
    """Whatever nodes and tensors are called, the network can be printed, read and built."""
    from netc.passes.build_graph import build_graph
    from netc.syntax import network_text, parse_text

    nodes = [
        OnnxNode("Relu", label, (f"v{i}",), (f"v{i + 1}",)) for i, label in enumerate(names[:4])
    ]
    nodes.append(OnnxNode("Flatten", names[4], ("v4",), ("flat",)))
    weight = OnnxTensor(f"{names[5]}.weight", (3, 4))
    nodes.append(OnnxNode("Gemm", "", ("flat", weight.name), ("y",), (("transB", 1),)))
    feeds, result = OnnxValue("v0", ("N", 1, 2, 2)), OnnxValue("y", ("N", 3))
    found = from_onnx(OnnxModel("", (feeds,), (result,), tuple(nodes), (weight,), 17), name)
    assert parse_text(network_text(found.network)) == found.network
    build_graph(found.network, 1)
