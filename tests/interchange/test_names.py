"""torchvision's names of weights. The expected ones are written from its modules, not from ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import netc_models
from netc.interchange.names import torch_names
from netc.ir import ops
from netc.passes.build_graph import build_graph
from netc.syntax import Network, parse_file, parse_text

MODELS = Path(netc_models.__file__).parent
NORM = ("weight", "bias", "running_mean", "running_var")


def shipped(name: str, **defines: str) -> Network:
    return parse_file(MODELS / f"{name}.net", defines)


def norm(path: str) -> list[str]:
    return [f"{path}.{role}" for role in NORM]


def affine(path: str) -> list[str]:
    return [f"{path}.weight", f"{path}.bias"]


def vgg(depths: tuple[int, ...], batch_norm: bool) -> Iterator[str]:
    number = 0
    for depth in depths:
        for _ in range(depth):
            yield from affine(f"features.{number}")
            if batch_norm:
                yield from norm(f"features.{number + 1}")
            number += 3 if batch_norm else 2
        number += 1
    for number in (0, 3, 6):
        yield from affine(f"classifier.{number}")


def resnet(depths: tuple[int, ...], convolutions: int) -> Iterator[str]:
    yield "conv1.weight"
    yield from norm("bn1")
    for stage, depth in enumerate(depths, 1):
        for block in range(depth):
            path = f"layer{stage}.{block}"
            for number in range(1, convolutions + 1):
                yield f"{path}.conv{number}.weight"
                yield from norm(f"{path}.bn{number}")
            if block == 0 and (stage > 1 or convolutions == 3):
                yield f"{path}.downsample.0.weight"
                yield from norm(f"{path}.downsample.1")
    yield from affine("fc")


INCEPTION = {
    "a": "1x1 5x5_1 5x5_2 3x3dbl_1 3x3dbl_2 3x3dbl_3 _pool",
    "b": "3x3 3x3dbl_1 3x3dbl_2 3x3dbl_3",
    "c": "1x1 7x7_1 7x7_2 7x7_3 7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5 _pool",
    "d": "3x3_1 3x3_2 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4",
    "e": "1x1 3x3_1 3x3_2a 3x3_2b 3x3dbl_1 3x3dbl_2 3x3dbl_3a 3x3dbl_3b _pool",
}
MIXED = {"5b": "a", "5c": "a", "5d": "a", "6a": "b", "6b": "c", "6c": "c", "6d": "c", "6e": "c",
         "7a": "d", "7b": "e", "7c": "e"}  # fmt: skip


def inception_v3() -> Iterator[str]:
    stem = [f"Conv2d_{each}" for each in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")]
    mixed = [
        f"Mixed_{name}.branch{branch}"
        for name, block in MIXED.items()
        for branch in INCEPTION[block].split()
    ]
    for path in (*stem, *mixed):
        yield f"{path}.conv.weight"
        yield from norm(f"{path}.bn")
    yield from affine("fc")


ALEXNET = [*(f"features.{n}" for n in (0, 3, 6, 8, 10)), *(f"classifier.{n}" for n in (1, 4, 6))]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (shipped("vgg11"), vgg((1, 1, 2, 2, 2), False)),
        (shipped("vgg16"), vgg((2, 2, 3, 3, 3), False)),
        (shipped("vgg16", bn="true"), vgg((2, 2, 3, 3, 3), True)),
        (shipped("vgg19", bn="true"), vgg((2, 2, 4, 4, 4), True)),
        (shipped("alexnet_owt"), (name for path in ALEXNET for name in affine(path))),
        (shipped("resnet18"), resnet((2, 2, 2, 2), 2)),
        (shipped("resnet34"), resnet((3, 4, 6, 3), 2)),
        (shipped("resnet50"), resnet((3, 4, 6, 3), 3)),
        (shipped("resnet152"), resnet((3, 8, 36, 3), 3)),
        (shipped("inception_v3"), inception_v3()),
    ],
    ids=lambda value: value.name if isinstance(value, Network) else "",
)
def test_torchvision_networks(network: Network, expected: Iterator[str]) -> None:
    assert list(torch_names(network).values()) == list(expected)


@pytest.mark.parametrize("file", sorted(MODELS.glob("*.net")), ids=lambda file: file.stem)
def test_exactly_the_weights_and_statistics_have_names(file: Path) -> None:
    network = parse_file(file)
    names = torch_names(network)
    graph = build_graph(network, 2, mode="eval")
    kept = [n.name for n in graph.nodes if isinstance(n.op, ops.Parameter | ops.State)]
    assert sorted(names) == sorted(kept)
    assert len(set(names.values())) == len(names)


def test_named_parts_of_a_sequence_keep_their_names() -> None:
    text = """net n
input image 3x8x8
block unit(c) { conv 1x1 c | relu ; last := conv 1x1 3 }
block row() { unit(4) | relu | unit(5) }
add { row() ; identity }
fc 10 | softmax_loss
"""
    found = [name for name in torch_names(parse_text(text)).values() if name.endswith("weight")]
    assert found == [
        "row1.0.0.weight",
        "row1.0.last.weight",
        "row1.2.0.weight",
        "row1.2.last.weight",
        "fc1.weight",
    ]
