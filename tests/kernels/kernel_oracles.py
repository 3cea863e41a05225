"""What the tests of the kernels share: slow definitions, differences, one call of every op."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netc_kernels.reference import KERNELS
from netc_kernels.reference.activation import ACTIVATIONS

Array = NDArray[Any]
Pair = tuple[int, int]


def call(
    op: str, shape: tuple[int, ...], /, *inputs: Array, dtype: Any = np.float64, **attributes: Any
) -> Array:
    """Run a kernel into a new array that starts as garbage."""
    out = (
        np.full(shape, 77, dtype)
        if np.issubdtype(dtype, np.integer)
        else np.full(shape, np.nan, dtype)
    )
    KERNELS[op](out, *inputs, **attributes)
    return out


def numeric_gradient(function: Callable[[Array], Array], x: Array, dy: Array) -> Array:
    """Differentiate sum(function(x) * dy) by every element of x, by central differences."""
    result, step = np.zeros_like(x), 1e-5
    for index in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += step
        behind[index] -= step
        result[index] = np.sum((function(ahead) - function(behind)) * dy) / (2 * step)
    return result


def assert_close(actual: ArrayLike, expected: ArrayLike, tolerance: float = 1e-7) -> None:
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), tolerance, tolerance)


def assert_same(actual: ArrayLike, expected: ArrayLike) -> None:
    """Equal to the bit (NaN equals NaN)."""
    np.testing.assert_array_equal(actual, expected)


@dataclass(frozen=True)
class Windows:
    """Size, stride and padding (top, bottom, left, right) of a convolution or pooling."""

    size: Pair
    stride: Pair = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    ceil: bool = False

    @property
    def attributes(self) -> dict[str, Any]:
        return {"size": self.size, "stride": self.stride, "pad": self.pad}

    def outputs(self, height: int, width: int) -> Pair:
        return self._length(0, height), self._length(1, width)

    def _length(self, axis: int, extent: int) -> int:
        before, after = self.pad[2 * axis : 2 * axis + 2]
        room, stride = before + extent + after - self.size[axis], self.stride[axis]
        if not self.ceil:
            return room // stride + 1
        length = -(-room // stride) + 1
        # the last window must start inside the image or the padding before it
        return length - 1 if (length - 1) * stride >= extent + before else length

    def taps(self, p: int, q: int) -> Iterator[tuple[int, int, int, int]]:
        """List (r, s, row, column) of a window, in coordinates of the unpadded image."""
        for r, s in itertools.product(*map(range, self.size)):
            yield r, s, p * self.stride[0] + r - self.pad[0], q * self.stride[1] + s - self.pad[2]


def inside(image: Array, row: int, column: int) -> bool:
    height, width = image.shape[-2:]
    return bool(0 <= row < height and 0 <= column < width)


def naive_conv(x: Array, w: Array, windows: Windows, groups: int) -> Array:
    """Convolve by seven nested loops."""
    filters, channels = w.shape[:2]
    y = np.zeros((len(x), filters, *windows.outputs(*x.shape[2:])), x.dtype)
    for n, k, p, q in np.ndindex(y.shape):
        first = k // (filters // groups) * channels
        for (r, s, row, column), c in itertools.product(windows.taps(p, q), range(channels)):
            if inside(x, row, column):
                y[n, k, p, q] += x[n, first + c, row, column] * w[k, c, r, s]
    return y


def naive_pool(x: Array, windows: Windows) -> tuple[Array, Array, Array]:
    """Pool by loops: the maxima, where the first of them are (row, column), and the averages."""
    shape = (*x.shape[:2], *windows.outputs(*x.shape[2:]))
    maxima, averages = np.zeros(shape), np.zeros(shape)
    where = np.zeros((*shape, 2), int)
    bottom, right = x.shape[2] + windows.pad[1], x.shape[3] + windows.pad[3]
    for n, c, p, q in np.ndindex(shape):
        places = [(row, column) for _, _, row, column in windows.taps(p, q)]
        values = {place: float(x[n, c][place]) for place in places if inside(x, *place)}
        best = max(values, key=values.__getitem__)  # the first, if equal
        maxima[n, c, p, q], where[n, c, p, q] = values[best], best
        area = sum(row < bottom and column < right for row, column in places)
        averages[n, c, p, q] = sum(values.values()) / area
    return maxima, where, averages


def naive_philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x32-10 for one counter, as its paper writes it."""
    left, right, (k0, k1) = list(counter[0::2]), list(counter[1::2]), key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * left[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * left[1], 2**32)
        left, right = [high1 ^ right[0] ^ k0, high0 ^ right[1] ^ k1], [low1, low0]
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return left[0], right[0], left[1], right[1]


