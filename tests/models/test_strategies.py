"""VGG-16 and AlexNet on small images: any strategy, scheme and number of devices gives the loss and
the gradients of one device, in float64 to 1e-10 (relative L2 of every tensor)."""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from random_networks import SGD

import netc_clusters
import netc_models
from netc.cost import read_cluster
from netc.ir.ops import Parameter
from netc.ir.types import line_mesh
from netc.passes.build_graph import build_graph
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.syntax import parse_file
from netc_runtime.cpu.backend import CpuBackend
from netc_runtime.session import Session

BATCH = 16
SIDES = {"vgg16": 32, "alexnet": 67}
"""Height and width of the images: the smallest on which every layer still has an output."""
CASES = [
    ("data", None, 2), ("data", None, 4), ("model", None, 2), ("model", None, 4),
    ("hybrid", "a", 2), ("hybrid", "a", 4), ("hybrid", "b", 2), ("hybrid", "b", 4),
    ("hybrid", "c", 2), ("hybrid", "c", 4), ("single", None, 4),
]  # fmt: skip


@cache
def network(name):
    """A shipped network for small images; its products are 512 wide, or 4096 with --wide."""
    file = Path(netc_models.__file__).parent / f"{name}.net"
    whole = parse_file(file)
    shape = (3, SIDES[name], SIDES[name])
    narrow = tuple(
        replace(layer, options=type(layer.options)(
            tuple((k, 512 if k == "filters" and v == 4096 else v) for k, v in layer.options.pairs)
        ))
        if layer.kind == "fc" else layer
        for layer in whole.layers
    )  # fmt: skip
    layers = whole.layers if os.environ.get("NETC_WIDE") else narrow
    return replace(whole, inputs=(replace(whole.inputs[0], shape=shape),), layers=layers)


def session(name, strategy, scheme, devices):
    cluster = read_cluster(Path(netc_clusters.__file__).parent / "local.toml")
    options = Options(line_mesh(devices), BATCH, cluster, strategy, scheme=scheme,
                      precision="fp64", optimizer=SGD)  # fmt: skip
    graph = build_graph(network(name), BATCH)
    fetch = tuple(f"{n.name}.grad" for n in graph.nodes if isinstance(n.op, Parameter))
    bundle, _ = compile_network(network(name), replace(options, fetch=fetch))
    return Session(bundle, CpuBackend([bundle.init, bundle.train, bundle.eval]))


def batch(name):
    random = np.random.default_rng(7)
    return random.standard_normal((BATCH, 3, SIDES[name], SIDES[name])), random.integers(
        0, 1000, BATCH
    )


@cache
def reference(name):
    """State before, and the results of one step on one device."""
    one = session(name, "single", None, 1)
    one.initialize(5)
    before = one.state()
    results = one.step(*batch(name), step=3, seed=5, learning_rate=0.01)
    return before, results, one.state()


@pytest.mark.parametrize(("strategy", "scheme", "devices"), CASES)
@pytest.mark.parametrize("name", SIDES)
def test_equals_one_device(name, strategy, scheme, devices):
    before, expected, after = reference(name)
    many = session(name, strategy, scheme, devices)
    many.restore(before)
    results = many.step(*batch(name), step=3, seed=5, learning_rate=0.01)
    assert set(results) == set(expected)
    assert len(results) > 10
    results |= many.state()
    for tensor, value in {**expected, **after}.items():
        error = np.linalg.norm(results[tensor] - value) / (np.linalg.norm(value) or 1.0)
        assert error < 1e-10, f"{tensor} differs by {error:.1e}"
