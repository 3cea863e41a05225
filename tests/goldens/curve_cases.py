"""Trainings whose curves PyTorch and netc are to agree on, and how netc runs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from golden_networks import normal, projections
from numpy.typing import NDArray

import netc_clusters
from netc.cost import read_cluster
from netc.ir.optimizers import Chosen, choose_optimizer
from netc.ir.types import line_mesh
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.syntax import Network, parse_text
from netc_runtime.cpu.backend import CpuBackend
from netc_runtime.session import Session
from netc_runtime.train.schedule import learning_rate

Array = NDArray[Any]
FILE = Path(__file__).with_name("curves.json")
STEPS, EPOCH, BATCH, CLASSES = 50, 10, 8, 5
SHAPE = (2, 6, 6)
TEXT = """net curve
input image 2x6x6
conv1 := conv 3x3 4 pad=1 bias=false
bn1 := bn
relu | maxpool 2x2
fc1 := fc 6
tanh
fc2 := fc {classes}
softmax_loss smoothing={smoothing}
"""
WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "conv1.weight": (4, 2, 3, 3), "bn1.weight": (4,), "bn1.bias": (4,), "fc1.weight": (6, 36),
    "fc1.bias": (6,), "fc2.weight": (CLASSES, 6), "fc2.bias": (CLASSES,),
}  # fmt: skip
OPTIMIZERS: Mapping[str, Mapping[str, float]] = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "decay": 0.01},
    "adamw": {"lr": 0.02, "beta1": 0.9, "beta2": 0.99, "eps": 1e-6, "decay": 0.05},
    "rmsprop": {"lr": 0.01, "alpha": 0.9, "eps": 1e-6, "momentum": 0.5, "decay": 0.01},
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One training."""

    optimizer: str
    schedule: str = "constant"
    warmup: int = 0
    """Epochs in which the rate rises."""
    clip: float | None = None
    smoothing: float = 0.0
    accumulate: int = 1
    ema: float | None = None

    @property
    def name(self) -> str:
        """What is otherwise than usual."""
        usual = Curve(self.optimizer)
        told = {key: getattr(self, key) for key in self.__slots__ if key != "optimizer"}
        words = (f"{key} {v}" for key, v in told.items() if v != getattr(usual, key))
        return ", ".join((self.optimizer, *words))


SETTINGS: tuple[Mapping[str, Any], ...] = (
    {}, {"schedule": "cosine"}, {"warmup": 2}, {"clip": 0.25}, {"smoothing": 0.1},
    {"accumulate": 2}, {"ema": 0.9},
)  # fmt: skip
ALL = {key: value for each in SETTINGS for key, value in each.items()}
CURVES = tuple(Curve(word, **told) for word in OPTIMIZERS for told in (*SETTINGS, ALL))


def given() -> dict[str, Array]:
    """Weights before the first step."""
    scales = {name: 0.5 if len(shape) > 1 else 0.1 for name, shape in WEIGHTS.items()}
    made = {name: scales[name] * normal(name, *shape) for name, shape in WEIGHTS.items()}
    return {**made, "bn1.weight": 1.0 + made["bn1.weight"]}


def batch(step: int) -> tuple[Array, Array]:
    """Images and labels of a step: ten batches in turn."""
    images = normal(f"images {step % EPOCH}", BATCH, *SHAPE)
    return images, (3 * np.arange(BATCH) + step % EPOCH) % CLASSES


def network(curve: Curve) -> Network:
    return parse_text(TEXT.format(classes=CLASSES, smoothing=curve.smoothing))


def chosen(curve: Curve) -> Chosen:
    told = {name: value for name, value in OPTIMIZERS[curve.optimizer].items() if name != "lr"}
    optimizer = choose_optimizer(curve.optimizer, **told)
    return replace(
        optimizer, clip=curve.clip, ema=curve.ema, accumulate=curve.accumulate
    )  # fmt: skip


def run_netc(curve: Curve, devices: int = 1, **told: Any) -> dict[str, Any]:
    """What `make_curves.py` writes, by netc in float64."""
    cluster = read_cluster(Path(netc_clusters.__file__).parent / "local.toml")
    options = Options(
        line_mesh(devices), BATCH, cluster, precision="fp64", optimizer=chosen(curve), **told
    )
    bundle, _ = compile_network(network(curve), options)
    session = Session(bundle, CpuBackend(bundle.programs))
    session.initialize(0)
    session.restore(given())
    schedule = curve.schedule, {"warmup": float(curve.warmup)}
    base, losses = OPTIMIZERS[curve.optimizer]["lr"], []
    for step in range(STEPS):
        first = step // curve.accumulate * curve.accumulate
        rate = learning_rate(schedule, base, first, EPOCH, STEPS)
        out = session.step(*batch(step), step=step, seed=0, learning_rate=rate)
        losses.append(float(out["loss"]))
    total, _ = session.evaluate(*batch(0), BATCH)
    state = session.state()
    averages = {n: state[f"{n}.average"] for n in WEIGHTS} if curve.ema is not None else {}
    return found(losses, {name: state[name] for name in WEIGHTS}, averages, total / BATCH)


def found(
    losses: list[float], weights: Mapping[str, Array], averages: Mapping[str, Array],
    evaluated: float,
) -> dict[str, Any]:  # fmt: skip
    """What is compared: losses of all steps, and of an evaluation at the end; of weights and their
    averages random projections.
    """
    sides = {"weights": weights, "averages": averages}
    shown = {
        side: {name: [float(f"{x:.14g}") for x in projections(name, value)]
               for name, value in values.items()}
        for side, values in sides.items()
    }  # fmt: skip
    return {"losses": [float(f"{x:.14g}") for x in losses], "evaluated": evaluated, **shown}
