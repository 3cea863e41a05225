"""Optimizers as their papers write them, for the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.optimizers import Chosen

Array = NDArray[Any]
State = Mapping[str, Array]
"""The weight "w", and what is kept beside it by its role."""


def updated(optimizer: Chosen, count: int, rate: float, state: State, g: Array) -> State:
    """The state after the update number `count`, from 1, by a gradient g."""
    told = SimpleNamespace(**dict(optimizer.options))
    return RULES[optimizer.optimizer.word](told, count, rate, state, g)


def clipped(optimizer: Chosen, gradients: Mapping[str, Array]) -> Mapping[str, Array]:
    """Gradients by weight, their norm limited as `torch.nn.utils.clip_grad_norm_` does."""
    if optimizer.clip is None or not gradients:
        return gradients
    norm = np.linalg.norm(np.concatenate([g.reshape(-1) for g in gradients.values()]))
    factor = min(1.0, optimizer.clip / (norm + 1e-6))
    return {name: factor * g for name, g in gradients.items()}


def average(optimizer: Chosen, step: int, old: Array, weight: Array) -> Array:
    """What `torch.optim.swa_utils.AveragedModel` has of a weight after a step, from 0."""
    assert optimizer.ema is not None
    return optimizer.ema * old + (1 - optimizer.ema) * weight if step else weight


def evaluated(state: Mapping[str, Array]) -> Mapping[str, Array]:
    """The weights that are evaluated: moving averages where there are some."""
    return {name: state.get(f"{name}.average", value) for name, value in state.items()}


def sgd(o: Any, t: int, rate: float, s: State, g: Array) -> State:
    """v := momentum v - lr (g + decay w); w := w + v."""
    velocity = o.momentum * s["velocity"] - rate * (g + o.decay * s["w"])
    return {"velocity": velocity, "w": s["w"] + velocity}


def momentum(o: Any, t: int, rate: float, s: State, g: Array) -> State:
    """As PyTorch's SGD, without dampening."""
    velocity = o.momentum * s["velocity"] + g + o.decay * s["w"]
    return {"velocity": velocity, "w": s["w"] - rate * velocity}


def nesterov(o: Any, t: int, rate: float, s: State, g: Array) -> State:
    """As PyTorch's SGD with `nesterov=True`."""
    velocity = momentum(o, t, rate, s, g)["velocity"]
    ahead = g + o.decay * s["w"] + o.momentum * velocity
    return {"velocity": velocity, "w": s["w"] - rate * ahead}


def adam(o: Any, t: int, rate: float, s: State, g: Array) -> State:
    """Algorithm 1 of Kingma and Ba."""
    return by_means(o, t, rate, s, g + o.decay * s["w"], s["w"])


def adamw(o: Any, t: int, rate: float, s: State, g: Array) -> State:
    """Algorithm 2 of Loshchilov and Hutter."""
    return by_means(o, t, rate, s, g, s["w"] * (1 - rate * o.decay))


def by_means(o: Any, t: int, rate: float, s: State, g: Array, w: Array) -> State:
    m = o.beta1 * s["moment1"] + (1 - o.beta1) * g
    v = o.beta2 * s["moment2"] + (1 - o.beta2) * g**2
    w = w - rate * (m / (1 - o.beta1**t)) / (np.sqrt(v / (1 - o.beta2**t)) + o.eps)
    return {"moment1": m, "moment2": v, "w": w}


def rmsprop(o: Any, t: int, rate: float, s: State, g: Array) -> State:
    """As PyTorch's, without centering."""
    g = g + o.decay * s["w"]
    square = o.alpha * s["square"] + (1 - o.alpha) * g**2
    velocity = o.momentum * s["velocity"] + g / (np.sqrt(square) + o.eps)
    return {"square": square, "velocity": velocity, "w": s["w"] - rate * velocity}


RULES: Mapping[str, Callable[..., State]] = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
}
"""By the optimizer's word."""


def states_of(optimizer: Chosen, weight: str) -> dict[str, str]:
    """Where a weight and what is kept beside it are in a checkpoint, by their roles."""
    roles = [move.makes for move in optimizer.optimizer.moves]
    return {role: weight if role == "w" else f"{weight}.{role}" for role in roles}
