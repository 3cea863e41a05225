"""The networks of bench_networks.py in JAX, NHWC: a pass forward, and a step of SGD."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import nhwc
from jax import lax
from serve import DECAY, MOMENTUM, RATE


class Pass(nhwc.Pass):
    def __init__(self, weights: Any, running: Any, key: Any = None) -> None:
        super().__init__(weights, running, training=key is not None)
        self.key = key
        self.updated: list[Any] = []

    def conv(
        self, x: Any, _c: int, _k: int, _size: Any, stride: int, pad: Any, groups: int, bias: bool
    ) -> Any:
        pads = [(each, each) for each in nhwc.pair(pad)]
        # On the CPU the gradients with feature_group_count take eight times as long as two halves.
        halves = zip(jnp.split(x, groups, 3), jnp.split(next(self.weights), groups, 3), strict=True)
        layout = ("NHWC", "HWIO", "NHWC")
        y = jnp.concatenate(
            [
                lax.conv_general_dilated(a, w, (stride,) * 2, pads, None, None, layout)
                for a, w in halves
            ],
            axis=3,
        )
        return y + next(self.weights) if bias else y

    def maxpool(self, x: Any, size: int, stride: int, pad: int, beyond: bool = False) -> Any:
        window, strides = (1, size, size, 1), (1, stride, stride, 1)
        pads = [(0, 0), *(self._ends(n, size, stride, pad, beyond) for n in x.shape[1:3]), (0, 0)]
        return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, pads)

    def _ends(self, n: int, size: int, stride: int, pad: int, beyond: bool) -> tuple[int, int]:
        """Padding before and behind, with what a last window takes `beyond` the image."""
        left = (n + 2 * pad - size) % stride
        return pad, pad + (stride - left if beyond and left else 0)

    def avgpool(self, x: Any, size: int, stride: int, pad: int) -> Any:
        window, strides = (1, size, size, 1), (1, stride, stride, 1)
        pads = [(0, 0), (pad, pad), (pad, pad), (0, 0)]
        return lax.reduce_window(x, 0.0, lax.add, window, strides, pads) / size**2

    def concat(self, x: Any, *branches: Any) -> Any:
        # In this order, as that of the weights.
        return jnp.concatenate([self.run(branch, x) for branch in branches], axis=3)

    def lrn(self, x: Any, size: int, alpha: float, beta: float, k: float) -> Any:
        sums = lax.reduce_window(x * x, 0.0, lax.add, (1, 1, 1, size), (1,) * 4, "SAME")
        return x * (k + alpha * sums) ** -beta

    def bn(self, x: Any, _channels: int, epsilon: float = nhwc.EPSILON) -> Any:
        gamma, beta = next(self.weights), next(self.weights)
        mean, var = next(self.running), next(self.running)
        if self.training:
            old, mean = (mean, var), x.mean((0, 1, 2))
            # In one pass over the images, as Flax.
            var = jnp.maximum((x * x).mean((0, 1, 2)) - mean * mean, 0)
            fresh = zip(old, (mean, var), strict=True)
            self.updated += [a + nhwc.MOMENTUM * (b - a) for a, b in fresh]
        return (x - mean) * (gamma * lax.rsqrt(var + epsilon)) + beta

    def dropout(self, x: Any, rate: float) -> Any:
        if not self.training:
            return x
        self.key, own = jax.random.split(self.key)
        return jnp.where(jax.random.bernoulli(own, 1 - rate, x.shape), x / (1 - rate), 0)

    def relu(self, x: Any) -> Any:
        return jnp.maximum(x, 0)

    def flatten(self, x: Any) -> Any:
        return x.reshape(len(x), -1)

    def global_average(self, x: Any) -> Any:
        return x.mean((1, 2))


def step(layers: Any, images: Any, labels: Any) -> Any:
    """A jitted function of (weights, velocities, running statistics, key), which it makes anew and
    returns with the loss.
    """

    def loss(weights: Any, running: Any, key: Any) -> Any:
        through = Pass(weights, running, key)
        scores = jax.nn.log_softmax(through.run(layers, images).astype(jnp.float32))
        return -jnp.take_along_axis(scores, labels[:, None], 1).mean(), through.updated

    def update(weights: Any, velocities: Any, running: Any, key: Any) -> Any:
        key, own = jax.random.split(key)
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, running), grads = gradient(weights, running, own)
        both = zip(velocities, grads, weights, strict=True)
        velocities = [MOMENTUM * v - RATE * (g + DECAY * w) for v, g, w in both]
        weights = [w + v for w, v in zip(weights, velocities, strict=True)]
        return (weights, velocities, running, key), value

    return jax.jit(update, donate_argnums=(0, 1, 2, 3))


def state(weights: Any, running: Any) -> tuple[Any, ...]:
    """What the first step takes."""
    return weights, [jnp.zeros_like(w) for w in weights], running, jax.random.key(0)
