"""Winograd's transforms of filters of 3x3, 4x4 and 5x5 taps, and of their gradients.

A filter g becomes G g G', the gradient of a filter is G' S G of the sum S of products over all
tiles: 36 positions as in `winograd_transforms`, with the matrices of `winograd_matrices`.
"""

from typing import Any

from netc_kernels.cpu import winograd_matrices as matrices
from netc_kernels.cpu.product import PANEL
from netc_kernels.cpu.several import (
    five,
    four,
    put_five,
    put_four,
    put_six,
    put_three,
    six,
    three,
)
from netc_kernels.cpu.vector import (
    LANES,
    copy_element,
    inline,
    piece,
    transpose,
)
from netc_kernels.cpu.winograd_transforms import SCRATCH

TOGETHER = 16
"""Channels to transform at a time."""
FILTER_SCRATCH = SCRATCH + (25 * TOGETHER + LANES) * LANES
"""Elements of scratch memory that `filter_panel` needs; `filter_gradient` needs `SCRATCH`."""


@piece
def filter_panel(
    w: Any,
    size: int,
    at: int,
    row: int,
    lane: int,
    lanes: int,
    flip: bool,
    work: Any,
    to: int,
    position: int,
    rows: int,
    scratch: int,
) -> None:
    """Store G g G' of `lanes` <= `PANEL` filters next to each other, for all `rows` channels.

    Filter and channel are `lane` and `row` elements apart in w; `flip` turns the filters around.
    """
    # some channels together, so that not too many pages are written at once
    elements, taps = scratch + SCRATCH, size * size
    for start in range(0, rows, TOGETHER):
        count = min(TOGETHER, rows - start)
        for first in range(0, PANEL, LANES):
            _gather(
                w, at + start * row + first * lane, row, lane, lanes - first, taps, count, work,
                elements,
            )  # fmt: skip
            place, low = to + start * PANEL + first, to + start * PANEL + first + 18 * position
            # a filter turned around begins with its last tap
            corner, side = elements, LANES
            if flip:
                corner, side = elements + (taps - 1) * LANES, -LANES
            for channel in range(count):
                of, out = corner + taps * channel * LANES, channel * PANEL
                if size == 3:
                    _three_rows(matrices.filter_three_upper, work, of, side, place + out, position)
                elif size == 4:
                    _four_rows(matrices.filter_four_upper, work, of, side, place + out, position)
                else:
                    _five_rows(matrices.filter_five_upper, work, of, side, place + out, position)
            for channel in range(count):
                of, out = corner + taps * channel * LANES, channel * PANEL
                if size == 3:
                    _three_rows(matrices.filter_three_lower, work, of, side, low + out, position)
                elif size == 4:
                    _four_rows(matrices.filter_four_lower, work, of, side, low + out, position)
                else:
                    _five_rows(matrices.filter_five_lower, work, of, side, low + out, position)


@inline
def _gather(
    w: Any, at: int, row: int, lane: int, lanes: int, taps: int, count: int, work: Any, to: int
) -> None:
    """Collect each tap of `count` channels for `LANES` filters as a vector."""
    if lanes < LANES:
        for k in range(LANES):
            # lanes without a filter get what the last filter has; nobody reads them
            source = at + min(k, lanes - 1) * lane
            for channel in range(count):
                for i in range(taps):
                    element = to + (taps * channel + i) * LANES + k
                    copy_element(work, element, w, source + channel * row + i)
    elif row == taps:
        # the channels of a filter follow each other
        for i in range(0, count * taps, LANES):
            some = min(LANES, count * taps - i)
            transpose(work, to + i * LANES, LANES, LANES, w, at + i, lane, some)
    else:
        for channel in range(count):
            for i in range(0, taps, LANES):
                out, of = to + (taps * channel + i) * LANES, at + channel * row + i
                transpose(work, out, LANES, LANES, w, of, lane, min(LANES, taps - i))


