"""Shipped networks through a file and back, and through ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx_cases import check

import netc_models
from netc.interchange.to_onnx import to_onnx
from netc.syntax import Network, parse_file, parse_text

FOLDER = Path(netc_models.__file__).parent
SIDES = {"resnet50": 33, "vgg16": 32, "googlenet": 64, "inception_v3": 75,
         "alexnet": 99}  # fmt: skip


def small(name: str, side: int) -> Network:
    """A shipped network for smaller images, fewer classes and narrower last layers."""
    path = FOLDER / f"{name}.net"
    declared = next(
        line for line in path.read_text().splitlines() if line.startswith("input image")
    )
    text = (
        path.read_text()
        .replace(declared, f"input image 3x{side}x{side}")
        .replace("fc 4096", "fc 64")
    )
    return parse_text(text, str(path), {"classes": "10"})


@pytest.mark.parametrize(("name", "side"), SIDES.items())
def test_a_shipped_network(name: str, side: int, tmp_path: Path) -> None:
    net = small(name, side)
    check(net, tmp_path / "t.onnx")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.net")))
def test_the_model_of_every_shipped_network(name: str) -> None:
    net = parse_file(FOLDER / f"{name}.net")
    model = to_onnx(net)
    assert model.outputs[0].name == "logits"
    assert model.inputs[0].shape == ("N", *net.inputs[0].shape)
    layers = [layer.name for layer in net.layers[:-1]]
    assert [n.name for n in model.nodes if "/" not in n.name] == layers
