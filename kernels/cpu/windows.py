"""Windows of images as rows of a matrix, for products by BLAS, and what becomes of the products."""

from typing import Any

from netc_kernels.cpu.several import clear_run, copy_run
from netc_kernels.cpu.vector import (
    LANES,
    copy_element,
    entry,
    inline,
    kernel,
    load,
    load_first,
    maximum,
    splat,
    store,
    store_first,
    transpose,
    where_positive,
)


@entry
def gather(work: Any, x: Any, p: Any, start: int, stop: int) -> None:
    """Lay out the windows of rows `start` ... `stop` of a pass, [r, s, channel] each."""
    run, to = p.size_x * p.channels, 0
    for line in range(start, stop):
        n, i = divmod(line, p.rows)
        for q in range(p.columns):
            column = q * p.step_x - p.left
            inside = p.pitch == p.channels and column >= 0 and column + p.size_x <= p.width
            for r in range(p.size_y):
                row = i * p.step_y - p.top + r
                of = ((n * p.height + row) * p.width + column) * p.pitch + p.first
                if row < 0 or row >= p.height:
                    clear_run(work, to, run)
                elif inside:
                    copy_run(work, to, x, of, run)
                else:
                    _gather_taps(work, to, x, of, p, column)
                to += run


@inline
def _gather_taps(work: Any, to: int, x: Any, of: int, p: Any, column: int) -> None:
    """Lay out one row of a window that is no run of the image: each tap by itself."""
    for s in range(p.size_x):
        if 0 <= column + s < p.width:
            copy_run(work, to + s * p.channels, x, of + s * p.pitch, p.channels)
        else:
            clear_run(work, to + s * p.channels, p.channels)


@entry
def put(
    y: Any, source: Any, at: int, step: int, p: Any, bias: Any, positive: Any, relu: bool,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Write pixels `start` ... `stop` of a pass, `step` elements apart in `source`, which may be y.

    All that is fused is done on the way.
    """
    for pixel in range(start, stop):
        line, q = divmod(pixel, p.columns)
        n, i = divmod(line, p.rows)
        to = p.to + n * p.to_image + i * p.to_row + q * p.to_pixel
        of = at + (pixel - start) * step
        for k in range(0, p.filters, LANES):
            left = p.filters - k
            value = load_first(source, of + k, left)
            if bias.size:
                value = value + load_first(bias, p.bias + k, left)
            if relu:
                value = maximum(splat(0.0), value)
            if positive.size:
                value = where_positive(load_first(positive, to + k, left), value)
            store_first(y, to + k, value, left)


@kernel
def taps_apart(
    work: Any, w: Any, channels: int, order: Any, of_tap: int, of_filter: int, scratch: int,
    thread: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Lay out filters `start` ... `stop` of w, [c, tap] each, with the channels innermost.

    Tap t of filter k goes to order[t] * of_tap + k * of_filter. The threads' squares of scratch
    follow each other.
    """
    taps, whole = len(order), channels // LANES * LANES
    scratch += thread * LANES**2
    for k in range(start, stop):
        at, to = k * channels * taps, k * of_filter
        for c in range(0, whole, LANES):
            for first in range(0, taps, LANES):
                count = min(LANES, taps - first)
                transpose(work, scratch, LANES, LANES, w, at + c * taps + first, taps, count)
                for i in range(count):
                    place = to + order[first + i] * of_tap + c
                    store(work, place, load(work, scratch + i * LANES))
        for c in range(whole, channels):
            for tap in range(taps):
                copy_element(work, to + order[tap] * of_tap + c, w, at + c * taps + tap)


@kernel
def taps_together(
    w: Any, work: Any, channels: int, taps: int, thread: int, start: int, stop: int
) -> None:
    """Write filters `start` ... `stop`, [c, tap] each, from work's [tap, c]."""
    whole = channels // LANES * LANES
    for k in range(start, stop):
        at = k * channels * taps
        for c in range(0, whole, LANES):
            for first in range(0, taps, LANES):
                count, to = min(LANES, taps - first), at + c * taps + first
                transpose(w, to, taps, count, work, at + first * channels + c, channels, LANES)
        for c in range(whole, channels):
            for tap in range(taps):
                copy_element(w, at + c * taps + tap, work, at + tap * channels + c)
