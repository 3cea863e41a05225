"""Shipped networks on small images, split by height, give what one device gives."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from random_networks import SGD

import netc_clusters
import netc_models
from netc.cost import read_cluster
from netc.ir.ops import Parameter
from netc.ir.types import Mesh, line_mesh
from netc.passes.build_graph import build_graph
from netc.passes.choose_splits import Pin
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.strategies.file import read_strategy
from netc.syntax import Network, parse_file
from netc_runtime.cpu.backend import CpuBackend
from netc_runtime.session import Session

Array = NDArray[Any]
BATCH = 3
MODELS = Path(netc_models.__file__).parent
SIDES = {
    "alexnet": 67,
    "alexnet_owt": 67,
    "inception_v3": 107,
    "digits": 12,
    "lenet": 28,
    "cifar": 32,
    "fashion": 28,
}
"""Height and width of the images, 64 for the others."""
CLOSE = {"resnet152": 1e-7}
"""Relative errors allowed, 1e-9 for the others: 152 layers whose last batch norms see 12 values
each make of rounding 2e-8 under `data`, and 8e-9 here.
"""
SMALL = ("digits", "cifar", "resnet18")
NAMES = sorted(path.stem for path in MODELS.glob("*.net"))
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "vgg16-layerwise.toml"


@cache
def network(name: str) -> Network:
    """A shipped network for small images; large fully connected layers are 256 wide."""
    whole = parse_file(MODELS / f"{name}.net")
    side = SIDES.get(name, 64)
    layers = tuple(
        replace(x, options=type(x.options).of(**{**x.options, "filters": 256}))
        if x.kind == "fc" and x.options["filters"] == 4096 else x
        for x in whole.layers
    )  # fmt: skip
    image = replace(whole.inputs[0], shape=(whole.inputs[0].shape[0], side, side))
    return replace(whole, inputs=(image,), layers=layers)


def session(name: str, mesh: Mesh, strategy: str, pins: tuple[Pin, ...] = ()) -> Session:
    cluster = read_cluster(Path(netc_clusters.__file__).parent / "local.toml")
    graph = build_graph(network(name), BATCH)
    fetch = tuple(f"{n.name}.grad" for n in graph.nodes if isinstance(n.op, Parameter))
    options = Options(mesh, BATCH, cluster, strategy, pins, "a", precision="fp64", optimizer=SGD,
                      fetch=fetch)  # fmt: skip
    bundle, _ = compile_network(network(name), options)
    return Session(bundle, CpuBackend([bundle.init, bundle.train, bundle.eval]))


def two_steps(made: Session, name: str) -> dict[str, Array]:
    """Losses, gradients and state."""
    made.initialize(5)
    side, random = SIDES.get(name, 64), np.random.default_rng(7)
    results: dict[str, Array] = {}
    for step in range(2):
        images = random.standard_normal((BATCH, network(name).inputs[0].shape[0], side, side))
        labels = random.integers(0, 10, BATCH)
        given = made.step(images, labels, step=step, seed=5, learning_rate=0.01)
        results |= {f"{tensor} at {step}": value for tensor, value in given.items()}
    return results | made.state()


@cache
def reference(name: str) -> dict[str, Array]:
    return two_steps(session(name, line_mesh(1), "single"), name)


def check(name: str, results: dict[str, Array]) -> None:
    expected = reference(name)
    assert results.keys() == expected.keys()
    for tensor, value in expected.items():
        error = np.linalg.norm(results[tensor] - value) / (np.linalg.norm(value) or 1.0)
        assert error < CLOSE.get(name, 1e-9), f"{tensor} differs by {error:.1e}"


@pytest.mark.parametrize("devices", [2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_spatial_equals_one_device(name: str, devices: int, pytestconfig: pytest.Config) -> None:
    if name not in SMALL and not pytestconfig.getoption("--full"):
        pytest.skip("takes minutes; run with --full")
    check(name, two_steps(session(name, line_mesh(devices), "spatial"), name))


def test_the_plan_of_jia_runs() -> None:
    """On a mesh of 2x2; the example in the documentation."""
    file = read_strategy(EXAMPLE)
    assert file.mesh == (2, 2)
    pins = tuple(Pin(pattern, split) for pattern, split, _ in file.splits)
    check("vgg16", two_steps(session("vgg16", Mesh((2, 2), ("a", "b")), "hybrid", pins), "vgg16"))
