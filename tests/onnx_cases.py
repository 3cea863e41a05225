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
    """The same by ONNX Runtime on the CPU; a file may want channels last, or 16 bits."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    if tuple(given.shape[1:]) != x.shape[1:]:
        x = x.transpose(0, 2, 3, 1)
        assert tuple(given.shape[1:]) == x.shape[1:], "images of another size"
    kind = {"tensor(float16)": np.float16, "tensor(float)": np.float32}[given.type]
    (result,) = session.run(None, {given.name: x.astype(kind)})
    return np.asarray(result, np.float32)


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
    if "pad" in o and o["size"] != "global":
        o |= {"pad": _windows(layer, net), "ceil": None, "count_pad": None}
    return NamedValues.of(**o)


def _windows(layer: Layer, net: Network) -> tuple[object, ...]:
    """By dimension what windows do: where the first begins, how many there are, and between which
    places an average counts what is there.
    """
    o, found = layer.options, []
    image, result = _shape(net, layer.inputs[0])[2:], _shape(net, layer.name)[2:]
    pads = o["pad"]
    for i, (extent, count) in enumerate(zip(image, result, strict=True)):
        size, stride = o["size"][i], o["stride"][i]
        if pads == "same":
            before, behind = same_padding(extent, size, stride)
        else:
            before, behind = pads[2 * i :][:2] if len(pads) == 4 else (pads[i], pads[i])
        first, end = -before, (count - 1) * stride + size - before
        within = (first, extent + behind) if o.get("count_pad") else (0, extent)
        mean = (max(first, within[0]), min(end, within[1]))
        found.append((first, count, mean if layer.kind == "avgpool" else None))
    return tuple(found)


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
