"""Gradient descent with momentum and decay, Adam and RMSprop, in one pass over the memory, and
sums and the norm of gradients with its limit, and moving averages.

As the reference's `sgd_velocity` and `sgd_apply` (Krizhevsky et al. 2012, section 5):
v = momentum * v - lr * (g + decay * w), w = w + v; as its `momentum_velocity` and `velocity_apply`
or `nesterov_apply`; as its `adam_moment1`, `adam_moment2` and `adam_apply` (Kingma and Ba 2015,
algorithm 1); and as its `adam_moment2`, `rmsprop_velocity` and `velocity_apply`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netc_kernels.cpu.elementwise import GRAIN
from netc_kernels.cpu.linear import ROWS, four_rows
from netc_kernels.cpu.shape import Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    copy_element,
    inline,
    kernel,
    lane_sum,
    load,
    load_first,
    root,
    splat,
    store_first,
)


def fc_dw_workspace(channels: int, threads: int) -> int:
    """Bytes of `work` that kernels need which make the gradient too."""
    return 4 * channels * threads


def _sgd_facts(w: Array, *, lr: float, momentum: float, decay: float, scale: float) -> Any:
    """What all elements have in common, as `sgd_vector` takes it."""
    return _facts(w, lr, momentum, scale * decay)


def _momentum_facts(w: Array, *, lr: float, momentum: float, decay: float, scale: float) -> Any:
    """What all elements have in common, as `momentum_vector` and `nesterov_vector` take it."""
    return _facts(w, 1 / scale, decay, momentum, scale * lr)


def _adam_facts(
    w: Array, *, lr: float, step: int, beta1: float, beta2: float, eps: float, decay: float,
    decoupled: float, scale: float, turn: int, turns: int,
) -> Any:  # fmt: skip
    """What all elements have in common, as `adam_vector` takes it."""
    t, rate = turns * step + turn + 1, scale * lr
    moving = rate / (1 - beta1**t), (1 - beta2**t) ** -0.5, eps, rate * decoupled
    return _facts(w, 1 / scale, decay, beta1, 1 - beta1, beta2, 1 - beta2, *moving)


def _rmsprop_facts(
    w: Array, *, lr: float, beta2: float, decay: float, momentum: float, eps: float, scale: float
) -> Any:
    """What all elements have in common, as `rmsprop_vector` takes it."""
    return _facts(w, 1 / scale, decay, beta2, 1 - beta2, momentum, eps, scale * lr)


def _facts(w: Array, *numbers: float) -> Any:
    return tuple(w.dtype.type(number) for number in numbers)


@inline
def gathered(
    work: Any, own: int, dy: Any, images: int, channels: int, filters: int, k: int, last: int
) -> Any:
    """Where rows `k` ... `k + last` of dy.T are: what array, its first element, and the step."""
    if 4 * images > channels:
        return dy, k, filters
    # what is read for every vector lies together, if there is room
    for n in range(images):
        for row in range(last + 1):
            copy_element(work, own + 4 * n + row, dy, n * filters + k + row)
    return work, own, 4


@inline
def sgd_vector(w: Any, states: Any, to: int, count: int, g: Any, facts: Any) -> None:
    """Update the first `count` lanes at `to` by their gradient."""
    (v,) = states
    lr, momentum, decay = facts
    old = load_first(w, to, count)
    change = splat(lr) * (g + splat(decay) * old)
    moved = splat(momentum) * load_first(v, to, count) - change
    store_first(v, to, moved, count)
    store_first(w, to, old + moved, count)


@inline
def momentum_vector(w: Any, states: Any, to: int, count: int, g: Any, facts: Any) -> None:
    """Update the first `count` lanes at `to` by their gradient."""
    (v,) = states
    gain, decay, momentum, rate = facts
    old = load_first(w, to, count)
    slope = splat(gain) * g + splat(decay) * old
    speed = splat(momentum) * load_first(v, to, count) + slope
    store_first(v, to, speed, count)
    store_first(w, to, old - splat(rate) * speed, count)


@inline
def nesterov_vector(w: Any, states: Any, to: int, count: int, g: Any, facts: Any) -> None:
    """Update the first `count` lanes at `to` by their gradient."""
    (v,) = states
    gain, decay, momentum, rate = facts
    old = load_first(w, to, count)
    slope = splat(gain) * g + splat(decay) * old
    speed = splat(momentum) * load_first(v, to, count) + slope
    store_first(v, to, speed, count)
    store_first(w, to, old - splat(rate) * (slope + splat(momentum) * speed), count)


@inline
def adam_vector(w: Any, states: Any, to: int, count: int, g: Any, facts: Any) -> None:
    """Update the first `count` lanes at `to` by their gradient."""
    m, v = states
    gain, decay, beta1, rest1, beta2, rest2, rate, spread, eps, shrink = facts
    old = load_first(w, to, count)
    slope = splat(gain) * g + splat(decay) * old
    mean = splat(beta1) * load_first(m, to, count) + splat(rest1) * slope
    square = splat(beta2) * load_first(v, to, count) + splat(rest2) * (slope * slope)
    store_first(m, to, mean, count)
    store_first(v, to, square, count)
    step = splat(rate) * mean / (splat(spread) * root(square) + splat(eps))
    store_first(w, to, old - (step + splat(shrink) * old), count)


@inline
def rmsprop_vector(w: Any, states: Any, to: int, count: int, g: Any, facts: Any) -> None:
    """Update the first `count` lanes at `to` by their gradient."""
    r, v = states
    gain, decay, alpha, rest, momentum, eps, rate = facts
    old = load_first(w, to, count)
    slope = splat(gain) * g + splat(decay) * old
    square = splat(alpha) * load_first(r, to, count) + splat(rest) * (slope * slope)
    speed = splat(momentum) * load_first(v, to, count) + slope / (root(square) + splat(eps))
    store_first(r, to, square, count)
    store_first(v, to, speed, count)
    store_first(w, to, old - splat(rate) * speed, count)


def both(
    move: Callable[..., None], facts: Callable[..., Any]
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Calls of an optimizer: by a gradient that is there, and by a fully connected layer's.

    `move` updates the first lanes of the weights and states by their gradient; `facts` makes of
    the weights and of the operations' attributes and numbers what all lanes have in common.
    """

    @kernel
    def part(w: Any, states: Any, g: Any, facts: Any, thread: int, start: int, stop: int) -> None:
        """Update elements `start` ... `stop`."""
        for i in range(start, stop, LANES):
            move(w, states, i, stop - i, load_first(g, i, stop - i), facts)

    @kernel
    def rows(
        w: Any, states: Any, x: Any, dy: Any, work: Any, images: int, channels: int, filters: int,
        facts: Any, thread: int, start: int, stop: int,
    ) -> None:  # fmt: skip
        """Update rows `start` ... `stop`, making each vector of the gradient right before."""
        own = thread * channels
        for k in range(start, stop, 4):
            last = min(3, stop - 1 - k)
            source, at, step = gathered(work, own, dy, images, channels, filters, k, last)
            for i in range(0, channels, LANES):
                made, count = (
                    four_rows(x, images, channels, i, source, at, step, last),
                    channels - i,
                )
                for row in range(last + 1):
                    move(w, states, (k + row) * channels + i, count, made[row], facts)

    def update(*tensors: Any, **told: Any) -> None:
        """Update the states and w, of one shape, in place, from (states, w, g, pool); `told` has
        the attributes of all operations, and the numbers.
        """
        *arrays, pool = tensors
        *states, w, g = (array.reshape(-1) for array in arrays)
        pool.spread(w.size, GRAIN, part, w, tuple(states), g, facts(w, **told))

    def fc_dw_update(*tensors: Any, **told: Any) -> None:
        """Update the states and the weights w (K, C) of a fully connected layer in place, by the
        gradient dy.T @ x, from (states, w, x, dy, workspace, pool). It is never in memory.
        """
        *arrays, work, pool = tensors
        filters, (images, channels) = len(arrays[-3]), arrays[-2].shape
        *states, w, x, dy = (array.reshape(-1) for array in arrays)
        shape = images, channels, filters
        pool.spread(filters, ROWS, rows, w, tuple(states), x, dy, work, *shape, facts(w, **told))

    return update, fc_dw_update


