"""The gradient of a convolution's filters, of any size and stride, as products of panels.

For every tap it is a product over all pixels of the output, dy' times what of the input lies under
that tap. A thread lays out some rows of both in panels of channels, and adds the products to
sums of its own. Where there are few channels (the first layer), what lies under a whole window
counts as the channels of a single tap.

Images are (N, H, W, C), row-major; `work` is scratch memory of the size `workspace` tells.
Everything is float32.
"""

from typing import Any, NamedTuple

from netc_kernels.cpu.direct import ConvPass, forward_pass
from netc_kernels.cpu.product import PANEL, SHORT, TALL, crossed_packed
from netc_kernels.cpu.several import clear_run
from netc_kernels.cpu.shape import Array, ConvShape, up
from netc_kernels.cpu.threads import Pool
from netc_kernels.cpu.vector import (
    LANES,
    copy_element,
    inline,
    kernel,
    load,
    load_first,
    piece,
    splat,
    store,
    store_first,
    transpose,
)

PIXELS = 112
"""Pixels to sum over at a time, or one row of them; two panels of them fit the first cache."""
FEW = min(LANES, 16)
"""Up to so many channels a window's are taken together."""


class DirectWorkspace(NamedTuple):
    """How the workspace is used, in elements."""

    lines: int
    """Rows of the output at a time."""
    folded: bool
    """Whether a window's channels count as those of one tap."""
    taps: int
    channels: int
    """Channels of a tap."""
    reach: int
    """Pixels of the input laid out for a row of the output and a row of the windows."""
    line: int
    """Pixels of the input laid out for a row of the output."""
    pixel: int
    """From one pixel of the input laid out to the next."""
    inputs: int
    """From one panel of the input to the next."""
    gradients: int
    """From one panel of the output's gradient to the next."""
    gradients_at: int
    sums_at: int
    columns: int
    """Channels of the sums in memory."""
    tap: int
    """Size of the sums of one tap."""
    scratch: int
    slot: int
    """Size of all that; every share of the pixels has its own."""


