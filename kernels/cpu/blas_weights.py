"""The gradient of a convolution's filters as products of matrices by BLAS.

For every tap it is dy' times what of the input lies under that tap, a matrix of all pixels of the
output. Threads take taps, or channels of one, so that nothing has to be added up afterwards.

See `blas` for how arrays lie, and for BLAS's threads.
"""

from collections.abc import Iterator
from math import gcd

import numpy as np

from netc_kernels.cpu.blas import is_matrix, rows_of
from netc_kernels.cpu.direct import ConvPass, forward_pass
from netc_kernels.cpu.shape import Array, ConvShape, up
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import LANES
from netc_kernels.cpu.windows import taps_together


def workspace(shape: ConvShape, threads: int) -> int:
    """Bytes of `work` that `backward_weights` needs."""
    p = forward_pass(shape, 0)
    return 4 * (_sums(p) + threads * _windows(p, threads))


def _sums(p: ConvPass) -> int:
    """Size of the gradient, [filter, tap, channel]; a little beyond it is read."""
    taps = p.size_y * p.size_x
    return up(taps * p.filters * p.channels + LANES * p.channels, LANES) if taps > 1 else 0


def _windows(p: ConvPass, threads: int) -> int:
    """Size of what is laid out for the largest piece."""
    sizes = (0 if is_matrix(q) else q.pixels * q.channels for q in _pieces(p, threads))
    return up(max(sizes), LANES)


def _pieces(p: ConvPass, threads: int) -> Iterator[ConvPass]:
    """Each tap as a convolution of its own, or parts of it, so that all threads have as much."""
    taps = p.size_y * p.size_x
    # what must be laid out is divided by channels, so that no thread does what another did
    by_filters = is_matrix(p) and p.filters > p.channels
    count = p.filters if by_filters else p.channels
    width = up(-(-count // (threads // gcd(threads, taps))), LANES)
    for tap in range(taps):
        r, s = divmod(tap, p.size_x)
        one = p._replace(size_y=1, size_x=1, top=p.top - r, left=p.left - s, tap=tap)
        for start in range(0, count, width):
            share = min(width, count - start)
            if by_filters:
                yield one._replace(bias=p.bias + start, filters=share)
            else:
                yield one._replace(first=p.first + start, channels=share)


def backward_weights(
    dw: Array, x: Array, dy: Array, shape: ConvShape, work: Array, pool: Pool
) -> None:
    """Compute dw (K, C / groups, R, S) from x (N, H, W, C) and dy (N, P, Q, K)."""
    each = dw.size // shape.groups
    x, dy = x.reshape(-1), dy.reshape(-1, shape.filters)
    for group in range(shape.groups):
        out = dw.reshape(-1)[group * each : (group + 1) * each]
        _run(out, x, dy, forward_pass(shape, group), work, pool)


def _run(dw: Array, x: Array, dy: Array, p: ConvPass, work: Array, pool: Pool) -> None:
    taps, sums, own = p.size_y * p.size_x, _sums(p), _windows(p, pool.threads)
    target = work[: dw.size] if taps > 1 else dw
    target = target.reshape(p.filters, taps * p.channels)
    pieces = list(_pieces(p, pool.threads))

    def multiply(thread: int, start: int, stop: int) -> None:
        mine = work[sums + thread * own : sums + (thread + 1) * own]
        for q in pieces[start:stop]:
            k, c = q.bias - p.bias, q.tap * p.channels + q.first - p.first
            np.matmul(
                dy[:, q.bias : q.bias + q.filters].T,
                rows_of(x, q, mine, 0, p.lines),
                out=target[k : k + q.filters, c : c + q.channels],
            )

    pool.run(len(pieces), 1, multiply)
    if taps > 1:
        pool.split(p.filters, taps_together, dw, work, p.channels, taps)
