"""Convolution as products of matrices by BLAS, of windows laid out a few rows at a time.

A row of the first matrix is a window, [r, s, channel]; the second has the filters (Chellapilla,
Puri and Simard 2006, "High performance convolutional neural networks for document processing").
What is a matrix already, windows of one pixel next to each other, is not copied. The gradient of
the input is one such product for each place a pixel has in the windows' pattern, as in `direct`.

BLAS is called from every thread of the pool and must not start threads of its own. Images are
(N, H, W, C), row-major, filters (K, C / groups, R, S); `work` is scratch memory of the size
that the workspace functions tell. Everything is float32.
"""

from collections.abc import Sequence

import numpy as np

from netc_kernels.cpu.direct import ConvPass, backward_passes, forward_pass
from netc_kernels.cpu.shape import NOTHING, Array, ConvShape, up
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import LANES
from netc_kernels.cpu.windows import gather, put, taps_apart

PIXELS = 4096
"""Pixels to compute at a time: products of few rows are slow."""
WINDOWS = 1 << 20
"""Elements of the windows that a thread lays out at a time, which stay in the last cache."""
FEW = 16
"""Of fewer channels or filters products are mostly overhead."""
MANY_PIXELS = 256
"""Rows of a product from which on BLAS's packing of the filters is worth its time."""
LARGE_TAP = 1 << 17
"""Elements of filters for one tap that leave much of the second cache to nothing else."""
LARGE_SUMS = 1 << 19
"""The same of a gradient of filters, whose sums every thread has."""


def applies(shape: ConvShape) -> bool:
    """Whether there is enough of everything for products to be worth their preparation."""
    return min(shape.channels, shape.filters) >= FEW * shape.groups


def is_usual(shape: ConvShape) -> bool:
    """Whether the two here are most often faster than `direct`: with strides, where a group's
    filters are large and used often enough.
    """
    return _has_many_windows_apart(shape) and _tap(shape) >= LARGE_TAP


def is_usual_for_filters(shape: ConvShape) -> bool:
    """The same for the gradient of the filters."""
    return shape.size == (1, 1) and _has_many_windows_apart(shape) and _tap(shape) >= LARGE_SUMS


def _tap(shape: ConvShape) -> int:
    return shape.filters * shape.channels // shape.groups**2


def _has_many_windows_apart(shape: ConvShape) -> bool:
    pixels = shape.images * shape.outputs[0] * shape.outputs[1]
    return shape.stride != (1, 1) and pixels >= MANY_PIXELS


def forward_workspace(shape: ConvShape, threads: int) -> int:
    """Bytes of `work` that `forward` needs."""
    return _workspace([forward_pass(shape, 0)], shape, threads)


def backward_workspace(shape: ConvShape, threads: int) -> int:
    """Bytes of `work` that `backward_data` needs."""
    return _workspace(list(backward_passes(shape, 0)), shape, threads)


def _workspace(passes: Sequence[ConvPass], shape: ConvShape, threads: int) -> int:
    own = max(_windows(p, threads) + _product(p, threads) for p in passes)
    return 4 * (_filters(shape, threads) + threads * own)


def _filters(shape: ConvShape, threads: int) -> int:
    """Size of one group's filters laid out anew, and of the scratch for that."""
    taps = shape.size[0] * shape.size[1]
    each = shape.filters // shape.groups * shape.channels // shape.groups * taps
    return up(each, LANES) + threads * LANES**2 if taps > 1 else 0


def _windows(p: ConvPass, threads: int) -> int:
    return 0 if is_matrix(p) else up(_together(p, threads) * p.columns * _inner(p), LANES)


def _product(p: ConvPass, threads: int) -> int:
    return 0 if _is_regular(p) else up(_together(p, threads) * p.columns * p.filters, LANES)


def _inner(p: ConvPass) -> int:
    return p.size_y * p.size_x * p.channels


def is_matrix(p: ConvPass) -> bool:
    """Whether the pixels of the input are the windows."""
    same = (p.rows, p.columns) == (p.height, p.width)
    return same and (p.size_y, p.size_x, p.step_y, p.step_x, p.top, p.left) == (1, 1, 1, 1, 0, 0)


def _is_regular(p: ConvPass) -> bool:
    """Whether all pixels of the result are equally far apart."""
    return p.to_row == p.columns * p.to_pixel and p.to_image in (0, p.rows * p.to_row)


