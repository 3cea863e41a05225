"""Networks for the ONNX tests, their values, and what netc and ONNX Runtime make of them."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

import netc_clusters
from netc.cost import read_cluster
from netc.interchange.from_onnx import from_onnx
from netc.interchange.to_onnx import to_onnx, weights
from netc.ir.types import line_mesh
from netc.passes.build_graph import build_graph, same_padding
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.syntax import Layer, NamedValues, Network, network_text, parse_text, verify_network
from netc.syntax.layers import LOSS
from netc_runtime.cpu.backend import CpuBackend
from netc_runtime.io import onnx_file
from netc_runtime.session import Session

Array = NDArray[Any]
CLUSTER = read_cluster(Path(netc_clusters.__file__).parent / "local.toml")
BATCH = 2


def network(body: str, shape: str = "3x9x11") -> Network:
    """A network of a body that ends before the classifier."""
    return parse_text(f"net t\ninput image {shape}\n{body}\nfc 5\nsoftmax_loss\n")


def random_values(net: Network, seed: int = 0) -> dict[str, Array]:
    """Weights of a size that keeps numbers near 1, and positive variances."""
    rng, values = np.random.default_rng(seed), {}
    for node in weights(build_graph(net, 1, mode="eval")):
        shape = node.type.shape
        value = rng.standard_normal(shape) / np.sqrt(max(1, prod(shape[1:])))
        values[node.name] = (np.abs(value) + 0.5 if "var" in node.name else value).astype("f4")
    return values


def images(net: Network, seed: int = 1) -> Array:
    """A batch of random images."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((BATCH, *net.inputs[0].shape)).astype("f4")


def scores_of_netc(net: Network, values: dict[str, Array], x: Array) -> Array:
    """The class scores by netc's own program for evaluation."""
    bundle, _ = compile_network(net, Options(line_mesh(1), BATCH, CLUSTER, "single"))
    session = Session(bundle, CpuBackend([bundle.init, bundle.eval], poison=True), training=False)
    session.restore(values)
    return np.array(session.predict(x))


def scores_of_file(path: Path, x: Array) -> Array:
    """The same by ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (name,) = (value.name for value in session.get_inputs())
    (result,) = session.run(None, {name: x})
    return np.asarray(result)


def export(net: Network, values: dict[str, Array], path: Path, batch: int | None = None) -> None:
    """Write a network, and let the format's own checker read it."""
    onnx_file.write(path, to_onnx(net, batch), values)
    onnx.checker.check_model(onnx.load(path), full_check=True)


def read_back(path: Path, name: str = "t") -> tuple[Network, dict[str, Array]]:
    """The network in a file, and its weights."""
    model, tensors = onnx_file.read(path)
    found = from_onnx(model, name)
    return found.network, onnx_file.gather(found.weights, tensors)


def apart(one: Array, other: Array) -> float:
    """The largest difference, relative to the largest number, but not to less than 0.1.

    Smaller scores are what rounding leaves of terms that cancel.
    """
    assert one.shape == other.shape
    assert np.isfinite(one).all()
    return float(np.abs(one - other).max() / max(np.abs(other).max(), 0.1))


def as_onnx_says(net: Network) -> Network:
    """Without what a file does not say, or says in one way where the language has two."""
    return replace(
        net, layers=tuple(replace(each, options=_said(each, net)) for each in net.layers)
    )


def _said(layer: Layer, net: Network) -> NamedValues:
    o = dict(layer.options)
    known = {"std": None, "bias_value": 0.0, "smoothing": 0.0}
    o |= {name: value for name, value in known.items() if name in o}
    if o.get("pad") == "same":
        extents = _shape(net, layer.inputs[0])[2:]
        both = [same_padding(*each) for each in zip(extents, o["size"], o["stride"], strict=True)]
        if all(before == behind for before, behind in both):
            o["pad"] = tuple(before for before, _ in both)
    if o.get("ceil"):
        down = replace(layer, options=NamedValues.of(**(o | {"ceil": False})))
        other = replace(net, layers=tuple(down if each is layer else each for each in net.layers))
        o["ceil"] = _shape(net, layer.name) != _shape(other, layer.name)
    return NamedValues.of(**o)


def _shape(net: Network, name: str) -> tuple[int, ...]:
    """The shape of a layer's result or an input, whatever the layers behind it would need."""
    names = [layer.name for layer in net.layers]
    before = net.layers[: names.index(name) + 1] if name in names else ()
    ends = Layer("ends", LOSS, NamedValues.of(smoothing=0.0), (name,))
    return build_graph(replace(net, layers=(*before, ends)), 1).index[name].type.shape


def check(net: Network, path: Path, batch: int | None = None) -> None:
    """Equal results, an equal network and equal weights."""
    values, x = random_values(net), images(net)
    export(net, values, path, batch)
    assert apart(scores_of_file(path, x), scores_of_netc(net, values, x)) < 1e-5
    again, stored = read_back(path, net.name)
    verify_network(again)
    assert parse_text(network_text(again)) == again
    _assert_equal(as_onnx_says(again), as_onnx_says(net))
    assert stored.keys() == values.keys()
    assert all(np.array_equal(stored[name], values[name]) for name in values)


def _assert_equal(one: Network, other: Network) -> None:
    assert one.inputs == other.inputs
    for a, b in zip(one.layers, other.layers, strict=True):
        assert replace(a, options=NamedValues()) == replace(b, options=NamedValues())
        for name, value in b.options.items():
            near = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
            assert a.options[name] == near, (a.name, name)
