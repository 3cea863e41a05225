"""What becomes of models: networks that compute the same, or messages, to the letter.

The texts are in onnx_import.txt; each case there is a graph behind '> ', in ONNX's text format,
with _dot_ and _slash_ for what that cannot say; inputs called 'w...' or '....weight' are stored
tensors. A first line 'opset N' takes another version than 17. Then follows the network, or what is
said.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx_cases import apart, images, read_back, scores_of_file, scores_of_netc

from netc.errors import NetError, render
from netc.interchange.from_onnx import from_onnx
from netc.syntax import Network, network_text, parse_text
from netc_runtime.io import onnx_file

DATA = Path(__file__).parent / "data"
GOLDEN = Path(__file__).parent / "onnx_import.txt"
HEAD = '<ir_version: 8, opset_import: ["" : {}, "com.acme" : 1]>\n'


def cases() -> list[str]:
    """The blocks of the golden file."""
    return GOLDEN.read_text().removesuffix("\n").split("\n====\n")


def model(text: str) -> onnx.ModelProto:
    """The model of a graph; tensors hold 0, 1, 2 ... over their number."""
    opset = re.match(r"opset (\d+)\n", text)
    graph = text.removeprefix(opset[0]) if opset else text
    made = onnx.parser.parse_model(HEAD.format(opset[1] if opset else 17) + graph)
    for node in made.graph.node:
        node.name = _name(node.name)
        node.input[:] = map(_name, node.input)
    for value in made.graph.input:
        value.name = _name(value.name)
    stored = [v for v in made.graph.input if v.name.startswith("w") or ".w" in v.name]
    for value in stored:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        size = int(np.prod(shape))
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        array = (np.arange(size) / (1 if kind == np.int64 else max(size, 1))).astype(kind)
        made.graph.initializer.append(
            onnx.numpy_helper.from_array(array.reshape(shape), value.name)
        )
        made.graph.input.remove(value)
    return made


def _name(text: str) -> str:
    return text.replace("_dot_", ".").replace("_slash_", "/")


def said(case: str, folder: Path) -> str:
    """The case as it stands, with what is said of it now, or the network that it is."""
    head = [line for line in case.splitlines() if line.startswith("> ")]
    path = folder / "t.onnx"
    path.write_bytes(model("\n".join(line[2:] for line in head)).SerializeToString())
    try:
        read, _ = onnx_file.read(path)
        text = network_text(from_onnx(read, "t").network)
        return "\n".join([*head, *filter(None, text.splitlines()[3:])])
    except NetError as error:
        return "\n".join([*head, f"exit code {error.exit_code}", render(error.diagnostics)])


@pytest.mark.parametrize("case", cases(), ids=range(len(cases())))
def test_the_answer_is_as_written(case: str, tmp_path: Path) -> None:
    assert said(case, tmp_path) == case


@pytest.mark.parametrize("case", [case for case in cases() if "exit code" not in case])
def test_the_network_computes_the_same(case: str, tmp_path: Path) -> None:
    said(case, tmp_path)
    check_same(tmp_path / "t.onnx", case)


@pytest.mark.parametrize("name", ["torchscript", "dynamo"])
def test_a_file_of_pytorch(name: str) -> None:
    """Both exporters of PyTorch 2.13.0 wrote the same small residual network.

    Comments and paths were taken out of dynamo.onnx; its weights are in a file beside it.
    """
    net = check_same(DATA / f"{name}.onnx")
    weighted = [layer.name for layer in net.layers if layer.kind in ("conv", "fc", "bn")]
    bn = ["bn1"] if name == "torchscript" else []
    assert weighted == ["conv1", *bn, "layer1.0", "layer1.2", "fc"]


def check_same(path: Path, said: str = "") -> Network:
    """The network of a file gives what ONNX Runtime gives; that network."""
    net, values = read_back(path)
    assert parse_text(network_text(net)) == net
    x = images(net)
    scores = scores_of_netc(net, values, x)
    if "Softmax" in said:
        scores = scores - np.log(np.exp(scores).sum(1, keepdims=True))
        scores = scores if "LogSoftmax" in said else np.exp(scores)
    expected = scores_of_file(path, x)
    assert apart(scores, expected.reshape(scores.shape)) < 1e-5
    return net


if __name__ == "__main__":
    GOLDEN.write_text("\n====\n".join(said(case, Path("/tmp")) for case in cases()) + "\n")
