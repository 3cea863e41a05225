"""Stochastic gradient descent with momentum and decay (Krizhevsky et al. 2012, section 5; as
PyTorch has it; with Nesterov's momentum, Sutskever et al. 2013), Adam (Kingma and Ba 2015,
algorithm 1), and RMSprop (Hinton 2012, lecture 6e).

Weights, velocities and moments are f32, gradients f32 or bf16, all in one order in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, log, prod
from typing import Any

import numpy as np

from netc_kernels.cuda import source
from netc_kernels.cuda.elementwise import add
from netc_kernels.cuda.layout import THREADS, alike, ceil_div, lanes, macros
from netc_kernels.cuda.tensor import Tensor

FILE = "update.cu"
PACKS = 2
"""Packs that a thread takes where the states are one velocity, as in the source; else one."""
LANES = 8
"""Elements of a pack: 16 bytes of bf16, 32 of f32."""
MOST_BLOCKS = 528
"""Blocks that sum squares: four for every multiprocessor of an H100."""


def sgd_velocity(
    out: Tensor, v: Tensor, w: Tensor, g: Tensor, lr: Tensor,
    *, momentum: float, decay: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Update the velocity: momentum * v - lr * (g + scale * decay * w). `out` may be v."""
    numbers = np.float32(momentum), np.float32(scale * decay)
    _launch("sgd_velocity", (out,), (g, v, w), (lr,), numbers, stream, PACKS)


def sgd_apply(out: Tensor, w: Tensor, v: Tensor, *, stream: int) -> None:
    """Move the weights by the velocity: w + v. `out` may be w."""
    add(out, w, v, stream=stream)


