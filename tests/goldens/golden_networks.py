"""What the goldens of whole networks are made from and compared with; needs no PyTorch.

Weights are netc's initial ones, from its own random numbers, but all that a file would start at 0
or 1 (biases, scales, running statistics) is moved away from there, so that it shows. Everything
else, images, labels and the signs of projections, comes from the same numbers, keyed by names.
Tensors have their torchvision names.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import netc_clusters
import netc_models
from netc.cost import read_cluster
from netc.interchange.names import torch_names
from netc.ir.program import Bundle
from netc.ir.types import line_mesh
from netc.passes.build_graph import build_graph
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.syntax import Layer, Network, parse_file
from netc.syntax.network import NamedValues
from netc_kernels.reference import KERNELS
from netc_runtime.cpu.backend import CpuBackend
from netc_runtime.session import Session

Array = NDArray[Any]
FILE = Path(__file__).with_name("networks.json")
SEED, STEP = 11, 4
"""Of the weights and of dropout."""
PROJECTIONS = 4
CLASSES = 1000
STATISTICS = ("running_mean", "running_var")
SMOOTH = {"relu": "tanh", "maxpool": "avgpool"}
ZERO = 1e-12
"""A gradient smaller than this, beside all gradients together, is 0 but for rounding."""


@dataclass(frozen=True, slots=True)
class Case:
    """A network on a batch of images."""

    model: str
    """The name of a shipped network."""
    side: int
    """Height and width of the images, in pixels."""
    batch: int
    bn: bool = False
    """Whether a network that may normalize its batches does."""
    smooth: bool = False
    """Whether tanh stands for relu, and averages for maxima. A gradient is then as exact as its
    arithmetic; else one unit that rounding moves across 0, or past the maximum of its window, may
    change it by a hundredth."""

    @property
    def name(self) -> str:
        """As in "vgg16_bn at 32"."""
        return f"{'smooth ' * self.smooth}{self.model}{'_bn' * self.bn} at {self.side}"

    def network(self) -> Network:
        """The shipped network for images of this size."""
        defines = {"bn": "true"} if self.bn else {}
        network = parse_file(Path(netc_models.__file__).parent / f"{self.model}.net", defines)
        shape = (3, self.side, self.side)
        image = replace(network.inputs[0], shape=shape)
        kinds = SMOOTH if self.smooth else {}
        layers = (self._layer(layer, kinds) for layer in network.layers)
        return replace(network, inputs=(image,), layers=tuple(layers))

    def _layer(self, layer: Layer, kinds: Mapping[str, str]) -> Layer:
        kind = kinds.get(layer.kind, layer.kind)
        # What pools the largest has no word on padding.
        pads = {"count_pad": True} if (layer.kind, kind) == ("maxpool", "avgpool") else {}
        return replace(layer, kind=kind, options=NamedValues.of(**layer.options, **pads))

    def images(self) -> Array:
        """Standard normal pixels."""
        return normal("images", self.batch, 3, self.side, self.side)

    def labels(self) -> Array:
        """One class an image."""
        return np.arange(self.batch) * 389 % CLASSES


@dataclass
class Result:
    """What one framework makes of a case."""

    loss: float
    """The mean cross-entropy, training (with dropout and the statistics of the batch)."""
    scores: Array
    """The class scores of the same pass."""
    evaluated_loss: float
    evaluated_scores: Array
    """The same without dropout, and with the running statistics from before."""
    gradients: dict[str, Array] = field(default_factory=dict)
    statistics: dict[str, Array] = field(default_factory=dict)
    """Running statistics after the step."""


def normal(key: str, *shape: int) -> Array:
    """Standard normal numbers of their own for every key."""
    out = np.empty(shape)
    KERNELS["init_normal"](
        out, np.asarray(SEED), std=1.0, key=zlib.crc32(key.encode()), shape=shape,
        offset=(0,) * len(shape),
    )  # fmt: skip
    return out


def masks(case: Case) -> list[Array]:
    """What every dropout multiplies by, in order."""
    network = case.network()
    nodes = {node.name: node for node in build_graph(network, case.batch).nodes}
    made = []
    for layer in network.layers:
        if layer.kind == "dropout":
            ones = np.ones(nodes[layer.name].type.shape)
            KERNELS["dropout"](
                ones, ones, np.asarray(SEED), np.asarray(STEP), rate=layer.options["rate"],
                key=zlib.crc32(layer.name.encode()), shape=ones.shape, offset=(0,) * ones.ndim,
                rows=(),
            )  # fmt: skip
            made.append(ones)
    return made


def weights(case: Case) -> dict[str, Array]:
    """Weights and running statistics, float64."""
    init = _bundle(case, "single", 1, "fp64", ()).init
    filled = CpuBackend([init]).load(init)
    filled.write(init.inputs[0], np.asarray(SEED))
    filled.run()
    ports, names = {port.name: port for port in init.state}, torch_names(case.network())
    return {there: _moved(there, filled.read(ports[name])) for name, there in names.items()}


def _moved(name: str, value: Array) -> Array:
    """Away from 0 and 1, and variances stay positive."""
    if value.ndim > 1:
        return value
    noise = normal(name, *value.shape)
    return np.exp(0.3 * noise) if name.endswith("var") else value + 0.1 * noise


def run_netc(
    case: Case, given: Mapping[str, Array], strategy: str, devices: int, precision: str
) -> Result:
    """One evaluation, then one step of training."""
    network = case.network()
    names = torch_names(network)
    scores = network.layers[-1].inputs[0]
    gradients = {
        f"{name}.grad": there for name, there in names.items() if not there.endswith(STATISTICS)
    }
    bundle = _bundle(case, strategy, devices, precision, (*gradients, scores))
    session = Session(bundle, CpuBackend([bundle.init, bundle.train, bundle.eval]))
    session.restore({name: given[there] for name, there in names.items()})
    images, labels = case.images(), case.labels()
    total, _ = session.evaluate(images, labels, case.batch)
    evaluated = session.scores()
    out = session.step(images, labels, step=STEP, seed=SEED, learning_rate=0.01)
    after = {port.name: port for port in bundle.train.state}
    return Result(
        float(out["loss"]), out[scores], total / case.batch, evaluated,
        {there: out[name] for name, there in gradients.items()},
        {there: session.train.read(after[name]) for name, there in names.items()
         if there.endswith(STATISTICS)},
    )  # fmt: skip


def _bundle(
    case: Case, strategy: str, devices: int, precision: str, fetch: tuple[str, ...]
) -> Bundle:
    cluster = read_cluster(Path(netc_clusters.__file__).parent / "local.toml")
    options = Options(
        line_mesh(devices), case.batch, cluster, strategy, precision=precision, fetch=fetch
    )
    return compile_network(case.network(), options)[0]


def norm(x: Array | float) -> float:
    """The L2 norm of all elements, in float64."""
    flat = np.asarray(x, np.float64).ravel()
    return float(np.sqrt(flat @ flat))


def projections(name: str, x: Array) -> Array:
    """Dot products with random signs: sums over r[i] c[j] x[i, j], with r and c of +-1.

    x is a matrix of its first dimension by the others. The square of each has the square of the
    norm of x as its mean, so what changes x by some distance changes them by about as much.
    """
    matrix = np.asarray(x, np.float64).reshape(len(x), -1)
    rows = np.sign(normal(f"{name} rows", PROJECTIONS, matrix.shape[0]))
    columns = np.sign(normal(f"{name} columns", PROJECTIONS, matrix.shape[1]))
    result: Array = ((rows @ matrix) * columns).sum(1)
    return result


def values(result: Result) -> dict[str, Array]:
    """All that is compared, by name."""
    return {
        "loss": np.asarray([result.loss]),
        "scores": result.scores,
        "evaluated loss": np.asarray([result.evaluated_loss]),
        "evaluated scores": result.evaluated_scores,
        **result.gradients,
        **result.statistics,
    }


def summary(result: Result) -> dict[str, list[float]]:
    """Of every value its norm, then its projections."""
    return {
        name: [float(f"{number:.14g}") for number in (norm(x), *projections(name, x))]
        for name, x in values(result).items()
    }


def scales(norms: Mapping[str, float], gradients: Iterable[str]) -> dict[str, float]:
    """What differences are relative to: the norm, or that of all gradients for one that is 0."""
    together = norm(np.array([norms[name] for name in gradients]))
    zeros = {name for name in gradients if norms[name] < ZERO * together}
    return {name: together if name in zeros else value for name, value in norms.items()}


def distances(result: Result, exact: Result) -> dict[str, float]:
    """Relative L2 distances by name."""
    there = values(exact)
    scale = scales({name: norm(x) for name, x in there.items()}, tuple(exact.gradients))
    return {
        name: norm(np.subtract(x, there[name], dtype=np.float64)) / scale[name]
        for name, x in values(result).items()
    }
