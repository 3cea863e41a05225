"""The shipped networks."""

from pathlib import Path

import pytest

import netc_models
from netc.syntax import Network, network_text, parse_file, parse_text, verify_network

SHIPPED = sorted(Path(netc_models.__file__).parent.glob("*.net"))


@pytest.mark.parametrize("path", SHIPPED, ids=[path.stem for path in SHIPPED])
def test_a_shipped_network(path: Path) -> None:
    network = parse_file(path)
    verify_network(network)
    assert network.name == path.stem
    assert netc_models.path(path.stem) == path
    assert path.read_text().startswith("# ")
    assert None not in (network.recipe.data, network.recipe.batch, network.recipe.optimizer)
    printed = parse_text(network_text(network))
    verify_network(printed)
    assert printed == network


@pytest.mark.parametrize("name", ["nonesuch", "../models/vgg16", "vgg16.net", "", "__init__"])
def test_a_name_that_is_not_shipped(name: str) -> None:
    assert netc_models.path(name) is None


def shipped(name: str, **defines: str) -> Network:
    path = netc_models.path(name)
    assert path is not None
    return parse_file(path, defines)


def test_names_in_vgg16() -> None:
    names = [layer.name for layer in shipped("vgg16").layers]
    assert names[:3] == ["stage1.conv1", "stage1.relu1", "stage1.conv2"]
    assert [name for name in names if name.startswith("fc")] == ["fc6", "fc7", "fc8"]
    assert sum(".conv" in name for name in names) == 13


def test_alexnet_is_as_in_the_paper() -> None:
    layers = shipped("alexnet").layers
    assert [layer.kind for layer in layers[:4]] == ["conv", "relu", "lrn", "maxpool"]
    convolutions = [layer.options for layer in layers if layer.kind == "conv"]
    assert [each["filters"] for each in convolutions] == [96, 256, 384, 384, 256]
    assert [each["groups"] for each in convolutions] == [1, 2, 1, 2, 2]
    assert [each["bias_value"] for each in convolutions] == [0, 1, 0, 1, 1]
    assert {each["std"] for each in convolutions} == {0.01}


def test_defines_reach_the_layers() -> None:
    layers = {
        layer.name: layer for layer in shipped("alexnet_owt", conv4="384", classes="7").layers
    }
    assert layers["conv4"].options["filters"] == 384
    assert layers["fc8"].options["filters"] == 7
