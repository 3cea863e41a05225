"""Parameters and multiply-adds of the shipped networks equal those of their papers' networks, and
their weights stand in the order in which torchvision defines them."""

from itertools import pairwise
from pathlib import Path

import pytest

import netc_models
from netc.ir.ops import Parameter
from netc.layers import layer_facts
from netc.passes.build_graph import build_graph
from netc.syntax import Network, parse_file

MODELS = Path(netc_models.__file__).parent
TOTALS = {
    "alexnet": (60_965_224, 0.724),
    "alexnet_owt": (61_100_840, 0.714),
    "vgg11": (132_863_336, 7.609),
    "vgg13": (133_047_848, 11.308),
    "vgg16": (138_357_544, 15.470),
    "vgg19": (143_667_240, 19.632),
    "googlenet": (6_998_552, 1.583),
    "inception_v3": (23_834_568, 5.713),
    "resnet18": (11_689_512, 1.814),
    "resnet34": (21_797_672, 3.664),
    "resnet50": (25_557_032, 4.089),
    "resnet101": (44_549_160, 7.801),
    "resnet152": (60_192_808, 11.514),
    "cifar": (272_474, 0.041),
    "fashion": (288_170, 0.029),
}
WITH_BN = {
    "vgg11": 132_868_840, "vgg13": 133_053_736, "vgg16": 138_365_992, "vgg19": 143_678_248,
}  # fmt: skip


def shipped(name: str, **defines: str) -> Network:
    return parse_file(MODELS / f"{name}.net", defines)


def totals(network: Network) -> tuple[int, float]:
    facts = layer_facts(network, build_graph(network, batch=1))
    multiply_adds = sum(f.multiply_adds for f in facts)
    return sum(f.parameters for f in facts), round(multiply_adds / 1e9, 3)


@pytest.mark.parametrize(("name", "expected"), TOTALS.items())
def test_totals(name: str, expected: tuple[int, float]) -> None:
    assert totals(shipped(name)) == expected


@pytest.mark.parametrize(("name", "parameters"), WITH_BN.items())
def test_totals_with_batch_norm(name: str, parameters: int) -> None:
    assert totals(shipped(name, bn="true")) == (parameters, TOTALS[name][1])


@pytest.mark.parametrize("depth", [1, 5, 9])
def test_a_block_more_in_every_layer_of_cifar(depth: int) -> None:
    parameters = sum(2 * 9 * width**2 + 4 * width for width in (16, 32, 64))
    expected = TOTALS["cifar"][0] + (depth - 3) * parameters
    assert totals(shipped("cifar", depth=str(depth)))[0] == expected


def test_every_shipped_network_builds_and_mentions_its_source() -> None:
    files = sorted(MODELS.glob("*.net"))
    assert {f.stem for f in files} == {"digits", "lenet", *TOTALS}
    for file in files:
        build_graph(parse_file(file), batch=2, mode="train")
        build_graph(parse_file(file), batch=2, mode="eval")
    for file in (*files, *(MODELS / "blocks").glob("*.net")):
        assert file.read_text().startswith("#"), f"{file.name} does not say where it comes from"


def weights(network: Network) -> list[tuple[int, ...]]:
    """Shapes of all weights, biases and scales, in order."""
    graph = build_graph(network, batch=2)
    return [n.type.shape for n in graph.nodes if isinstance(n.op, Parameter)]


def normalized(filters: int, channels: int, size: int) -> list[tuple[int, ...]]:
    return [(filters, channels, size, size), (filters,), (filters,)]


def resnet(depths: tuple[int, ...], expansion: int) -> list[tuple[int, ...]]:
    """Shapes in the order of torchvision's state dict, without the running statistics."""
    shapes, channels = normalized(64, 3, 7), 64
    for number, depth in enumerate(depths):
        width = 64 << number
        for first in (True, *(False,) * (depth - 1)):
            sizes = (3, 3) if expansion == 1 else (1, 3, 1)
            ends = [channels, *(width,) * (len(sizes) - 1), width * expansion]
            for (inward, outward), size in zip(pairwise(ends), sizes, strict=True):
                shapes += normalized(outward, inward, size)
            if first and channels != ends[-1]:
                shapes += normalized(ends[-1], channels, 1)
            channels = ends[-1]
    return [*shapes, (1000, channels), (1000,)]


