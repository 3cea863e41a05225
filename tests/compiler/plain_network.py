"""A network in plain NumPy, layer by layer, without graph, split or kernel.

Numbers may be complex: the derivative of the loss along a direction is the imaginary part of
loss(weights + i h direction) / h, exact to rounding for a tiny h (Squire and Trapp 1998).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from networks import ends_of, window_count
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from netc.syntax.network import Layer, Network
from netc_kernels.reference import KERNELS

Array = NDArray[Any]
TINY = 1e-40


@dataclass
class Plain:
    """One forward pass."""

    weights: Mapping[str, Array]
    """Parameters and running statistics by name."""
    labels: Array
    mixed: tuple[Array, ...] = ()
    """In training: the labels of the images mixed in, and the shares of the first ones."""
    training: bool = True
    seed: int = 0
    step: int = 0
    statistics: dict[str, Array] = field(default_factory=dict)
    """New running statistics."""

    def losses(self, network: Network, images: Array) -> Array:
        """The cross-entropy of every row."""
        values = {network.inputs[0].name: images}
        for layer in network.layers:
            xs = [values[name] for name in layer.inputs]
            values[layer.name] = getattr(self, layer.kind)(layer, *xs)
        return values[network.layers[-1].name]

    def conv(self, layer: Layer, x: Array) -> Array:
        o, w = layer.options, self.weights[f"{layer.name}.weight"]
        pads = _same(layer, x) if o["pad"] == "same" else ends_of(o["pad"])
        seen = _windows(_pad_images(x, pads, 0.0), w.shape[2:], o["stride"])
        parts = zip(
            np.split(seen, o["groups"], axis=1), np.split(w, o["groups"], axis=0), strict=True
        )
        y = np.concatenate([np.einsum("ncpqrs,kcrs->nkpq", a, b) for a, b in parts], axis=1)
        return y + self._bias(layer)[:, None, None]

    def fc(self, layer: Layer, x: Array) -> Array:
        return x.reshape(len(x), -1) @ self.weights[f"{layer.name}.weight"].T + self._bias(layer)

    def _bias(self, layer: Layer) -> Array:
        return self.weights.get(f"{layer.name}.bias", np.zeros(1))

    def maxpool(self, layer: Layer, x: Array) -> Array:
        flat = _pool(layer, x, -np.inf)
        best = flat.real.argmax(-1)
        return np.take_along_axis(flat, best[..., None], -1)[..., 0]

    def avgpool(self, layer: Layer, x: Array) -> Array:
        if layer.options["size"] == "global":
            return x.mean((2, 3), keepdims=True)
        counted = 1.0 if layer.options["count_pad"] else 0.0
        ones = _pad_images(np.ones((1, 1, *x.shape[2:])), ends_of(layer.options["pad"]), counted)
        area = _pool_padded(layer, ones, x.shape[2:], 0.0)
        return _pool(layer, x, 0.0).sum(-1) / area.sum(-1)

    def relu(self, layer: Layer, x: Array) -> Array:
        return np.where(x.real > 0, x, 0.0)

    def sigmoid(self, layer: Layer, x: Array) -> Array:
        return 1 / (1 + np.exp(-x))

    def tanh(self, layer: Layer, x: Array) -> Array:
        return np.tanh(x)

    def gelu(self, layer: Layer, x: Array) -> Array:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def dropout(self, layer: Layer, x: Array) -> Array:
        """The mask comes from the kernel, which has its own oracle."""
        if not self.training:
            return x
        mask, ones = np.empty(x.shape), np.ones(x.shape)
        KERNELS["dropout"](
            mask, ones, np.asarray(self.seed), np.asarray(self.step),
            rate=layer.options["rate"], key=zlib.crc32(layer.name.encode()), shape=x.shape,
            offset=(0,) * x.ndim, rows=(),
        )  # fmt: skip
        return x * mask

    def lrn(self, layer: Layer, x: Array) -> Array:
        o = layer.options
        squares = np.pad(x * x, [(0, 0), (o["size"] // 2, (o["size"] - 1) // 2), (0, 0), (0, 0)])
        near = sliding_window_view(squares, o["size"], axis=1).sum(-1)
        return x / (o["k"] + o["alpha"] * near) ** o["beta"]

    def bn(self, layer: Layer, x: Array) -> Array:
        names = [f"{layer.name}.{role}" for role in ("running_mean", "running_var")]
        if not self.training:
            return self._normal(layer, x, *(self.weights[name] for name in names))
        axes = (0,) if x.ndim == 2 else (0, 2, 3)
        parts, seen = np.split(x, len(x) // (layer.options["group"] or len(x))), []
        for part in parts:
            mean = part.mean(axes)
            seen.append((mean, ((part - part.mean(axes, keepdims=True)) ** 2).mean(axes)))
        count, m = parts[0].size // x.shape[1], layer.options["momentum"]
        means = [np.mean(np.stack(each), axis=0) for each in zip(*seen, strict=True)]
        for name, new, unbiased in zip(names, means, (1, count / max(count - 1, 1)), strict=True):
            self.statistics[name] = (1 - m) * self.weights[name] + m * new * unbiased
        pairs = zip(parts, seen, strict=True)
        return np.concatenate([self._normal(layer, part, *own) for part, own in pairs])

    def _normal(self, layer: Layer, x: Array, mean: Array, var: Array) -> Array:
        shape = (1, -1) + (1,) * (x.ndim - 2)
        scale = self.weights[f"{layer.name}.weight"] / np.sqrt(var + layer.options["eps"])
        shift = self.weights[f"{layer.name}.bias"]
        return (x - mean.reshape(shape)) * scale.reshape(shape) + shift.reshape(shape)

    def flatten(self, layer: Layer, x: Array) -> Array:
        return x.reshape(len(x), -1)

    def add(self, layer: Layer, *xs: Array) -> Array:
        return np.sum(np.stack(xs), axis=0)

    def concat(self, layer: Layer, *xs: Array) -> Array:
        return np.concatenate(xs, axis=1)

    def softmax_loss(self, layer: Layer, x: Array) -> Array:
        x = x.reshape(len(x), -1)
        x = x - x.real.max(axis=1, keepdims=True)
        smoothing = layer.options["smoothing"] if self.training else 0.0
        targets, parts = np.full(x.shape, smoothing / x.shape[1]), [(self.labels, np.ones(len(x)))]
        if self.mixed and self.training:
            others, shares = self.mixed
            parts = [(self.labels, shares), (others, 1 - shares)]
        for labels, part in parts:
            targets[np.arange(len(x)), labels] += (1 - smoothing) * part
        return np.log(np.exp(x).sum(axis=1)) - (targets * x).sum(axis=1)


def derivative(
    network: Network, plain: Plain, images: Array, direction: Mapping[str, Array]
) -> float:
    """Of the mean loss, along a direction of some weights."""
    moved = {n: w + 1j * TINY * direction.get(n, 0.0) for n, w in plain.weights.items()}
    there = replace(plain, weights=moved, statistics={})
    return float(there.losses(network, images.astype(complex)).mean().imag / TINY)


def _same(layer: Layer, x: Array) -> list[tuple[int, int]]:
    """Padding that gives ceil(extent / stride) windows, the odd pixel behind."""
    o, pads = layer.options, []
    for extent, size, stride in zip(x.shape[2:], o["size"], o["stride"], strict=True):
        total = max((math.ceil(extent / stride) - 1) * stride + size - extent, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def _pool(layer: Layer, x: Array, fill: float) -> Array:
    """The elements of every window along the last dimension, `fill` in the padding."""
    pads = ends_of(layer.options["pad"])
    return _pool_padded(layer, _pad_images(x, pads, fill), x.shape[2:], fill)


def _pool_padded(layer: Layer, padded: Array, image: tuple[int, ...], beyond: float) -> Array:
    """The same of an image with its padding; `beyond` is what lies past it."""
    o, behind = layer.options, []
    for i, (extent, ends) in enumerate(zip(image, ends_of(o["pad"]), strict=True)):
        size, stride = o["size"][i], o["stride"][i]
        count = window_count(extent, size, stride, ends, o["ceil"])
        end = (count - 1) * stride + size
        behind.append((0, max(end - extent - sum(ends), 0)))
    seen = _windows(_pad_images(padded, behind, beyond), o["size"], o["stride"])
    return seen.reshape(*seen.shape[:4], -1)


def _pad_images(x: Array, pads: Sequence[tuple[int, int]], fill: float) -> Array:
    return np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)


def _windows(padded: Array, size: Any, stride: Any) -> Array:
    """N C P Q R S."""
    seen = sliding_window_view(padded, tuple(size), axis=(2, 3))
    return seen[:, :, :: stride[0], :: stride[1]]
