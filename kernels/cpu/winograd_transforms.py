"""Winograd's transforms for F(4x4, 3x3), from image tensors to panels and back.

An output tile of 4x4 pixels is Y = A' [(G g G') * (B' d B)] A from a 6x6 tile d of the input and a
3x3 filter g, where ' transposes and * multiplies elements: 36 products in place of 144 (Lavin and
Gray 2015, "Fast algorithms for convolutional neural networks", section 4.3). The matrices belong
to the points 0, 1, -1, 2, -2 and infinity. Its adjoints give the gradient of the filter.

Element (i, j) of a transformed tile goes to *position* 6 i + j, a matrix of its own. All functions
take a vector of channels at a time, and tiles may hang over the edges of the image.
"""

from typing import Any, NamedTuple

from netc_kernels.cpu.product import PANEL
from netc_kernels.cpu.vector import (
    LANES,
    copy_element,
    inline,
    kernel,
    load,
    load_first,
    maximum,
    splat,
    store,
    store_first,
    where_positive,
)

POSITIONS = 36
SCRATCH = POSITIONS * LANES
"""Elements of scratch memory that every function here needs."""
TOGETHER = 16
FILTER_SCRATCH = SCRATCH + 9 * TOGETHER * LANES
"""Elements that `filter_panel` needs."""


class Tiles(NamedTuple):
    """Tiles, 4 pixels apart, of some channels of an image tensor (N, H, W, C)."""

    rows: int
    columns: int
    height: int
    width: int
    pitch: int
    """All channels of the tensor."""
    first: int
    """The first channel."""
    channels: int
    top: int
    """Rows of the first tile above the image (below 0: rows of the image above it)."""
    left: int


class Matrices(NamedTuple):
    """Where transformed tiles lie: channel c of tile t, all in elements."""

    at: int
    position: int
    """From one position to the next."""
    tile: int
    """From one tile to the next."""
    panel: int
    """From one panel of channels to the next."""


