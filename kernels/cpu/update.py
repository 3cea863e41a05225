"""Gradient descent with momentum and decay, Adam and RMSprop, in one pass over the memory.

As the reference's `sgd_velocity` and `sgd_apply` (Krizhevsky et al. 2012, section 5):
v = momentum * v - lr * (g + decay * w), w = w + v; as its `adam_moment1`, `adam_moment2` and
`adam_apply` (Kingma and Ba 2015, algorithm 1); and as its `adam_moment2`, `rmsprop_velocity` and
`rmsprop_apply`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from netc_kernels.cpu.elementwise import GRAIN
from netc_kernels.cpu.linear import ROWS, four_rows
from netc_kernels.cpu.shape import Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    copy_element,
    inline,
    kernel,
    load_first,
    root,
    splat,
    store_first,
)


def sgd(
    v: Array, w: Array, g: Array, pool: Pool,
    *, lr: float, momentum: float, decay: float, scale: float,
) -> None:  # fmt: skip
    """Update v and w, of one shape, in place; `scale` is this call's share of the decay."""
    facts = _facts(w, lr, momentum, scale * decay)
    pool.spread(w.size, GRAIN, step, w.reshape(-1), v.reshape(-1), g.reshape(-1), *facts)


def fc_dw_sgd(
    v: Array, w: Array, x: Array, dy: Array, work: Array, pool: Pool,
    *, lr: float, momentum: float, decay: float, scale: float,
) -> None:  # fmt: skip
    """Update the weights w (K, C) of a fully connected layer by the gradient dy.T @ x.

    The gradient is never in memory.
    """
    (images, channels), filters = x.shape, len(w)
    rate, kept, decayed = _facts(w, lr, momentum, scale * decay)
    w, v, x, dy = (array.reshape(-1) for array in (w, v, x, dy))
    pool.spread(
        filters, ROWS, step_rows, w, v, x, dy, work, images, channels, filters, rate, kept, decayed
    )


def adam(
    m: Array, v: Array, w: Array, g: Array, pool: Pool, *, lr: float, step: int, **attributes: Any
) -> None:
    """Update m, v and w, of one shape, in place; `attributes` has those of the three ops."""
    _move(adam_part, m, v, w, g, pool, _adam_facts(w, lr, step, **attributes))


def fc_dw_adam(
    m: Array, v: Array, w: Array, x: Array, dy: Array, work: Array, pool: Pool,
    *, lr: float, step: int, **attributes: Any,
) -> None:  # fmt: skip
    """Update the weights w (K, C) of a fully connected layer by the gradient dy.T @ x.

    The gradient is never in memory.
    """
    _move_rows(adam_rows, m, v, w, x, dy, work, pool, _adam_facts(w, lr, step, **attributes))


def rmsprop(r: Array, v: Array, w: Array, g: Array, pool: Pool, *, lr: float, **told: Any) -> None:
    """Update r, v and w, of one shape, in place; `told` has the attributes of the three ops."""
    _move(rmsprop_part, r, v, w, g, pool, _rmsprop_facts(w, lr, **told))


def fc_dw_rmsprop(
    r: Array, v: Array, w: Array, x: Array, dy: Array, work: Array, pool: Pool,
    *, lr: float, **told: Any,
) -> None:  # fmt: skip
    """Update the weights w (K, C) of a fully connected layer by the gradient dy.T @ x.

    The gradient is never in memory.
    """
    _move_rows(rmsprop_rows, r, v, w, x, dy, work, pool, _rmsprop_facts(w, lr, **told))


def _move(
    part: Callable[..., None], one: Array, two: Array, w: Array, g: Array, pool: Pool, facts: Any
) -> None:
    """Update two states and the weights with one of `two_states`."""
    w, one, two, g = (array.reshape(-1) for array in (w, one, two, g))
    pool.spread(w.size, GRAIN, part, w, one, two, g, facts)


def _move_rows(
    rows: Callable[..., None], one: Array, two: Array, w: Array, x: Array, dy: Array, work: Array,
    pool: Pool, facts: Any,
) -> None:  # fmt: skip
    """Update two states and the weights (K, C) with one of `two_states`, by dy.T @ x."""
    (images, channels), filters = x.shape, len(w)
    w, one, two, x, dy = (array.reshape(-1) for array in (w, one, two, x, dy))
    pool.spread(filters, ROWS, rows, w, one, two, x, dy, work, images, channels, filters, facts)


def fc_dw_workspace(channels: int, threads: int) -> int:
    """Bytes of `work` that kernels need which make the gradient too."""
    return 4 * channels * threads