def sgd(
    v_out: Tensor, w_out: Tensor, g: Tensor, v: Tensor, w: Tensor, lr: Tensor,
    *, momentum: float, decay: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Compute `sgd_velocity` and `sgd_apply` in one pass. v_out may be v, w_out may be w."""
    numbers = np.float32(momentum), np.float32(scale * decay)
    _launch("sgd", (v_out, w_out), (g, v, w), (lr,), numbers, stream, PACKS)


def momentum_velocity(
    out: Tensor, v: Tensor, w: Tensor, g: Tensor,
    *, decay: float, momentum: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Update the velocity: momentum * v + s, s = g / scale + decay * w. `out` may be v."""
    numbers = (*_slope(decay, scale), np.float32(momentum))
    _launch("momentum_velocity", (out,), (g, v, w), (), numbers, stream, PACKS)


def nesterov_apply(
    out: Tensor, w: Tensor, v: Tensor, g: Tensor, lr: Tensor,
    *, decay: float, momentum: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Move the weights as if the velocity were a step ahead: w - scale * lr * (s + momentum * v),
    s = g / scale + decay * w. `out` may be w.
    """
    numbers = (*_slope(decay, scale), np.float32(momentum), np.float32(scale))
    _launch("nesterov_apply", (out,), (g, w, v), (lr,), numbers, stream)


def velocity_apply(
    out: Tensor, w: Tensor, v: Tensor, lr: Tensor, *, scale: float, stream: int
) -> None:  # fmt: skip
    """Move the weights against the velocity: w - scale * lr * v. `out` may be w."""
    _launch("velocity_apply", (out,), (w, v), (lr,), (np.float32(scale),), stream)


def momentum(
    v_out: Tensor, w_out: Tensor, g: Tensor, v: Tensor, w: Tensor, lr: Tensor,
    *, decay: float, momentum: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Compute `momentum_velocity` and `velocity_apply` in one pass. Results may be operands."""
    numbers = (*_slope(decay, scale), np.float32(momentum), np.float32(scale))
    _launch("momentum", (v_out, w_out), (g, v, w), (lr,), numbers, stream, PACKS)


def nesterov(
    v_out: Tensor, w_out: Tensor, g: Tensor, v: Tensor, w: Tensor, lr: Tensor,
    *, decay: float, momentum: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Compute `momentum_velocity` and `nesterov_apply` in one pass. Results may be operands."""
    numbers = (*_slope(decay, scale), np.float32(momentum), np.float32(scale))
    _launch("nesterov", (v_out, w_out), (g, v, w), (lr,), numbers, stream, PACKS)


def adam_moment1(
    out: Tensor, m: Tensor, w: Tensor, g: Tensor,
    *, beta1: float, decay: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Update the mean of slopes: beta1 * m + (1 - beta1) * s, s = g / scale + decay * w.

    `out` may be m.
    """
    numbers = _slope(decay, scale) + _mean(beta1)
    _launch("adam_moment1", (out,), (g, m, w), (), numbers, stream)


def adam_moment2(
    out: Tensor, v: Tensor, w: Tensor, g: Tensor,
    *, beta2: float, decay: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Update the mean of squared slopes: beta2 * v + (1 - beta2) * s * s. `out` may be v."""
    numbers = _slope(decay, scale) + _mean(beta2)
    _launch("adam_moment2", (out,), (g, v, w), (), numbers, stream)


def adam_apply(
    out: Tensor,
    w: Tensor,
    m: Tensor,
    v: Tensor,
    lr: Tensor,
    step: Tensor,
    *,
    stream: int,
    **attributes: Any,
) -> None:
    """Move the weights by the moments, each divided by the sum of its factors so far.

    `out` may be w; `attributes` has those of the reference's.
    """
    _launch("adam_apply", (out,), (w, m, v), (lr, step), _step(**attributes), stream)


def adam(
    m_out: Tensor, v_out: Tensor, w_out: Tensor, g: Tensor, m: Tensor, v: Tensor, w: Tensor,
    lr: Tensor, step: Tensor, *, decay: float, stream: int, **attributes: Any,
) -> None:  # fmt: skip
    """Compute `adam_moment1`, `adam_moment2` and `adam_apply` in one pass. Results may be the
    operands of the same name; `attributes` has those of `adam_apply`.
    """
    means = _mean(attributes["beta1"]) + _mean(attributes["beta2"])
    numbers = _slope(decay, attributes["scale"]) + means + _step(**attributes)
    _launch("adam", (m_out, v_out, w_out), (g, m, v, w), (lr, step), numbers, stream)


def rmsprop_velocity(
    out: Tensor, v: Tensor, square: Tensor, w: Tensor, g: Tensor,
    *, decay: float, momentum: float, eps: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Update the velocity: momentum * v + s / (sqrt(square) + eps), s = g / scale + decay * w.

    `out` may be v.
    """
    numbers = (*_slope(decay, scale), np.float32(momentum), np.float32(eps))
    _launch("rmsprop_velocity", (out,), (g, v, square, w), (), numbers, stream)


def rmsprop(
    r_out: Tensor, v_out: Tensor, w_out: Tensor,
    g: Tensor, r: Tensor, v: Tensor, w: Tensor, lr: Tensor,
    *, beta2: float, decay: float, momentum: float, eps: float, scale: float, stream: int,
) -> None:  # fmt: skip
    """Compute `adam_moment2` of r, `rmsprop_velocity` and `velocity_apply` in one pass. Results may
    be the operands of the same name.
    """
    last = (np.float32(momentum), np.float32(eps), np.float32(scale))
    numbers = _slope(decay, scale) + _mean(beta2) + last
    _launch("rmsprop", (r_out, v_out, w_out), (g, r, v, w), (lr,), numbers, stream)


def squares_workspace(out: tuple[int, ...], g: tuple[int, ...]) -> int:
    """Bytes of `work` that `square_sum` needs, for a gradient of a shape."""
    return 4 * min(MOST_BLOCKS, ceil_div(prod(g), THREADS))


def square_sum(out: Tensor, g: Tensor, *, work: Tensor | None, stream: int) -> None:
    """Sum the squares of all elements, out () f32."""
    packed = lanes(g.elements, g, most=LANES)
    packs = g.elements // packed
    blocks, partial = min(MOST_BLOCKS, ceil_div(packs, THREADS)), work.pointer if work else 0
    if blocks:
        first = source.function(FILE, "square_sums", **macros(g, packed))
        source.launch(first, (blocks,), (THREADS,), (partial, g.pointer, np.int64(packs)), stream)
    second = source.function(FILE, "sum_blocks", BF16=0, LANES=1)
    source.launch(second, (1,), (THREADS,), (out.pointer, partial, np.int32(blocks)), stream)


def clipped(out: Tensor, g: Tensor, squares: Tensor, *, limit: float, stream: int) -> None:
    """Compute g * min(1, limit / (sqrt(squares) + 1e-6)). `out` may be g; squares is () f32."""
    _launch("clipped", (out,), (g,), (squares,), (np.float32(limit),), stream)


def accumulate(out: Tensor, acc: Tensor, x: Tensor, *, stream: int) -> None:
    """Compute acc + x; x may be bf16 where the sum is f32. `out` may be acc."""
    if acc.dtype == x.dtype:
        add(out, acc, x, stream=stream)
    else:
        _launch("accumulate", (out,), (x, acc), (), (), stream)


def average(
    out: Tensor, e: Tensor, w: Tensor, step: Tensor, *, decay: float, stream: int
) -> None:  # fmt: skip
    """Move an average: decay * e + (1 - decay) * w, or w where step () is 0. `out` may be e."""
    _launch("average", (out,), (e, w), (step,), _mean(decay), stream)


def _slope(decay: float, scale: float) -> tuple[Any, ...]:
    return np.float32(1 / scale), np.float32(decay)


def _mean(beta: float) -> tuple[Any, ...]:
    return np.float32(beta), np.float32(1 - beta)


def _step(
    *, beta1: float, beta2: float, eps: float, decoupled: float, scale: float, turn: int, turns: int
) -> tuple[Any, ...]:
    logs = (log(beta) if beta else -inf for beta in (beta1, beta2))
    floats = tuple(np.float32(each) for each in (*logs, eps, decoupled, scale))
    return *floats, np.int64(turn), np.int64(turns)


def _launch(
    name: str, results: tuple[Tensor, ...], tensors: tuple[Tensor, ...],
    scalars: tuple[Tensor, ...], numbers: tuple[Any, ...], stream: int, taken: int = 1,
) -> None:  # fmt: skip
    """Start a kernel of (results, tensors, scalars, packs, numbers), `taken` packs a thread. The
    first tensor may be a gradient in bf16.
    """
    operands = (*results, *tensors)
    assert alike(*operands) and {block.dtype for block in tensors[1:]} <= {"f32"}
    assert [block.dtype for block in scalars] in ([], ["f32"], ["i64"], ["f32", "i64"])
    packed = lanes(tensors[0].elements, *operands, most=LANES)
    packs = tensors[0].elements // packed
    pointers = [block.pointer for block in (*results, *tensors, *scalars)]
    kernel = source.function(FILE, name, **macros(tensors[0], packed))
    grid = (ceil_div(packs, THREADS * taken),)
    source.launch(kernel, grid, (THREADS,), (*pointers, np.int64(packs), *numbers), stream)


KERNELS: Mapping[str, Callable[..., None]] = {
    "sgd_velocity": sgd_velocity,
    "sgd_apply": sgd_apply,
    "sgd": sgd,
    "momentum_velocity": momentum_velocity,
    "nesterov_apply": nesterov_apply,
    "velocity_apply": velocity_apply,
    "momentum": momentum,
    "nesterov": nesterov,
    "adam_moment1": adam_moment1,
    "adam_moment2": adam_moment2,
    "adam_apply": adam_apply,
    "adam": adam,
    "rmsprop_velocity": rmsprop_velocity,
    "rmsprop": rmsprop,
    "accumulate": accumulate,
    "square_sum": square_sum,
    "clipped": clipped,
    "average": average,
}
"""The operations of all optimizers, those of each one in one pass, what gradients go through before
and weights after them."""
