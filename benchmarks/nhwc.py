"""What TensorFlow's and JAX's sides of cpu.py share: initial weights, and the way through layers.

Images are NHWC, filters HWIO. Weights and running statistics are flat lists in the order of use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import bench_networks
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
EPSILON, MOMENTUM = 1e-5, 0.1
"""Of batch normalization."""


def images(batch: int, network: str) -> tuple[Array, NDArray[np.int32]]:
    """A batch of noise, and labels."""
    rng = np.random.default_rng(0)
    shape = (batch, bench_networks.side(network), bench_networks.side(network), 3)
    labels = rng.integers(0, bench_networks.CLASSES, batch, np.int32)
    return rng.standard_normal(shape, np.float32), labels


def weights(layers: Iterable[Any]) -> Iterator[Array]:
    """He normal weights; biases are 0."""
    for kind, *numbers in layers:
        if kind == "conv":
            channels, filters, size, _, _, groups, bias = numbers
            yield he(*pair(size), channels // groups, filters)
            yield from [np.zeros(filters, np.float32)] * bias
        elif kind == "fc":
            yield from (he(*numbers), np.zeros(numbers[1], np.float32))
        elif kind == "bn":
            yield from (np.ones(numbers[0], np.float32), np.zeros(numbers[0], np.float32))
        elif kind in ("residual", "concat"):
            for branch in numbers:
                yield from weights(branch)


def pair(size: Any) -> tuple[int, int]:
    """Of rows and of columns."""
    return (size, size) if isinstance(size, int) else size


def he(*shape: int) -> Array:
    drawn = np.random.default_rng(0).standard_normal(shape, np.float32)
    return drawn * np.float32(np.sqrt(2 / np.prod(shape[:-1])))


def running(layers: Iterable[Any]) -> Iterator[Array]:
    """Mean and variance of every normalization."""
    for kind, *numbers in layers:
        if kind == "bn":
            yield from (np.zeros(numbers[0], np.float32), np.ones(numbers[0], np.float32))
        elif kind in ("residual", "concat"):
            for branch in numbers:
                yield from running(branch)


class Pass:
    """One pass forward; a subclass has a method for each kind of layer."""

    def __init__(self, weights: Iterable[Any], running: Iterable[Any], training: bool) -> None:
        self.weights, self.running, self.training = iter(weights), iter(running), training

    def run(self, layers: Iterable[Any], x: Any) -> Any:
        for kind, *numbers in layers:
            x = getattr(self, kind)(x, *numbers)
        return x

    def residual(self, x: Any, body: Any, skip: Any) -> Any:
        # In this order, as that of the weights.
        inner = self.run(body, x)
        return self.run([("relu",)], inner + self.run(skip, x))

    def fc(self, x: Any, _inputs: int, _outputs: int) -> Any:
        return x @ next(self.weights) + next(self.weights)
