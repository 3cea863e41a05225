"""Stochastic gradient descent with momentum and decay in one pass over the memory.

As the reference's `sgd_velocity` and `sgd_apply` (Krizhevsky et al. 2012, section 5):
v = momentum * v - lr * (g + decay * w), w = w + v.
"""

from typing import Any

from netc_kernels.cpu.elementwise import GRAIN
from netc_kernels.cpu.linear import ROWS, fill_row
from netc_kernels.cpu.shape import Array
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import kernel


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

    The gradient is never in memory, but for one row for each thread.
    """
    rate, kept, decayed = _facts(w, lr, momentum, decay)
    rows = work[: pool.threads * w.shape[1]]
    rows = rows.reshape(pool.threads, w.shape[1])
    pool.run(
        len(w), ROWS,
        lambda thread, start, stop: step_rows(
            w, v, x, dy, rows[thread], rate, kept, decayed, start, stop
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
    w: Any, v: Any, x: Any, dy: Any, row: Any, lr: Any, momentum: Any, decay: Any,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Update some rows, making each row of the gradient right before."""
    for k in range(start, stop):
        fill_row(row, x, dy, k)
        step(w[k], v[k], row, lr, momentum, decay)