def naive_word(index: int, seed: int, step: int, key: int) -> int:
    """Return the random word of a global element."""
    counter = (index // 4 % 2**32, index // 4 // 2**32, step % 2**32, key)
    return naive_philox(counter, (seed % 2**32, seed // 2**32 % 2**32))[index % 4]


def naive_normal(index: int, seed: int, key: int) -> float:
    """Return the standard normal number of a global element."""
    even = index - index % 2
    u = [(naive_word(i, seed, 0, key) + 0.5) / 2**32 for i in (even, even + 1)]
    turn = math.cos if index == even else math.sin
    return math.sqrt(-2 * math.log(u[0])) * turn(2 * math.pi * u[1])


@dataclass(frozen=True)
class Call:
    """One call of a kernel: the name of the op, the shape of out, inputs and attributes."""

    op: str
    shape: tuple[int, ...]
    inputs: tuple[Array, ...]
    attributes: dict[str, Any]
    own: Any = None
    """The type of out, if it is not that of the floating inputs."""

    def run(self, out: Array | None = None, inputs: tuple[Array, ...] | None = None) -> Array:
        dtype = self.own or self.dtype
        out = call("copy", self.shape, np.array(0), dtype=dtype) if out is None else out
        KERNELS[self.op](out, *(self.inputs if inputs is None else inputs), **self.attributes)
        return out

    @property
    def dtype(self) -> Any:
        floating = [x.dtype for x in self.inputs if np.issubdtype(x.dtype, np.floating)]
        return floating[0] if floating else np.dtype(np.float64)


def example_calls(
    dtype: Any, *, n: int = 3, c: int = 6, k: int = 4, seed: int = 0
) -> Iterator[Call]:
    """Yield at least one call of every op, on n images of c channels, with k filters or classes."""
    sizes = Sizes(np.dtype(dtype), n, c, k, np.random.default_rng(seed))
    for calls in (_layer_calls, _normal_calls, _loss_calls, _state_calls):
        yield from calls(sizes)


@dataclass
class Sizes:
    """What all examples share: type and extents of their tensors, and where numbers come from."""

    dtype: Any
    n: int
    c: int
    k: int
    rng: np.random.Generator

    @property
    def image(self) -> tuple[int, ...]:
        return self.n, self.c, 7, 5

    def a(self, *shape: int) -> Array:
        return np.asarray(self.rng.standard_normal(shape)).astype(self.dtype)

    def positive(self, *shape: int) -> Array:
        return np.asarray(self.a(*shape) ** 2 + np.asarray(0.5, self.dtype))


def _layer_calls(of: Sizes) -> Iterator[Call]:
    a, n, c, k, image, per_channel = of.a, of.n, of.c, of.k, of.image, (of.c,)
    for groups in (1, 2):
        whole = {"stride": (2, 1), "pad": (1, 0, 1, 2), "groups": groups}
        conv = {**whole, "filters": k + 4, "first_filter": 1}
        x, w, dy = a(*image), a(k, c // groups, 3, 2), a(n, k, 3, 7)
        yield Call("conv", dy.shape, (x, w), conv)
        yield Call("conv_dx", image, (dy, w), conv)
        yield Call("conv_dw", w.shape, (x, dy), conv)
    yield Call("bias", image, (a(*image), a(c)), {})
    yield Call("bias", (n, c), (a(n, c), a(c)), {})
    yield Call("bias_db", per_channel, (a(*image),), {})
    yield Call("bias_db", per_channel, (a(n, c),), {})
    yield Call("fc", (n, k), (a(n, c), a(k, c)), {})
    yield Call("fc_dx", (n, c), (a(n, k), a(k, c)), {})
    yield Call("fc_dw", (k, c), (a(n, c), a(n, k)), {})
    for op in ACTIVATIONS:
        yield Call(op, image, (a(*image),), {})
        yield Call(f"{op}_dx", image, (a(*image), a(*image)), {})
    pool = {"size": (3, 2), "stride": (2, 2), "pad": (1, 1, 0, 0)}
    x, pooled = of.rng.integers(0, 3, image).astype(of.dtype), (n, c, 4, 3)
    maxima = call("maxpool", pooled, x, dtype=of.dtype, **pool)
    yield Call("maxpool", pooled, (x,), pool)
    yield Call("maxpool_dx", image, (x, maxima, a(*pooled)), pool)
    places = call("maxpool_places", pooled, x, maxima, dtype=np.uint8, relu=False, **pool)
    yield Call("maxpool_places", pooled, (x, maxima), {**pool, "relu": False}, np.uint8)
    yield Call("maxpool_places_dx", image, (places, a(*pooled)), pool)
    yield Call("avgpool", pooled, (x,), pool)
    yield Call("avgpool_dx", image, (a(*pooled),), pool)
    windows = {"size": (3, 2), "stride": (2, 2), "around": (1, 1, 0, 1), "image": (15, 15)}
    part = {"shape": (n + 9, c + 3, 8, 8), "offset": (9, 2, 4, 5)}
    yield Call("inside_mean", pooled, (a(*pooled),), {**windows, **part})


def _normal_calls(of: Sizes) -> Iterator[Call]:
    a, n, c, k, image, per_channel = of.a, of.n, of.c, of.k, of.image, (of.c,)
    lrn = {"size": 5, "alpha": 0.3, "beta": 0.75, "k": 2.0}
    yield Call("lrn", image, (a(*image),), lrn)
    yield Call("lrn_dx", image, (a(*image), a(*image)), lrn)
    for shape in (image, (n, c)):
        mean, var, count = a(c), of.positive(c), {"count": 99}
        yield Call("bn_mean", per_channel, (a(*shape),), count)
        yield Call("bn_var", per_channel, (a(*shape), mean), count)
        yield Call("bn_sums", (c, 2), (a(*shape),), count, np.float64)
        yield Call("bn_norm", shape, (a(*shape), mean, var, a(c), a(c)), {"eps": 1e-3})
        yield Call("bn_dgamma", per_channel, (a(*shape), mean, var, a(*shape)), {"eps": 1e-3})
        inputs = (a(*shape), mean, var, a(c), a(c), a(c), a(*shape))
        yield Call("bn_dx", shape, inputs, {"eps": 1e-3, **count})
    yield from _grouped_calls(of)
    for one in (per_channel, (4, c)):
        mean = of.rng.standard_normal(one)
        sums = np.stack([mean, mean**2 + of.rng.standard_normal(one) ** 2], -1)
        yield Call("sums_mean", one, (sums,), {}, of.dtype)
        yield Call("sums_var", one, (sums,), {}, of.dtype)
    running = {"momentum": 0.1, "correction": 1.25}
    yield Call("bn_running", per_channel, (a(c), a(c)), running)
    yield Call("add", image, (a(*image), a(*image), a(*image)), {})
    yield Call("accumulate", image, (a(*image), a(*image)), {})
    yield Call("concat", (n, c + k, 7, 5), (a(*image), a(n, k, 7, 5)), {})
    yield Call("concat_rows", (n + 2, c, 7, 5), (a(*image), a(2, c, 7, 5)), {})
    yield Call("slice", (n, c, 2, 5), (a(*image),), {"dim": 2, "start": 3})
    yield Call("copy", image, (a(*image),), {})
    yield Call("cast", image, (a(*image),), {})


def _grouped_calls(of: Sizes) -> Iterator[Call]:
    """Of n images the first is the last of a group, and there is a group behind them."""
    a, n, c, image = of.a, of.n, of.c, of.image
    groups = -(-(n + 1) // 2) + 1
    rows, at, eps, count = (groups, c), {"group": 2, "before": 1}, {"eps": 1e-3}, {"count": 99}
    for shape in (image, (n, c)):
        mean, var = a(*rows), of.positive(groups * c).reshape(rows)
        yield Call("grouped_mean", rows, (a(*shape),), {**at, **count})
        yield Call("grouped_var", rows, (a(*shape), mean), {**at, **count})
        yield Call("grouped_sums", (*rows, 2), (a(*shape),), {**at, **count}, np.float64)
        yield Call("grouped_norm", shape, (a(*shape), mean, var, a(c), a(c)), {**at, **eps})
        yield Call("grouped_dgamma", rows, (a(*shape), mean, var, a(*shape)), {**at, **eps})
        yield Call("grouped_dbeta", rows, (a(*shape),), at)
        inputs = (a(*shape), mean, var, a(c), a(*rows), a(*rows), a(*shape))
        yield Call("grouped_dx", shape, inputs, {**at, **eps, **count})


def _loss_calls(of: Sizes) -> Iterator[Call]:
    a, n, c, k, image, scalar = of.a, of.n, of.c, of.k, of.image, np.array(3)
    logits, labels = of.rng.integers(0, 3, (n, k)).astype(of.dtype), of.rng.integers(0, 9, n)
    m, s, p, of_rows = logits.max(1, initial=0), of.positive(n), a(n), (n,)
    yield Call("row_max", of_rows, (logits,), {})
    yield Call("row_sum_exp", of_rows, (logits, m), {})
    yield Call("row_pick", of_rows, (logits, labels), {"first_class": 3})
    classes = {"first_class": 3, "classes": 9}
    smoothed = {**classes, "smoothing": 0.25}
    yield Call("row_pick_smoothed", of_rows, (logits, labels), smoothed)
    yield Call("softmax_dx_smoothed", (n, k), (logits, labels, m, s), {**smoothed, "batch": 8})
    others, share = of.rng.integers(0, 9, n), of.rng.random(n).astype(of.dtype)
    targets = logits, labels, others, share
    yield Call("row_pick_mixed", of_rows, targets, smoothed)
    yield Call("softmax_dx_mixed", (n, k), (*targets, m, s), {**smoothed, "batch": 8})
    yield Call("row_argmax", of_rows, (logits, m), classes, own=np.int64)
    yield Call("softmax_dx", (n, k), (logits, labels, m, s), {"batch": 8, "first_class": 3})
    yield Call("ce_loss", (), (m, s, p), {"batch": 8})
    for rows in ((), ((1, n // 2), (7, n - n // 2))):
        masked: dict[str, Any] = {"offset": (0 if rows else 1,), "rows": rows}
        yield Call("ce_loss_masked", (), (m, s, p, scalar), masked)
        if of.dtype == np.float64:  # it has no floating input to tell the type
            yield Call("correct", (), (labels, labels % 5, scalar), masked)
        offset = (*masked["offset"], 2, 0, 1)
        block = {"key": 5, "shape": (n + 9, c + 3, 7, 7), "offset": offset, "rows": rows}
        yield Call("dropout", image, (a(*image), scalar, scalar), {"rate": 0.3, **block})


def _state_calls(of: Sizes) -> Iterator[Call]:
    a, n, c, image, scalar = of.a, of.n, of.c, of.image, np.array(3)
    lr = np.asarray(0.1, of.dtype)
    sgd = {"momentum": 0.9, "decay": 0.01, "scale": 0.5}
    yield Call("sgd_velocity", image, (a(*image), a(*image), a(*image), lr), sgd)
    yield Call("sgd_apply", image, (a(*image), a(*image)), {})
    yield Call("momentum_velocity", image, (a(*image), a(*image), a(*image)), sgd)
    yield Call("nesterov_apply", image, (a(*image), a(*image), a(*image), lr), sgd)
    slope = {"decay": 0.01, "scale": 0.5}
    yield Call("adam_moment1", image, (a(*image), a(*image), a(*image)), {"beta1": 0.9, **slope})
    yield Call("adam_moment2", image, (a(*image), a(*image), a(*image)), {"beta2": 0.99, **slope})
    inputs = (a(*image), a(*image), of.positive(*image), lr, scalar)
    adam = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-3, "decoupled": 0.1}
    yield Call("adam_apply", image, inputs, {**adam, "scale": 0.5, "turn": 1, "turns": 2})
    squares = (a(*image), of.positive(*image), a(*image), a(*image))
    yield Call("rmsprop_velocity", image, squares, {"momentum": 0.9, "eps": 1e-3, **slope})
    yield Call("velocity_apply", image, (a(*image), a(*image), lr), {"scale": 0.5})
    for step in (0, 3):
        yield Call("average", image, (a(*image), a(*image), np.array(step)), {"decay": 0.75})
    yield Call("square_sum", (), (a(*image),), {})
    yield Call("clipped", image, (a(*image), of.positive()), {"limit": 0.25})
    if of.dtype == np.float64:
        block = {"key": 5, "shape": (n, c + 3, 7, 7), "offset": (0, 2, 0, 1)}
        yield Call("init_normal", image, (scalar,), {"std": 0.5, **block})
        yield Call("init_constant", image, (), {"value": 0.5})