def _together(p: ConvPass, threads: int) -> int:
    """Rows of the result to compute at a time; all threads have equally many."""
    widest = max(1, 0 if is_matrix(p) else _inner(p), 0 if _is_regular(p) else p.filters)
    pixels = min(PIXELS, max(1, WINDOWS // widest))
    return max(1, -(-p.lines // max(1, up(-(-p.pixels // pixels), threads))))


def forward(
    y: Array,
    x: Array,
    w: Array,
    shape: ConvShape,
    work: Array,
    pool: Pool,
    bias: Array = NOTHING,
    relu: bool = False,
) -> None:
    """Convolve: y (N, P, Q, K) from x (N, H, W, C), with bias (K,) and relu if asked."""
    taps, rest = shape.size[0] * shape.size[1], work[_filters(shape, pool.threads) :]
    for group in range(shape.groups):
        p = forward_pass(shape, group)
        inner = taps * p.channels
        matrix = _lay_out(w, shape, group, range(taps), p.channels, inner, work, pool)
        filters = matrix.reshape(p.filters, inner).T
        _run(y, x, filters, p, rest, pool, bias, NOTHING, relu)


def backward_data(
    dx: Array,
    dy: Array,
    w: Array,
    shape: ConvShape,
    work: Array,
    pool: Pool,
    positive: Array = NOTHING,
) -> None:
    """Compute dx (N, H, W, C) from dy (N, P, Q, K).

    Where `positive` (as dx: the output of the relu before) is given and not above 0, dx is 0.
    """
    rest, order = work[_filters(shape, pool.threads) :], _order(shape)
    filters, channels = shape.filters // shape.groups, shape.channels // shape.groups
    for group in range(shape.groups):
        matrix = _lay_out(w, shape, group, order, filters * channels, channels, work, pool)
        matrix, first = matrix.reshape(-1, channels), 0
        for p in backward_passes(shape, group):
            last = first + _inner(p)
            if first == last:
                _clear(dx, p, rest, pool)
            else:
                _run(dx, dy, matrix[first:last], p, rest, pool, NOTHING, positive, False)
            first = last


def _order(shape: ConvShape) -> Sequence[int]:
    """Where each tap goes so that those of a backward pass follow each other."""
    wanted = [
        p.tap + r * p.tap_row + s * p.tap_column
        for p in backward_passes(shape, 0)
        for r in range(p.size_y)
        for s in range(p.size_x)
    ]
    # taps beyond a small image belong to no pass
    every = dict.fromkeys([*wanted, *range(shape.size[0] * shape.size[1])])
    order: Sequence[int] = np.argsort(list(every)).tolist()
    return order


def _lay_out(
    w: Array,
    shape: ConvShape,
    group: int,
    order: Sequence[int],
    of_tap: int,
    of_filter: int,
    work: Array,
    pool: Pool,
) -> Array:
    """One group's filters with the channels innermost: tap and filter at multiples of steps."""
    each, count = w.size // shape.groups, shape.filters // shape.groups
    own = w.reshape(-1)[group * each : (group + 1) * each]
    if len(order) == 1:
        return own
    channels, places = shape.channels // shape.groups, np.array(order)
    facts = channels, places, of_tap, of_filter, up(each, LANES)
    pool.split(count, taps_apart, work, own, *facts)
    return work[:each]


def _run(
    y: Array,
    x: Array,
    filters: Array,
    p: ConvPass,
    work: Array,
    pool: Pool,
    bias: Array,
    positive: Array,
    relu: bool,
) -> None:
    """Run one pass with filters (r s c, k)."""
    y, x, bias, positive = (array.reshape(-1) for array in (y, x, bias, positive))
    windows, regular = _windows(p, pool.threads), _is_regular(p)
    own = windows + _product(p, pool.threads)
    plain = regular and not (bias.size or positive.size or relu)

    def part(thread: int, start: int, stop: int) -> None:
        first, last = start * p.columns, min(stop * p.columns, p.pixels)
        mine = work[thread * own : (thread + 1) * own]
        if regular:
            source, at, step = y, p.to + first * p.to_pixel, p.to_pixel
            out = y.reshape(-1, step)[first:last, p.to : p.to + p.filters]
        else:
            source, at, step = mine, windows, p.filters
            out = mine[at : at + (last - first) * step].reshape(-1, step)
        np.matmul(rows_of(x, p, mine, start, stop), filters, out=out)
        if not plain:
            put(y, source, at, step, p, bias, positive, relu, first, last)

    pool.run(p.lines, _together(p, pool.threads), part)


def _clear(y: Array, p: ConvPass, work: Array, pool: Pool) -> None:
    """Write zeros to what a pass without terms gives."""
    y, zeros = y.reshape(-1), work[: p.filters]
    zeros[:] = 0

    def part(thread: int, start: int, stop: int) -> None:
        first, last = start * p.columns, stop * p.columns
        put(y, zeros, 0, 0, p, NOTHING, NOTHING, False, first, last)

    pool.run(p.lines, _together(p, pool.threads), part)


def rows_of(x: Array, p: ConvPass, work: Array, start: int, stop: int) -> Array:
    """The windows of rows `start` ... `stop` as a matrix, laid out in `work` if need be."""
    first, last = start * p.columns, min(stop * p.columns, p.pixels)
    if is_matrix(p):
        return x.reshape(-1, p.pitch)[first:last, p.first : p.first + p.channels]
    gather(work, x, p, start, stop)
    inner = _inner(p)
    return work[: (last - first) * inner].reshape(last - first, inner)