def layout(p: ConvPass) -> DirectWorkspace:
    """Plan the pass for one group."""
    folded, taps = p.channels <= FEW and p.size_y * p.size_x > 1, p.size_y * p.size_x
    channels = taps * p.channels if folded else p.channels
    reach = p.columns if folded else (p.columns - 1) * p.step_x + p.size_x
    line = reach if folded else reach * p.size_y
    taps = 1 if folded else taps
    lines = max(1, PIXELS // max(1, p.columns))
    columns, gradients = up(channels, PANEL), lines * p.columns * TALL
    pixel, inputs = (columns + LANES, PANEL) if folded else (PANEL, lines * line * PANEL)
    gradients_at = lines * line * pixel * (1 if folded else columns // PANEL)
    sums_at = up(gradients_at + -(-p.filters // TALL) * gradients, LANES)
    tap = up(p.filters, TALL) * columns
    scratch = sums_at + taps * tap
    return DirectWorkspace(
        lines, folded, taps, channels, reach, line, pixel, inputs, gradients, gradients_at, sums_at,
        columns, tap, scratch, scratch + up(taps, LANES) * LANES,
    )  # fmt: skip


def workspace(shape: ConvShape, threads: int) -> int:
    """Bytes of `work` that `backward_weights` needs."""
    return 4 * threads * layout(forward_pass(shape, 0)).slot


def backward_weights(
    dw: Array, x: Array, dy: Array, shape: ConvShape, work: Array, pool: Pool
) -> None:
    """Compute dw (K, C / groups, R, S) from x (N, H, W, C) and dy (N, P, Q, K)."""
    each = dw.size // shape.groups
    for group in range(shape.groups):
        out = dw.reshape(-1)[group * each : (group + 1) * each]
        _run(out, x.reshape(-1), dy.reshape(-1), forward_pass(shape, group), work, pool)


def _run(dw: Array, x: Array, dy: Array, p: ConvPass, work: Array, pool: Pool) -> None:
    plan = layout(p)
    share = max(1, -(-p.lines // pool.threads))
    pool.run(p.lines, share, add_lines, x, dy, p, plan, work, share)
    pool.split(p.filters, write_filters, dw, p, plan, work, -(-p.lines // share))


@kernel
def add_lines(
    x: Any, dy: Any, p: ConvPass, plan: DirectWorkspace, work: Any, share: int, thread: int,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Sum over rows `start` ... `stop` of all images' outputs."""
    # sums go with the share of lines, not with the thread: the result does not vary
    at = start // share * plan.slot
    for first in range(start, stop, plan.lines):
        last = min(first + plan.lines, stop)
        for line in range(first, last):
            _lay_out_gradient(dy, p, plan, line, work, at, line - first)
            if plan.folded:
                _lay_out_windows(x, p, plan, line, work, at, line - first)
            else:
                _lay_out_rows(x, p, plan, line, work, at, line - first)
        _add_products(p, plan, work, at, last - first, first > start)


@piece
def _add_products(
    p: ConvPass, plan: DirectWorkspace, work: Any, at: int, lines: int, add: bool
) -> None:
    """Add the products of some lines to the sums, or write them."""
    # a panel of the input stays in the first cache while all panels of the gradient pass
    for c in range(0, plan.channels, PANEL):
        for tap in range(plan.taps):
            r, s = divmod(tap, p.size_x)
            b = at + c // PANEL * plan.inputs + (r * plan.reach + s) * plan.pixel
            step = (1 if plan.folded else p.step_x) * plan.pixel
            for k in range(0, p.filters, TALL):
                a = at + plan.gradients_at + k // TALL * plan.gradients
                out = at + plan.sums_at + tap * plan.tap + k * plan.columns + c
                crossed_packed(
                    work, out, plan.columns, work, a, p.columns * TALL, work, b,
                    plan.line * plan.pixel, step, lines, p.columns, add, p.filters - k <= SHORT,
                )  # fmt: skip


@piece
def _lay_out_gradient(
    dy: Any, p: ConvPass, plan: DirectWorkspace, line: int, work: Any, at: int, slot: int
) -> None:
    """Lay out a row of the output's gradient in panels; zeros where there are no pixels."""
    n, i = divmod(line, p.rows)
    to = at + plan.gradients_at + slot * p.columns * TALL
    of = p.to + n * p.to_image + i * p.to_row
    inside = max(0, min(p.columns, p.pixels - line * p.columns))
    # what is wider than a panel is read at once, unless it may lie beyond the array
    whole = max(0, p.filters - LANES) // TALL * TALL
    for _ in range(inside):
        place = to
        for k in range(0, whole, TALL):
            store_first(work, place, load(dy, of + k), TALL)
            place += plan.gradients
        for k in range(whole, p.filters, TALL):
            value = load_first(dy, of + k, min(p.filters - k, TALL))
            store_first(work, place, value, TALL)
            place += plan.gradients
        to, of = to + TALL, of + p.to_pixel
    for k in range(0, p.filters, TALL):
        clear_run(work, to + k // TALL * plan.gradients, (p.columns - inside) * TALL)


@inline
def _source(p: ConvPass, line: int, r: int, column: int) -> int:
    """Where a pixel of the input lies that a row of the output needs; -1: in the padding."""
    n, i = divmod(line, p.rows)
    row = i * p.step_y - p.top + r
    if 0 <= row < p.height and 0 <= column < p.width:
        return ((n * p.height + row) * p.width + column) * p.pitch + p.first
    return -1


@piece
def _lay_out_rows(
    x: Any, p: ConvPass, plan: DirectWorkspace, line: int, work: Any, at: int, slot: int
) -> None:
    """Lay out what the windows of one row of the output cover, in panels of channels."""
    n, i = divmod(line, p.rows)
    # the last row may be short where rows are no more than numbers of pixels
    inside = plan.reach if plan.reach > p.columns else p.pixels - line * p.columns
    first = min(max(0, p.left), plan.reach)
    last = max(first, min(p.left + p.width, inside, plan.reach))
    whole = p.channels // LANES * LANES
    for r in range(p.size_y):
        row, to = i * p.step_y - p.top + r, at + (slot * plan.line + r * plan.reach) * PANEL
        start, stop = (first, last) if 0 <= row < p.height else (0, 0)
        of = ((n * p.height + row) * p.width + start - p.left) * p.pitch + p.first
        for s in range(start, stop):
            place = to + s * PANEL
            for c in range(0, whole, LANES):
                store(work, place + c % PANEL, load(x, of + c))
                place += plan.inputs if c % PANEL else 0
            if whole < p.channels:
                value = load_first(x, of + whole, p.channels - whole)
                store(work, place + whole % PANEL, value)
            of += p.pitch
        for c in range(0, plan.columns, PANEL):
            place = to + c // PANEL * plan.inputs
            clear_run(work, place, start * PANEL)
            clear_run(work, place + stop * PANEL, (plan.reach - stop) * PANEL)


@piece
def _lay_out_windows(
    x: Any, p: ConvPass, plan: DirectWorkspace, line: int, work: Any, at: int, slot: int
) -> None:
    """Lay out every window of one row of the output, [r, s, c], as the channels of one pixel."""
    run = p.size_x * p.channels
    for q in range(p.columns):
        column = q * p.step_x - p.left
        inside = column >= 0 and column + p.size_x <= p.width and p.pitch == p.channels
        for r in range(p.size_y):
            to = at + (slot * plan.line + q) * plan.pixel + r * run
            of = _source(p, line, r, column) if inside else -1
            if of >= 0:
                for i in range(0, run, LANES):
                    store_first(work, to + i, load_first(x, of + i, run - i), run - i)
            else:
                for s in range(p.size_x):
                    of = _source(p, line, r, column + s)
                    value = load_first(x, of, p.channels if of >= 0 else 0)
                    store_first(work, to + s * p.channels, value, p.channels)


@kernel
def write_filters(
    dw: Any,
    p: ConvPass,
    plan: DirectWorkspace,
    work: Any,
    slots: int,
    thread: int,
    start: int,
    stop: int,
) -> None:
    """Add the slots' sums and write the gradient of filters `start` ... `stop`."""
    scratch, taps = thread * plan.slot + plan.scratch, p.size_y * p.size_x
    for k in range(start, stop):
        for c in range(0, plan.channels, LANES):
            count = min(LANES, plan.channels - c)
            for tap in range(plan.taps):
                of = plan.sums_at + tap * plan.tap + k * plan.columns + c
                total = splat(0.0)
                for slot in range(slots):
                    total = total + load(work, of + slot * plan.slot)
                store(work, scratch + tap * LANES, total)
            to = k * p.channels * taps
            if plan.folded:
                for lane in range(count):
                    tap, channel = divmod(c + lane, p.channels)
                    copy_element(dw, to + channel * taps + tap, work, scratch + lane)
            else:
                _write_taps(dw, to + c * taps, taps, work, scratch, count)


@inline
def _write_taps(dw: Any, to: int, taps: int, work: Any, scratch: int, count: int) -> None:
    """Write the taps of some channels, which lie in vectors of channels."""
    if taps == 1:
        store_first(dw, to, load(work, scratch), count)
    elif count == LANES:
        for tap in range(0, taps, LANES):
            wide = min(LANES, taps - tap)
            transpose(dw, to + tap, taps, wide, work, scratch + tap * LANES, LANES, LANES)
    else:
        for lane in range(count):
            for tap in range(taps):
                copy_element(dw, to + lane * taps + tap, work, scratch + tap * LANES + lane)