sgd, fc_dw_sgd = both(sgd_vector, _sgd_facts)
momentum, fc_dw_momentum = both(momentum_vector, _momentum_facts)
nesterov, fc_dw_nesterov = both(nesterov_vector, _momentum_facts)
adam, fc_dw_adam = both(adam_vector, _adam_facts)
rmsprop, fc_dw_rmsprop = both(rmsprop_vector, _rmsprop_facts)


def square_sum(out: Array, g: Array, pool: Pool) -> None:
    """Sum the squares of all elements, out ()."""
    sums = np.zeros(-(-g.size // GRAIN), np.float64)
    pool.run(g.size, GRAIN, squares_part, sums, g.reshape(-1))
    out[...] = sums.sum()


def clipped(out: Array, g: Array, squares: Array, pool: Pool, *, limit: float) -> None:
    """Compute g * min(1, limit / (sqrt(squares) + 1e-6)). `out` may be g; squares is ()."""
    factor = float(np.minimum(1.0, limit / (np.sqrt(squares) + 1e-6)))
    pool.spread(g.size, GRAIN, scaled_part, out.reshape(-1), g.reshape(-1), *_facts(g, factor))


def accumulate(out: Array, acc: Array, x: Array, pool: Pool) -> None:
    """Compute acc + x. `out` may be acc."""
    flat = (array.reshape(-1) for array in (out, acc, x))
    pool.spread(x.size, GRAIN, sum_part, *flat)


@kernel
def sum_part(out: Any, acc: Any, x: Any, thread: int, start: int, stop: int) -> None:
    """Add elements `start` ... `stop`."""
    for i in range(start, stop):
        out[i] = acc[i] + x[i]


def average(out: Array, e: Array, w: Array, step: Array, pool: Pool, *, decay: float) -> None:
    """Move an average: decay * e + (1 - decay) * w, or w where step () is 0. `out` may be e."""
    if int(step):
        flat = (array.reshape(-1) for array in (out, e, w))
        pool.spread(w.size, GRAIN, average_part, *flat, *_facts(w, decay, 1 - decay))
    else:
        out[...] = w


@kernel
def average_part(
    out: Any, e: Any, w: Any, decay: Any, rest: Any, thread: int, start: int, stop: int
) -> None:
    """Average elements `start` ... `stop`."""
    for i in range(start, stop):
        out[i] = decay * e[i] + rest * w[i]


@kernel
def squares_part(sums: Any, g: Any, thread: int, start: int, stop: int) -> None:
    """Sum the squares of elements `start` ... `stop`, a range of GRAIN."""
    one, two = splat(np.float32(0)), splat(np.float32(0))
    whole = start + (stop - start) // (2 * LANES) * (2 * LANES)
    for i in range(start, whole, 2 * LANES):
        first, second = load(g, i), load(g, i + LANES)
        one, two = one + first * first, two + second * second
    for i in range(whole, stop, LANES):
        rest = load_first(g, i, stop - i)
        one = one + rest * rest
    sums[start // GRAIN] = lane_sum(one + two)


@kernel
def scaled_part(out: Any, x: Any, factor: Any, thread: int, start: int, stop: int) -> None:
    """Multiply elements `start` ... `stop`."""
    for i in range(start, stop):
        out[i] = factor * x[i]


KERNELS: Mapping[str, Callable[..., None]] = {
    "sgd": sgd,
    "fc_dw_sgd": fc_dw_sgd,
    "momentum": momentum,
    "fc_dw_momentum": fc_dw_momentum,
    "nesterov": nesterov,
    "fc_dw_nesterov": fc_dw_nesterov,
    "adam": adam,
    "fc_dw_adam": fc_dw_adam,
    "rmsprop": rmsprop,
    "fc_dw_rmsprop": fc_dw_rmsprop,
}
"""All operations of an optimizer in one pass, and with the gradient of a fully connected layer;
those need a workspace.
"""