@pytest.mark.parametrize(
    ("name", "depths", "expansion"),
    [("resnet18", (2, 2, 2, 2), 1), ("resnet34", (3, 4, 6, 3), 1), ("resnet50", (3, 4, 6, 3), 4),
     ("resnet101", (3, 4, 23, 3), 4), ("resnet152", (3, 8, 36, 3), 4)],
)  # fmt: skip
def test_weights_of_resnets_are_in_the_usual_order(
    name: str, depths: tuple[int, ...], expansion: int
) -> None:
    assert weights(shipped(name)) == resnet(depths, expansion)


def test_strides_of_bottlenecks_fall_in_the_larger_convolution() -> None:
    layers = {layer.name: layer.options for layer in shipped("resnet50").layers}
    names = ("conv1", "conv2", "conv3", "downsample.conv1")
    strides = [layers[f"layer2.bottleneck1.{name}"]["stride"] for name in names]
    assert strides == [(1, 1), (2, 2), (1, 1), (2, 2)]


# Filters and sizes of the convolutions, module by module and in the order of definition.
GOOGLENET = """
64:7 64 192:3
64 96 128:3 16 32:5 32          128 128 192:3 32 96:5 64
192 96 208:3 16 48:5 64         160 112 224:3 24 64:5 64       128 128 256:3 24 64:5 64
112 144 288:3 32 64:5 64        256 160 320:3 32 128:5 128
256 160 320:3 32 128:5 128      384 192 384:3 48 128:5 128
"""
INCEPTION_V3 = """
32:3 32:3 64:3 80 192:3
64 48 64:5 64 96:3 96:3 32
64 48 64:5 64 96:3 96:3 64
64 48 64:5 64 96:3 96:3 64
384:3 64 96:3 96:3
192 128 128:1x7 192:7x1 128 128:7x1 128:1x7 128:7x1 192:1x7 192
192 160 160:1x7 192:7x1 160 160:7x1 160:1x7 160:7x1 192:1x7 192
192 160 160:1x7 192:7x1 160 160:7x1 160:1x7 160:7x1 192:1x7 192
192 192 192:1x7 192:7x1 192 192:7x1 192:1x7 192:7x1 192:1x7 192
192 320:3 192 192:1x7 192:7x1 192:3
320 384 384:1x3 384:3x1 448 384:3 384:1x3 384:3x1 192
320 384 384:1x3 384:3x1 448 384:3 384:1x3 384:3x1 192
"""


def convolution(text: str) -> tuple[int, int, int]:
    filters, _, size = text.partition(":")
    sides = (size or "1").split("x")
    return int(filters), int(sides[0]), int(sides[-1])


@pytest.mark.parametrize(
    ("name", "text"), [("googlenet", GOOGLENET), ("inception_v3", INCEPTION_V3)]
)
def test_branches_are_in_the_usual_order(name: str, text: str) -> None:
    shapes = [(n, *sides) for n, _, *sides in (s for s in weights(shipped(name)) if len(s) == 4)]
    assert shapes == [convolution(each) for each in text.split()]


def test_sizes_in_inception_v3() -> None:
    """Table 1 of the paper: 35x35, 17x17 and 8x8 grids with 288, 768, 1280 and 2048 channels."""
    network = shipped("inception_v3")
    graph = build_graph(network, batch=1)
    nodes = [n for n in graph.nodes if n.op.kernel == "concat"]
    grids = [n.type.shape[1:] for n in nodes if n.type.shape[1:] != (768, 8, 8)]  # without forks
    assert grids == [
        (256, 35, 35), *((288, 35, 35),) * 2, *((768, 17, 17),) * 5, (1280, 8, 8),
        *((2048, 8, 8),) * 2,
    ]  # fmt: skip
    assert {x.options["eps"] for x in network.layers if x.kind == "bn"} == {0.001}
