"""Stochastic gradient descent with momentum and decay in one pass over the memory.

As the reference's `sgd_velocity` and `sgd_apply` (Krizhevsky et al. 2012, section 5):
v = momentum * v - lr * (g + decay * w), w = w + v.
"""

from typing import Any

from netc_kernels.cpu.elementwise import GRAIN
from netc_kernels.cpu.linear import ROWS, four_rows
from netc_kernels.cpu.shape import Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    copy_element,
    kernel,
    load_first,
    splat,
    store_first,
)


def sgd(
    w: Array, v: Array, g: Array, pool: Pool, *, lr: float, momentum: float, decay: float
) -> None:
    """Update w and v, of one shape, in place; `decay` includes this call's share of it."""
    flat, facts = (w.reshape(-1), v.reshape(-1), g.reshape(-1)), _facts(w, lr, momentum, decay)
    pool.run(
        w.size, GRAIN,
        lambda thread, start, stop: step(
            *(array[start:stop] for array in flat), *facts
        ),
    )  # fmt: skip


def fc_dw_sgd(
    w: Array, v: Array, x: Array, dy: Array, work: Array, pool: Pool,
    *, lr: float, momentum: float, decay: float,
) -> None:  # fmt: skip
    """Update the weights w (K, C) of a fully connected layer by the gradient dy.T @ x.

    The gradient is never in memory.
    """
    (images, channels), filters = x.shape, len(w)
    rate, kept, decayed = _facts(w, lr, momentum, decay)
    w, v, x, dy = (array.reshape(-1) for array in (w, v, x, dy))
    pool.run(
        filters, ROWS,
        lambda thread, start, stop: step_rows(
            w, v, x, dy, work, thread * channels, images, channels, filters, rate, kept, decayed,
            start, stop,
        ),
    )  # fmt: skip


def fc_dw_sgd_workspace(channels: int, threads: int) -> int:
    """Bytes of `work` that `fc_dw_sgd` needs."""
    return 4 * channels * threads


def _facts(w: Array, *numbers: float) -> Any:
    return tuple(w.dtype.type(number) for number in numbers)


@kernel
def step(w: Any, v: Any, g: Any, lr: Any, momentum: Any, decay: Any) -> None:
    """Update some elements."""
    for i in range(len(w)):
        moved = momentum * v[i] - lr * (g[i] + decay * w[i])
        v[i] = moved
        w[i] += moved


@kernel
def step_rows(
    w: Any, v: Any, x: Any, dy: Any, work: Any, own: int, images: int, channels: int, filters: int,
    lr: Any, momentum: Any, decay: Any, start: int, stop: int,
) -> None:  # fmt: skip
    """Update rows `start` ... `stop`, making each vector of the gradient right before."""
    for k in range(start, stop, 4):
        last, source, at, step = min(3, stop - 1 - k), dy, k, filters
        if 4 * images <= channels:
            # what is read for every vector lies together, if there is room
            source, at, step = work, own, 4
            for n in range(images):
                for row in range(last + 1):
                    copy_element(work, own + 4 * n + row, dy, n * filters + k + row)
        for i in range(0, channels, LANES):
            rows, count = four_rows(x, images, channels, i, source, at, step, last), channels - i
            for row in range(last + 1):
                to = (k + row) * channels + i
                old = load_first(w, to, count)
                change = splat(lr) * (rows[row] + splat(decay) * old)
                moved = splat(momentum) * load_first(v, to, count) - change
                store_first(v, to, moved, count)
                store_first(w, to, old + moved, count)
