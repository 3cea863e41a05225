"""Every layer over its options: to a file, through ONNX Runtime, and back to the same network."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from onnx_cases import check, network
from random_networks import networks

from netc.ir.ops import ACTIVATIONS
from netc.syntax import Network, parse_text

BODIES = [
    "conv 3x3 4",
    "conv 3x2 4 /2x1 pad=1x0 bias=false",
    "conv 4x4 6 /2 pad=same groups=3",
    "conv 2x3 4 /3x2 pad=same",
    "conv 1x1 4 pad=2 std=0.1 bias_value=0.5",
    "maxpool 3x3",
    "maxpool 3x2 /2x1 pad=1x0",
    "maxpool 3x3 /2 pad=1 ceil=true",
    "maxpool 2x4 /3x2 ceil=true",
    "maxpool 2x2 /3 pad=1 ceil=true",
    "avgpool 3x3",
    "avgpool 3x3 /1 pad=1",
    "avgpool 4x3 /3x2 pad=1x0",
    "avgpool 4x4 /3 ceil=true",
    "avgpool 3x4 /2x3 pad=1 ceil=true",
    "avgpool 2x2 /3 pad=1 ceil=true",
    "avgpool 2x2 /4 pad=1 ceil=true",
    "avgpool 3x3 /1 pad=1 count_pad=false",
    "avgpool 4x3 /3x2 pad=1x0x0x2 count_pad=false",
    "avgpool 3x4 /2x3 pad=1 ceil=true count_pad=false",
    "avgpool 3x3 /2 pad=0x0x0x1 ceil=true",
    "avgpool 3x3 /2 pad=0x1x2x0",
    "maxpool 3x3 /2 pad=0x1x2x0",
    "maxpool 3x3 /3 pad=2x0x0x1 ceil=true",
    "conv 3x2 4 /2x1 pad=0x1x1x0",
    "conv 2x2 4 pad=3x0x0x0",
    "avgpool global",
    *ACTIVATIONS,
    "dropout 0.4",
    "dropout 0",
    "conv 1x1 7 | lrn",
    "conv 1x1 7 | lrn 3 alpha=0.5 beta=0.6 k=1.5",
    "conv 1x1 7 | lrn 4 alpha=0.5 beta=0.6 k=1.5",
    "lrn 2 alpha=0.3 k=1",
    "lrn 6 alpha=0.3 beta=0 k=1",
    "lrn 1 alpha=0",
    "bn",
    "bn eps=0.001 momentum=0.25",
    "fc 6 bias=false | bn | relu",
    "flatten | fc 6 | dropout 0.5",
    "flatten | bn",
    "add { conv 3x3 3 pad=1 ; identity }",
    "add { conv 1x1 3 ; relu ; identity }",
    "a := relu\nadd { $a ; $a }",
    "concat { conv 1x1 2 ; maxpool 3x3 /1 pad=1 ; identity }",
    "concat { fc 3 ; fc 4 }",
    "fc 5 bias=false",
    "logits := relu",
]
SHAPES = ["3x9x11", "3x10x8"]


@pytest.mark.parametrize(("body", "opset"), [("relu | conv 1x1 2", 17), ("gelu | relu", 20)])
def test_the_opset_is_no_later_than_needed(body: str, opset: int, tmp_path: Path) -> None:
    check(network(body), tmp_path / "t.onnx")
    model = onnx.load(tmp_path / "t.onnx")
    assert [each.version for each in model.opset_import] == [opset]
    assert model.ir_version == onnx.helper.find_min_ir_version_for(list(model.opset_import))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("body", BODIES)
def test_a_layer(body: str, shape: str, tmp_path: Path) -> None:
    check(network(body, shape), tmp_path / "t.onnx")


@pytest.mark.parametrize("body", ["conv 1x1 4 | relu", "maxpool 1x1", "conv 3x3 2 pad=1 | bn"])
def test_an_image_of_one_pixel(body: str, tmp_path: Path) -> None:
    check(network(body, "2x1x1"), tmp_path / "t.onnx")


@given(networks())
@settings(max_examples=40)
def test_a_random_network(tmp_path_factory: pytest.TempPathFactory, net: Network) -> None:
    check(net, tmp_path_factory.mktemp("random") / "t.onnx")


def test_a_fixed_batch(tmp_path: Path) -> None:
    check(network("conv 3x3 4 | lrn 4 | avgpool global"), tmp_path / "t.onnx", batch=2)


def test_scores_that_are_images(tmp_path: Path) -> None:
    text = "net t\ninput image 3x4x4\nconv 4x4 5 | softmax_loss"
    check(parse_text(text), tmp_path / "t.onnx")
