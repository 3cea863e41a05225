"""Filters laid out for direct convolution: panels of `PANEL` filters, [r, s, c, filter]."""

from typing import Any

from netc_kernels.cpu.product import PANEL
from netc_kernels.cpu.vector import (
    LANES,
    copy_element,
    inline,
    kernel,
    load,
    store,
    transpose,
)

TOGETHER = 64
"""Channels to copy at a time."""


@kernel
def filter_panels(
    w: Any, p: Any, lane: int, row: int, work: Any, scratch: int, own: int, thread: int,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Lay out filters `start` ... `stop` in panels, [r, s, c, filter].

    Every thread has `own` elements of scratch.
    """
    scratch, taps = scratch + thread * own, p.size_y * p.size_x
    whole = start
    if row == taps:
        whole = start + (stop - start) // PANEL * PANEL
        for first in range(start, whole, LANES):
            _turn_filters(w, first * lane, lane, taps, p, work, _place(p, first), scratch)
    # rows of filters may lie far apart: read each once for all panels
    for c in range(0, p.channels, TOGETHER):
        for first in range(whole, stop, PANEL):
            _lay_out(w, p, lane, row, work, first, c, min(c + TOGETHER, p.channels))


@inline
def _place(p: Any, filter_: int) -> int:
    """Where a filter's first element goes."""
    panel = filter_ // PANEL * PANEL
    return int(panel * p.size_y * p.size_x * p.channels + filter_ - panel)


@inline
def _turn_filters(
    w: Any, at: int, lane: int, taps: int, p: Any, work: Any, to: int, scratch: int
) -> None:
    """Lay out `LANES` filters, [c, r, s] each, a square of elements at a time."""
    for first in range(0, lane, LANES):
        count = min(LANES, lane - first)
        transpose(work, scratch, LANES, LANES, w, at + first, lane, count)
        c, tap = divmod(first, taps)
        for i in range(count):
            store(work, to + (tap * p.channels + c) * PANEL, load(work, scratch + i * LANES))
            tap += 1
            if tap == taps:
                c, tap = c + 1, 0


@inline
def _lay_out(
    w: Any, p: Any, lane: int, row: int, work: Any, first: int, start: int, stop: int
) -> None:
    """Lay out channels `start` ... `stop` of one panel, all taps."""
    lanes = p.filters - first
    for r in range(p.size_y):
        for s in range(p.size_x):
            of = first * lane + p.tap + r * p.tap_row + s * p.tap_column
            to = _place(p, first) + (r * p.size_x + s) * p.channels * PANEL
            if lane == 1 and lanes >= PANEL:
                for c in range(start, stop):
                    for k in range(0, PANEL, LANES):
                        store(work, to + c * PANEL + k, load(w, of + c * row + k))
            else:
                for k in range(PANEL):
                    # lanes without a filter get what the last filter has; nobody reads them
                    source = of + min(k, lanes - 1) * lane
                    for c in range(start, stop):
                        copy_element(work, to + c * PANEL + k, w, source + c * row)