@inline
def _three_rows(half: Any, work: Any, at: int, side: int, to: int, step: int) -> None:
    """Store a half of the rows of G g G' of 9 vectors, the first at `at`, `side` apart."""
    a, b = half(*three(work, at, 3 * side)), half(*three(work, at + side, 3 * side))
    c, row = half(*three(work, at + 2 * side, 3 * side)), matrices.filter_three
    put_six(work, to, step, row(a[0], b[0], c[0]))
    put_six(work, to + 6 * step, step, row(a[1], b[1], c[1]))
    put_six(work, to + 12 * step, step, row(a[2], b[2], c[2]))


@inline
def _four_rows(half: Any, work: Any, at: int, side: int, to: int, step: int) -> None:
    """Store a half of the rows of G g G' of 16 vectors, the first at `at`, `side` apart."""
    a, b = half(*four(work, at, 4 * side)), half(*four(work, at + side, 4 * side))
    c, d = half(*four(work, at + 2 * side, 4 * side)), half(*four(work, at + 3 * side, 4 * side))
    row = matrices.filter_four
    put_six(work, to, step, row(a[0], b[0], c[0], d[0]))
    put_six(work, to + 6 * step, step, row(a[1], b[1], c[1], d[1]))
    put_six(work, to + 12 * step, step, row(a[2], b[2], c[2], d[2]))


@inline
def _five_rows(half: Any, work: Any, at: int, side: int, to: int, step: int) -> None:
    """Store a half of the rows of G g G' of 25 vectors, the first at `at`, `side` apart."""
    a, b = half(*five(work, at, 5 * side)), half(*five(work, at + side, 5 * side))
    c, d = half(*five(work, at + 2 * side, 5 * side)), half(*five(work, at + 3 * side, 5 * side))
    e, row = half(*five(work, at + 4 * side, 5 * side)), matrices.filter_five
    put_six(work, to, step, row(a[0], b[0], c[0], d[0], e[0]))
    put_six(work, to + 6 * step, step, row(a[1], b[1], c[1], d[1], e[1]))
    put_six(work, to + 12 * step, step, row(a[2], b[2], c[2], d[2], e[2]))


@piece
def filter_gradient(
    work: Any,
    at: int,
    slot: int,
    slots: int,
    position: int,
    scratch: int,
    dw: Any,
    size: int,
    to: int,
    lane: int,
    count: int,
) -> None:
    """Write G' S G for `count` <= `LANES` lanes, S the sum of some slots' sums of products.

    Filters of neighbouring lanes begin `lane` elements apart in dw.
    """
    for j in range(6):
        column = six(work, at + j * position, 6 * position)
        for other in range(1, slots):
            more = six(work, at + other * slot + j * position, 6 * position)
            column = (
                column[0] + more[0],
                column[1] + more[1],
                column[2] + more[2],
                column[3] + more[3],
                column[4] + more[4],
                column[5] + more[5],
            )
        _put_taps(work, scratch + j * LANES, 6 * LANES, column, size)
    for i in range(size):
        # a row's taps are fewer than its products: they take the place of rows done before
        line = six(work, scratch + i * 6 * LANES, LANES)
        _put_taps(work, scratch + i * size * LANES, LANES, line, size)
    taps = size * size
    if count < LANES:
        for k in range(count):
            for tap in range(taps):
                copy_element(dw, to + lane * k + tap, work, scratch + tap * LANES + k)
    else:
        for tap in range(0, taps, LANES):
            of, wide = scratch + tap * LANES, min(LANES, taps - tap)
            transpose(dw, to + tap, lane, wide, work, of, LANES, LANES)


@inline
def _put_taps(work: Any, to: int, step: int, sums: Any, size: int) -> None:
    if size == 3:
        put_three(work, to, step, matrices.filter_gradient_three(*sums))
    elif size == 4:
        put_four(work, to, step, matrices.filter_gradient_four(*sums))
    else:
        put_five(work, to, step, matrices.filter_gradient_five(*sums))