@inline
def _input(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """B' times a column."""
    even, odd = e - 4.0 * c, d - 4.0 * b
    half, double = e - c, 2.0 * (d - b)
    return (
        4.0 * a - 5.0 * c + e,
        even + odd,
        even - odd,
        half + double,
        half - double,
        (4.0 * b - 5.0 * d + f),
    )


@inline
def _output(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """A' times a column."""
    p, q, r, s = b + c, b - c, d + e, d - e
    return a + p + r, q + 2.0 * s, p + 4.0 * r, q + 8.0 * s + f


@inline
def _gradient(a: Any, b: Any, c: Any, d: Any) -> Any:
    """A times a column."""
    even, odd, far, wide = a + c, b + d, a + 4.0 * c, 2.0 * b + 8.0 * d
    return a, even + odd, even - odd, far + wide, far - wide, d


@inline
def _filter(a: Any, b: Any, c: Any) -> Any:
    """G times a column."""
    even, odd = (-1 / 6) * (a + c), (1 / 6) * b
    far, wide = (1 / 24) * a + (1 / 6) * c, (1 / 12) * b
    return 0.25 * a, even - odd, even + odd, far + wide, far - wide, c


@inline
def _filter_gradient(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """G' times a column."""
    p, q, r, s = b + c, c - b, d + e, d - e
    middle = (1 / 6) * q + (1 / 12) * s
    return 0.25 * a - (1 / 6) * p + (1 / 24) * r, middle, (1 / 6) * (r - p) + f


@inline
def _corner(tiles: Any, index: int) -> Any:
    """Return image, row and column of a tile's first pixel."""
    image, inside = divmod(index, tiles.rows * tiles.columns)
    row, column = divmod(inside, tiles.columns)
    return image, 4 * row - tiles.top, 4 * column - tiles.left


@inline
def _pixel(x: Any, tiles: Any, image: int, row: int, column: int, channel: int) -> Any:
    """Read a vector of channels of one pixel; zeros outside of the image."""
    inside = 0 <= row < tiles.height and 0 <= column < tiles.width
    at = ((image * tiles.height + row) * tiles.width + column) * tiles.pitch
    count = tiles.channels - channel if inside else 0
    return load_first(x, at + tiles.first + channel, count)


@inline
def _put_three(array: Any, at: int, step: int, values: Any) -> None:
    store(array, at, values[0])
    store(array, at + step, values[1])
    store(array, at + 2 * step, values[2])


@inline
def _put_four(array: Any, at: int, step: int, values: Any) -> None:
    _put_three(array, at, step, values)
    store(array, at + 3 * step, values[3])


@inline
def _put_six(array: Any, at: int, step: int, values: Any) -> None:
    _put_three(array, at, step, values)
    _put_three(array, at + 3 * step, step, values[3:])


@inline
def _three(array: Any, at: int, step: int) -> Any:
    return load(array, at), load(array, at + step), load(array, at + 2 * step)


@inline
def _six(array: Any, at: int, step: int) -> Any:
    return _three(array, at, step) + _three(array, at + 3 * step, step)


@kernel
def input_tile(x: Any, tiles: Any, index: int, to: Any, m: Any, slot: int, scratch: int) -> None:
    """Store B' d B of an input tile in place `slot` of matrices m in `to`."""
    n, row, column = _corner(tiles, index)
    for channel in range(0, tiles.channels, LANES):
        for j in range(6):
            p = (
                _pixel(x, tiles, n, row, column + j, channel),
                _pixel(x, tiles, n, row + 1, column + j, channel),
                _pixel(x, tiles, n, row + 2, column + j, channel),
                _pixel(x, tiles, n, row + 3, column + j, channel),
                _pixel(x, tiles, n, row + 4, column + j, channel),
                _pixel(x, tiles, n, row + 5, column + j, channel),
            )
            _put_six(to, scratch + j * LANES, 6 * LANES, _input(*p))
        at = m.at + slot * m.tile + channel // PANEL * m.panel + channel % PANEL
        for i in range(6):
            line = _six(to, scratch + i * 6 * LANES, LANES)
            _put_six(to, at + 6 * i * m.position, m.position, _input(*line))


@kernel
def gradient_tile(
    dy: Any, tiles: Any, index: int, to: Any, m: Any, slot: int, scratch: int
) -> None:
    """Store A dy A' of a 4x4 tile of the output's gradient in place `slot` of matrices m."""
    n, row, column = _corner(tiles, index)
    for channel in range(0, tiles.channels, LANES):
        for j in range(4):
            p = (
                _pixel(dy, tiles, n, row, column + j, channel),
                _pixel(dy, tiles, n, row + 1, column + j, channel),
                _pixel(dy, tiles, n, row + 2, column + j, channel),
                _pixel(dy, tiles, n, row + 3, column + j, channel),
            )
            _put_six(to, scratch + j * LANES, 4 * LANES, _gradient(*p))
        at = m.at + slot * m.tile + channel // PANEL * m.panel + channel % PANEL
        for i in range(6):
            start = scratch + i * 4 * LANES
            line = _three(to, start, LANES) + (load(to, start + 3 * LANES),)  # noqa: RUF005
            _put_six(to, at + 6 * i * m.position, m.position, _gradient(*line))


@kernel
def output_tile(
    y: Any,
    tiles: Any,
    index: int,
    work: Any,
    m: Any,
    slot: int,
    scratch: int,
    bias: Any,
    positive: Any,
    relu: bool,
) -> None:
    """Write the 4x4 tile A' M A of the output, what lies inside of the image.

    Each of these is left out where its array is empty or it is false: the bias is added, relu is
    applied, and what belongs to an element of `positive` (as y) not above 0 becomes 0.
    """
    n, row, column = _corner(tiles, index)
    for channel in range(0, tiles.channels, LANES):
        left = tiles.channels - channel
        at = m.at + slot * m.tile + channel // PANEL * m.panel + channel % PANEL
        for j in range(6):
            products = _six(work, at + j * m.position, 6 * m.position)
            _put_four(work, scratch + j * LANES, 6 * LANES, _output(*products))
        shift = load_first(bias, tiles.first + channel, left if bias.size else 0)
        for i in range(min(4, tiles.height - row)):
            line = scratch + i * 6 * LANES
            _put_four(work, line, LANES, _output(*_six(work, line, LANES)))
            to = ((n * tiles.height + row + i) * tiles.width + column) * tiles.pitch
            to += tiles.first + channel
            for j in range(min(4, tiles.width - column)):
                value = load(work, line + j * LANES) + shift
                place = to + j * tiles.pitch
                if relu:
                    value = maximum(splat(0.0), value)
                if positive.size:
                    value = where_positive(load_first(positive, place, left), value)
                store_first(y, place, value, left)


@kernel
def filter_panel(
    w: Any,
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
    # channels that follow each other in memory are read together
    together = TOGETHER if row == 9 else 1
    elements = scratch + SCRATCH
    for start in range(0, rows, together):
        count = min(together, rows - start)
        for first in range(0, PANEL, LANES):
            for k in range(LANES):
                # lanes without a filter get what the last filter has; nobody reads them
                source = at + start * row + min(first + k, lanes - 1) * lane
                for i in range(9 * count):
                    copy_element(work, elements + i * LANES + k, w, source + i)
            for channel in range(count):
                place = to + (start + channel) * PANEL + first
                _filter_tile(work, elements + 9 * channel * LANES, flip, place, position, scratch)


@inline
def _filter_tile(work: Any, at: int, flip: bool, to: int, position: int, scratch: int) -> None:
    """Store G g G' of the 9 vectors at `at`."""
    step = -LANES if flip else LANES
    corner = at + 8 * LANES if flip else at
    for j in range(3):
        column = _three(work, corner + j * step, 3 * step)
        _put_six(work, scratch + j * LANES, 3 * LANES, _filter(*column))
    for i in range(6):
        line = _three(work, scratch + 3 * i * LANES, LANES)
        _put_six(work, to + 6 * i * position, position, _filter(*line))


@kernel
def filter_gradient(
    work: Any,
    at: int,
    slot: int,
    slots: int,
    position: int,
    scratch: int,
    dw: Any,
    to: int,
    count: int,
) -> None:
    """Write G' S G for `count` <= `LANES` channels, S the sum of some slots' sums of products."""
    for j in range(6):
        column = _six(work, at + j * position, 6 * position)
        for other in range(1, slots):
            more = _six(work, at + other * slot + j * position, 6 * position)
            column = (
                column[0] + more[0],
                column[1] + more[1],
                column[2] + more[2],
                column[3] + more[3],
                column[4] + more[4],
                column[5] + more[5],
            )
        _put_three(work, scratch + j * LANES, 6 * LANES, _filter_gradient(*column))
    for i in range(3):
        line = _six(work, scratch + i * 6 * LANES, LANES)
        _put_three(work, scratch + (18 + 3 * i) * LANES, LANES, _filter_gradient(*line))
    for k in range(min(count, LANES)):
        for tap in range(9):
            copy_element(dw, to + 9 * k + tap, work, scratch + (18 + tap) * LANES + k)
