"""Convolution of any size and stride as products of panels, without a matrix of windows in memory.

A row of the output is a product whose operand are the input's rows themselves: the elements under
one row of a window, (s, c), follow each other in memory, and the window of the next pixel begins
a stride further. Only where there is padding, or a group's channels do not follow each other, a
thread first copies the rows it needs. The gradient of the input with stride s is s * s such
convolutions, one for each place a pixel has in the pattern of windows over it, with the filters'
taps that reach it turned around.

Images are (N, H, W, C), row-major, filters (K, C / groups, R, S); `work` is scratch memory of the
size `workspace` tells. Everything is float32.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from netc_kernels.cpu.direct_filters import filter_panels
from netc_kernels.cpu.product import DEPTH, PANEL, SHORT, TALL, short, single, tall
from netc_kernels.cpu.several import clear_run, copy_run
from netc_kernels.cpu.shape import NOTHING, Array, ConvShape, up
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    distance,
    kernel,
    load,
    load_first,
    maximum,
    piece,
    splat,
    store_first,
    where_positive,
)
from netc_kernels.cpu.winograd import GAP

PIXELS = 8 * TALL
"""Pixels to compute at a time, or one row of them."""

COLLISION = 512
"""Pixels a multiple of so many elements apart share few places of the first cache."""


class ConvPass(NamedTuple):
    """One convolution of one group: what it reads and where it writes, in elements."""

    height: int
    width: int
    pitch: int
    """All channels of the input."""
    first: int
    """The first channel of the group."""
    channels: int
    size_y: int
    size_x: int
    step_y: int
    step_x: int
    top: int
    left: int
    rows: int
    """Rows of an image's result."""
    columns: int
    pixels: int
    """Pixels of all images' results; the last row may be shorter."""
    filters: int
    to: int
    """Where the result's first element goes, and the steps from there."""
    to_image: int
    to_row: int
    to_pixel: int
    bias: int
    """The first filter's bias."""
    copied: bool
    """Whether rows are copied before they are read."""
    pixel: int
    """From one pixel of a copied row to the next."""
    tap: int
    """The first tap in a filter, and the steps from there."""
    tap_row: int
    tap_column: int

    @property
    def lines(self) -> int:
        """Rows of all images' results."""
        return -(-self.pixels // self.columns) if self.columns else 0


def workspace(shape: ConvShape, threads: int) -> int:
    """Bytes of `work` that `forward` and `backward_data` need."""
    passes = (forward_pass(shape, 0), *backward_passes(shape, 0))
    return 4 * max(_weights(p) + threads * _own(p) for p in passes)


def _weights(p: ConvPass) -> int:
    return up(p.filters, PANEL) * p.size_y * p.size_x * p.channels


def _lines(p: ConvPass) -> int:
    """Rows of the output to compute at a time."""
    return max(1, PIXELS // max(1, p.columns))


def _line(p: ConvPass) -> int:
    """Size of the copied rows for one row of the output; products may read a little further."""
    reach = (p.columns - 1 + TALL) * p.step_x + p.size_x
    return up(p.size_y * reach * p.pixel, 16) if p.copied else 0


def _sums(p: ConvPass) -> int:
    return _lines(p) * (p.columns + TALL) * PANEL


def _own(p: ConvPass) -> int:
    return _sums(p) + _lines(p) * _line(p)


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
    rows = shape.channels // shape.groups * shape.size[0] * shape.size[1]
    for group in range(shape.groups):
        taps = shape.size[0] * shape.size[1]
        _run(
            y,
            x,
            _filters(w, shape, group),
            forward_pass(shape, group),
            rows,
            taps,
            work,
            pool,
            bias,
            NOTHING,
            relu,
        )


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
    taps = shape.size[0] * shape.size[1]
    rows = shape.channels // shape.groups * taps
    for group in range(shape.groups):
        for p in backward_passes(shape, group):
            _run(
                dx,
                dy,
                _filters(w, shape, group),
                p,
                taps,
                rows,
                work,
                pool,
                NOTHING,
                positive,
                False,
            )


def _filters(w: Array, shape: ConvShape, group: int) -> Array:
    each = w.size // shape.groups
    return w.reshape(-1)[group * each : (group + 1) * each]


def forward_pass(shape: ConvShape, group: int) -> ConvPass:
    """The forward pass of one group."""
    channels, filters = shape.channels // shape.groups, shape.filters // shape.groups
    (height, width), (rows, columns), pitch = shape.image, shape.outputs, shape.filters
    pixels = shape.images * rows * columns
    plain = not any(shape.pad) and (shape.groups == 1 or shape.size[1] == 1)
    gap = _gap(shape.channels * shape.stride[1], channels)
    found = ConvPass(
        height, width, shape.channels, group * channels, channels, *shape.size, *shape.stride,
        shape.pad[0], shape.pad[2], rows, columns, pixels, filters, group * filters,
        rows * columns * pitch, columns * pitch, pitch, group * filters,
        not plain or gap > 0, channels + gap, 0, shape.size[1], 1,
    )  # fmt: skip
    return _flattened(found) if _flat(shape) else found


def _flat(shape: ConvShape) -> bool:
    return shape.size == (1, 1) and shape.stride == (1, 1) and not any(shape.pad)


def _gap(step: int, channels: int) -> int:
    """Elements to leave between pixels that otherwise fall on each other in the cache."""
    return GAP if channels >= DEPTH and step % COLLISION == 0 else 0


def _flattened(p: ConvPass) -> ConvPass:
    """Nothing tells one row from another: take as many pixels as are good for a row."""
    # an even number of equal rows, for two threads or four
    columns = max(1, -(-p.pixels // up(-(-p.pixels // PIXELS), 2)))
    rows = -(-p.pixels // columns)
    return p._replace(
        height=rows, width=columns, rows=rows, columns=columns, to_image=0,
        to_row=columns * p.to_pixel,
    )  # fmt: skip


def backward_passes(shape: ConvShape, group: int) -> Iterator[ConvPass]:
    """One pass for each place that a pixel of the input has in the windows' pattern."""
    channels, filters = shape.channels // shape.groups, shape.filters // shape.groups
    (height, width), pitch = shape.image, shape.channels
    source = (*shape.outputs, shape.filters, group * filters, filters)
    gap = _gap(shape.filters, filters)
    p, q = shape.outputs
    for y, size_y, tap_y, top, rows in _places(shape, 0):
        for x, size_x, tap_x, left, columns in _places(shape, 1):
            tap = tap_y * shape.size[1] + tap_x
            to = (y * width + x) * pitch + group * channels
            # Pixels behind the last window have no output to read.
            behind = rows > p or columns > q
            copied = size_y > 1 or size_x > 1 or any(shape.pad) or gap > 0 or behind
            found = ConvPass(
                *source, size_y, size_x, 1, 1, top, left, rows, columns,
                shape.images * rows * columns, channels, to, height * width * pitch,
                shape.stride[0] * width * pitch, shape.stride[1] * pitch, 0, copied,
                filters + gap, tap, -shape.stride[0] * shape.size[1], -shape.stride[1],
            )  # fmt: skip
            yield _flattened(found) if _flat(shape) else found


def _places(shape: ConvShape, axis: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield first pixel, number of taps, last tap, padding and number of pixels of each place."""
    size, stride, pad = shape.size[axis], shape.stride[axis], shape.pad[2 * axis]
    for place in range(min(stride, shape.image[axis])):
        tap = (place + pad) % stride
        taps = max(0, -(-(size - tap) // stride))
        before = taps - 1 - (place + pad - tap) // stride
        last = tap + (taps - 1) * stride
        yield place, taps, last, before, -(-(shape.image[axis] - place) // stride)


def _run(
    y: Array,
    x: Array,
    w: Array,
    p: ConvPass,
    lane: int,
    row: int,
    work: Array,
    pool: Pool,
    bias: Array,
    positive: Array,
    relu: bool,
) -> None:
    """Run one pass; filter and channel are `lane` and `row` elements apart in w."""
    y, x, bias, positive = (array.reshape(-1) for array in (y, x, bias, positive))
    weights, own, sums, line = _weights(p), _own(p), _sums(p), _line(p)
    lines = p.lines
    # an even number of equal parts
    together = max(1, -(-lines // max(2, up(-(-lines // _lines(p)), 2))))
    pool.split(p.filters, filter_panels, w, p, lane, row, work, weights, own, unit=PANEL)
    pool.spread(
        lines, together, convolve_lines, y, x, p, work, weights, own, sums, line, bias, positive,
        relu, together,
    )  # fmt: skip


@kernel
def convolve_lines(
    y: Any,
    x: Any,
    p: ConvPass,
    work: Any,
    scratch: int,
    own: int,
    copied: int,
    line: int,
    bias: Any,
    positive: Any,
    relu: bool,
    together: int,
    thread: int,
    start: int,
    stop: int,
) -> None:
    """Compute rows `start` ... `stop` of all images' results, some together.

    Every thread has `own` elements of scratch: sums, and from `copied` on rows of the input.
    """
    sums = scratch + thread * own
    copies = sums + copied
    for first in range(start, stop, together):
        last = min(first + together, stop)
        _some_lines(y, x, p, work, sums, copies, line, bias, positive, relu, first, last)


@piece
def _some_lines(
    y: Any,
    x: Any,
    p: ConvPass,
    work: Any,
    sums: int,
    copies: int,
    line: int,
    bias: Any,
    positive: Any,
    relu: bool,
    start: int,
    stop: int,
) -> None:
    pixel, of_row = p.pixel, ((p.columns - 1) * p.step_x + p.size_x) * p.pixel
    if p.copied:
        for row in range(start, stop):
            _copy_line(x, p, row, work, copies + (row - start) * line, of_row)
    else:
        pixel, of_row = p.pitch, p.width * p.pitch
    few = p.size_y * p.size_x * p.channels <= 2 * DEPTH
    plain = few and not (relu or bias.size or positive.size)
    other = distance(positive, y) if positive.size else 0
    for first in range(0, p.filters, PANEL):
        panel = first * p.size_y * p.size_x * p.channels
        straight = plain and p.filters - first >= PANEL
        for row in range(start, stop):
            count = min(p.columns, p.pixels - row * p.columns)
            n, i = divmod(row, p.rows)
            source, at = x, ((n * p.height + i * p.step_y) * p.width) * p.pitch + p.first
            if p.copied:
                source, at = work, copies + (row - start) * line
            # products of few terms need no place of their own before they are written
            done = count // TALL * TALL if straight else 0
            to = p.to + n * p.to_image + i * p.to_row + first
            _row(y, to, p.to_pixel, source, at, work, p, pixel, of_row, panel, done, y, to, other)
            near, at = to + done * p.to_pixel, at + done * p.step_x * pixel
            to = sums + (row - start) * (p.columns + TALL) * PANEL
            _row(
                work, to, PANEL, source, at, work, p, pixel, of_row, panel, count - done, y, near,
                other,
            )  # fmt: skip
            _write(y, p, row, first, done, count, work, to, bias, positive, relu)


@piece
def _row(
    out: Any,
    to: int,
    to_pixel: int,
    x: Any,
    at: int,
    work: Any,
    p: ConvPass,
    pixel: int,
    of_row: int,
    panel: int,
    count: int,
    near: Any,
    near_at: int,
    other: int,
) -> None:
    """Multiply the pixels of one row by one panel of filters, some terms at a time."""
    # the taps of a row are one sum if nothing is between them
    run = p.size_x if pixel == p.channels else 1
    inner, step = run * p.channels, p.step_x * pixel
    # short rows of a window go together, long ones in pieces
    together = max(1, 2 * DEPTH // inner) if inner and run == p.size_x else 1
    pieces = inner if inner <= 2 * DEPTH else DEPTH
    if not inner * p.size_y * p.size_x:
        _terms(
            out, to, to_pixel, x, at, step, of_row, work, panel, 0, 0, count, False, near, near_at,
            p.to_pixel, other,
        )  # fmt: skip
        return
    for r in range(0, p.size_y, together):
        rows = min(together, p.size_y - r)
        for s in range(0, p.size_x, run):
            for depth in range(0, inner, pieces):
                terms, tap = min(pieces, inner - depth), r * p.size_x + s
                b, a = panel + (tap * p.channels + depth) * PANEL, at + r * of_row + s * pixel
                _terms(
                    out, to, to_pixel, x, a + depth, step, of_row, work, b, rows, terms, count,
                    tap + depth > 0, near, near_at, p.to_pixel, other,
                )  # fmt: skip


@piece
def _terms(
    out: Any,
    to: int,
    to_pixel: int,
    x: Any,
    at: int,
    step: int,
    of_row: int,
    work: Any,
    panel: int,
    outer: int,
    inner: int,
    count: int,
    add: bool,
    near: Any,
    near_at: int,
    near_row: int,
    other: int,
) -> None:
    """Multiply `count` pixels, `step` elements apart; more are computed where there are more."""
    done, last = 0, x.size - (outer - 1) * of_row - inner
    while done < count:
        row, of = to + done * to_pixel, at + done * step
        close = near_at + done * near_row
        if count - done > SHORT and of + (TALL - 1) * step <= last:
            tall(
                out, row, to_pixel, x, of, step, of_row, work, panel, outer, inner, add, near,
                close, near_row, other,
            )  # fmt: skip
            done += TALL
        elif of + (SHORT - 1) * step <= last:
            short(
                out, row, to_pixel, x, of, step, of_row, work, panel, outer, inner, add, near,
                close, near_row, other,
            )  # fmt: skip
            done += SHORT
        else:
            single(
                out, row, to_pixel, x, of, step, of_row, work, panel, outer, inner, add, near,
                close, near_row, other,
            )  # fmt: skip
            done += 1


@piece
def _copy_line(x: Any, p: ConvPass, line: int, work: Any, to: int, of_row: int) -> None:
    """Copy the rows of the input that one row of the result needs, with their padding."""
    n, i = divmod(line, p.rows)
    columns = of_row // max(1, p.pixel)
    first = min(max(p.left, 0), columns)
    last = max(first, min(p.left + p.width, columns))
    for r in range(p.size_y):
        row, at = i * p.step_y - p.top + r, to + r * of_row
        if row < 0 or row >= p.height:
            clear_run(work, at, of_row)
            continue
        of = ((n * p.height + row) * p.width + first - p.left) * p.pitch + p.first
        # the last row may be short where rows are no more than numbers of pixels
        count = min(last - first, (x.size - of - p.channels) // max(1, p.pitch) + 1)
        start, stop = at + first * p.pixel, at + (first + count) * p.pixel
        clear_run(work, at, start - at)
        if p.pitch == p.pixel:
            copy_run(work, start, x, of, stop - start)
        else:
            for s in range(count):
                copy_run(work, start + s * p.pixel, x, of + s * p.pitch, p.channels)
        clear_run(work, stop, at + of_row - stop)


@piece
def _write(
    y: Any,
    p: ConvPass,
    line: int,
    first: int,
    begin: int,
    end: int,
    work: Any,
    sums: int,
    bias: Any,
    positive: Any,
    relu: bool,
) -> None:
    """Write pixels `begin` ... `end` of a row for a panel of filters, with all that is fused."""
    n, i = divmod(line, p.rows)
    start = p.to + n * p.to_image + i * p.to_row + first
    for half in range(0, min(PANEL, p.filters - first), LANES):
        left = p.filters - first - half
        shift = load_first(bias, p.bias + first + half, left if bias.size else 0)
        for q in range(begin, end):
            to = start + q * p.to_pixel + half
            value = load(work, sums + (q - begin) * PANEL + half) + shift
            if relu:
                value = maximum(splat(0.0), value)
            if positive.size:
                value = where_positive(load_first(positive, to, left), value)
            store_first(y, to, value, left)
