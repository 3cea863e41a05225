"""Every layer of a network hangs together with the others in what is drawn of its plan."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import netc_models
from netc.export.describe import describe
from netc.export.write import plan_dot

Make = Callable[..., Any]
MODELS = sorted(path.stem for path in Path(netc_models.__file__).parent.glob("*.net"))
SHORT = ("alexnet", "cifar", "digits", "googlenet", "lenet", "resnet18", "vgg16")
FORMATS = {"fast": "nhwc", "reference": ""}
"""In which kernels have images: what is stored otherwise is copied on the way."""


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("strategy", ["data", "hybrid"])
@pytest.mark.parametrize("devices", [2, 4])
@pytest.mark.parametrize("kernels", FORMATS)
def test_every_layer_is_on_a_way_from_an_input_to_the_loss(
    name: str, strategy: str, devices: int, kernels: str, case: Make, pytestconfig: pytest.Config
) -> None:
    short = name in SHORT and (devices == 4) == (kernels == "fast")
    if not short and not pytestconfig.getoption("--full"):
        pytest.skip("all models and combinations run with --full")
    made = case(name, strategy, (devices,), image_format=FORMATS[kernels])
    layers = describe(made.plan, made.network).layers
    names = {layer.name for layer in layers}
    assert {layer.name for layer in made.network.layers} <= names
    edges = {(source, layer.name) for layer in layers for source in layer.inputs}
    inputs, loss = {spec.name for spec in made.network.inputs}, made.network.layers[-1].name
    assert_connected(names, edges, inputs, loss)
    text = plan_dot(*made.given)
    drawn = set(re.findall(r'^ *"([^"]+)" \[', text, re.MULTILINE))
    lines = set(re.findall(r'"([^"]+)" -> "([^"]+)"', text))
    (end,) = drawn - {source for source, _ in lines}
    assert_connected(drawn, lines, inputs, end)


def assert_connected(
    names: set[str], edges: set[tuple[str, str]], inputs: set[str], end: str
) -> None:
    assert reached(edges, inputs) >= names
    assert reached({(target, source) for source, target in edges}, {end}) >= names


def reached(edges: Iterable[tuple[str, str]], start: set[str]) -> set[str]:
    onward: dict[str, list[str]] = {}
    for source, target in edges:
        onward.setdefault(source, []).append(target)
    found, waiting = set(start), list(start)
    while waiting:
        new = [target for target in onward.get(waiting.pop(), ()) if target not in found]
        found.update(new)
        waiting += new
    return found