def _adam_facts(
    w: Array, lr: float, step: int, *, beta1: float, beta2: float, eps: float, decay: float,
    decoupled: float, scale: float, turn: int, turns: int,
) -> Any:  # fmt: skip
    """What all elements have in common, as `adam_vector` takes it."""
    t, rate = turns * step + turn + 1, scale * lr
    moving = rate / (1 - beta1**t), (1 - beta2**t) ** -0.5, eps, rate * decoupled
    return _facts(w, 1 / scale, decay, beta1, 1 - beta1, beta2, 1 - beta2, *moving)


def _rmsprop_facts(
    w: Array, lr: float, *, beta2: float, decay: float, momentum: float, eps: float, scale: float
) -> Any:
    """What all elements have in common, as `rmsprop_vector` takes it."""
    return _facts(w, 1 / scale, decay, beta2, 1 - beta2, momentum, eps, scale * lr)


def _facts(w: Array, *numbers: float) -> Any:
    return tuple(w.dtype.type(number) for number in numbers)


@kernel
def step(
    w: Any, v: Any, g: Any, lr: Any, momentum: Any, decay: Any, thread: int, start: int, stop: int
) -> None:
    """Update elements `start` ... `stop`."""
    w, v, g = w[start:stop], v[start:stop], g[start:stop]
    for i in range(len(w)):
        moved = momentum * v[i] - lr * (g[i] + decay * w[i])
        v[i] = moved
        w[i] += moved


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


@kernel
def step_rows(
    w: Any, v: Any, x: Any, dy: Any, work: Any, images: int, channels: int, filters: int, lr: Any,
    momentum: Any, decay: Any, thread: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Update rows `start` ... `stop`, making each vector of the gradient right before."""
    own = thread * channels
    for k in range(start, stop, 4):
        last = min(3, stop - 1 - k)
        source, at, step = gathered(work, own, dy, images, channels, filters, k, last)
        for i in range(0, channels, LANES):
            rows, count = four_rows(x, images, channels, i, source, at, step, last), channels - i
            for row in range(last + 1):
                to = (k + row) * channels + i
                old = load_first(w, to, count)
                change = splat(lr) * (rows[row] + splat(decay) * old)
                moved = splat(momentum) * load_first(v, to, count) - change
                store_first(v, to, moved, count)
                store_first(w, to, old + moved, count)


@inline
def adam_vector(w: Any, m: Any, v: Any, to: int, count: int, g: Any, facts: Any) -> None:
    """Update the first `count` lanes at `to` by their gradient."""
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
def rmsprop_vector(w: Any, r: Any, v: Any, to: int, count: int, g: Any, facts: Any) -> None:
    """Update the first `count` lanes at `to` by their gradient."""
    gain, decay, alpha, rest, momentum, eps, rate = facts
    old = load_first(w, to, count)
    slope = splat(gain) * g + splat(decay) * old
    square = splat(alpha) * load_first(r, to, count) + splat(rest) * (slope * slope)
    speed = splat(momentum) * load_first(v, to, count) + slope / (root(square) + splat(eps))
    store_first(r, to, square, count)
    store_first(v, to, speed, count)
    store_first(w, to, old - splat(rate) * speed, count)


def two_states(move: Callable[..., None]) -> tuple[Callable[..., None], Callable[..., None]]:
    """Kernels of an optimizer with two states: of a gradient that is there, and of a fully
    connected layer's. `move` updates the first lanes of the weights and states by their gradient.
    """

    @kernel
    def part(
        w: Any, one: Any, two: Any, g: Any, facts: Any, thread: int, start: int, stop: int
    ) -> None:
        """Update elements `start` ... `stop`."""
        for i in range(start, stop, LANES):
            move(w, one, two, i, stop - i, load_first(g, i, stop - i), facts)

    @kernel
    def rows(
        w: Any, one: Any, two: Any, x: Any, dy: Any, work: Any, images: int, channels: int,
        filters: int, facts: Any, thread: int, start: int, stop: int,
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
                    move(w, one, two, (k + row) * channels + i, count, made[row], facts)

    return part, rows


adam_part, adam_rows = two_states(adam_vector)
rmsprop_part, rmsprop_rows = two_states(rmsprop_vector)

KERNELS: Mapping[str, Callable[..., None]] = {
    "sgd": sgd,
    "fc_dw_sgd": fc_dw_sgd,
    "adam": adam,
    "fc_dw_adam": fc_dw_adam,
    "rmsprop": rmsprop,
    "fc_dw_rmsprop": fc_dw_rmsprop,
}
"""All operations of an optimizer in one pass, and with the gradient of a fully connected layer;
those need a workspace.
"""
