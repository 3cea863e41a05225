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
    fetch,
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
    return _input_upper(a, b, c, d, e, f) + _input_lower(a, b, c, d, e, f)


@inline
def _input_upper(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    even, odd = e - 4.0 * c, d - 4.0 * b
    return 4.0 * a - 5.0 * c + e, even + odd, even - odd


@inline
def _input_lower(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    half, double = e - c, 2.0 * (d - b)
    return half + double, half - double, 4.0 * b - 5.0 * d + f


@inline
def _output(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """A' times a column."""
    p, q, r, s = b + c, b - c, d + e, d - e
    return a + p + r, q + 2.0 * s, p + 4.0 * r, q + 8.0 * s + f


@inline
def _gradient_upper(a: Any, b: Any, c: Any, d: Any) -> Any:
    even, odd = a + c, b + d
    return a, even + odd, even - odd


@inline
def _gradient_lower(a: Any, b: Any, c: Any, d: Any) -> Any:
    far, wide = a + 4.0 * c, 2.0 * b + 8.0 * d
    return far + wide, far - wide, d


@inline
def _gradient(a: Any, b: Any, c: Any, d: Any) -> Any:
    """A times a column."""
    return _gradient_upper(a, b, c, d) + _gradient_lower(a, b, c, d)


@inline
def _filter_upper(a: Any, b: Any, c: Any) -> Any:
    even, odd = (-1 / 6) * (a + c), (1 / 6) * b
    return 0.25 * a, even - odd, even + odd


@inline
def _filter_lower(a: Any, b: Any, c: Any) -> Any:
    far, wide = (1 / 24) * a + (1 / 6) * c, (1 / 12) * b
    return far + wide, far - wide, c


@inline
def _filter(a: Any, b: Any, c: Any) -> Any:
    """G times a column."""
    return _filter_upper(a, b, c) + _filter_lower(a, b, c)


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
    count = tiles.channels - channel if _inside(tiles, row, column, 1) else 0
    return load_first(x, _first_pixel(tiles, image, row, column) + channel, count)


@inline
def _first_pixel(tiles: Any, image: int, row: int, column: int) -> int:
    """Return where the channels of a pixel begin."""
    pixel = (image * tiles.height + row) * tiles.width + column
    return int(pixel * tiles.pitch + tiles.first)


@inline
def _inside(tiles: Any, row: int, column: int, extent: int) -> bool:
    """Tell whether a square of pixels lies inside of the image."""
    rows, columns = tiles.height - extent, tiles.width - extent
    return bool(0 <= row <= rows and 0 <= column <= columns)


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
def _four(array: Any, at: int, step: int) -> Any:
    return (*_three(array, at, step), load(array, at + 3 * step))


@inline
def _six(array: Any, at: int, step: int) -> Any:
    return _three(array, at, step) + _three(array, at + 3 * step, step)


@inline
def _put_input_rows(
    half: Any, x: Any, at: int, pixel: int, line: int, to: Any, out: int, step: int
) -> None:
    a, b = half(*_six(x, at, line)), half(*_six(x, at + pixel, line))
    c, d = half(*_six(x, at + 2 * pixel, line)), half(*_six(x, at + 3 * pixel, line))
    e, f = half(*_six(x, at + 4 * pixel, line)), half(*_six(x, at + 5 * pixel, line))
    _put_six(to, out, step, _input(a[0], b[0], c[0], d[0], e[0], f[0]))
    _put_six(to, out + 6 * step, step, _input(a[1], b[1], c[1], d[1], e[1], f[1]))
    _put_six(to, out + 12 * step, step, _input(a[2], b[2], c[2], d[2], e[2], f[2]))


@inline
def _put_gradient_rows(
    half: Any, dy: Any, at: int, pixel: int, line: int, to: Any, out: int, step: int
) -> None:
    a, b = half(*_four(dy, at, line)), half(*_four(dy, at + pixel, line))
    c, d = half(*_four(dy, at + 2 * pixel, line)), half(*_four(dy, at + 3 * pixel, line))
    _put_six(to, out, step, _gradient(a[0], b[0], c[0], d[0]))
    _put_six(to, out + 6 * step, step, _gradient(a[1], b[1], c[1], d[1]))
    _put_six(to, out + 12 * step, step, _gradient(a[2], b[2], c[2], d[2]))


@inline
def _fetch_pixels(x: Any, at: int, pixel: int, line: int, rows: int) -> None:
    """Begin to fetch four columns of pixels."""
    for row in range(rows):
        fetch(x, at + row * line)
        fetch(x, at + row * line + pixel)
        fetch(x, at + row * line + 2 * pixel)
        fetch(x, at + row * line + 3 * pixel)


@inline
def _copy_pixels(
    x: Any, tiles: Any, n: int, row: int, column: int, channel: int, extent: int, to: Any, at: int
) -> None:
    """Copy a square of pixels, zeros where it is outside of the image."""
    for i in range(extent):
        for j in range(extent):
            value = _pixel(x, tiles, n, row + i, column + j, channel)
            store(to, at + (extent * i + j) * LANES, value)


@kernel
def input_tile(x: Any, tiles: Any, index: int, to: Any, m: Any, slot: int, scratch: int) -> None:
    """Store B' d B of an input tile in place `slot` of matrices m in `to`."""
    _input_rows(_input_upper, True, x, tiles, index, to, m, slot, scratch)
    _input_rows(_input_lower, False, x, tiles, index, to, m, slot, scratch)


@inline
def _input_rows(
    half: Any, upper: bool, x: Any, tiles: Any, index: int, to: Any, m: Any, slot: int, scratch: int
) -> None:
    n, row, column = _corner(tiles, index)
    whole = tiles.channels if _inside(tiles, row, column, 6) else 0
    start, line = _first_pixel(tiles, n, row, column), tiles.width * tiles.pitch
    rows = m.at + slot * m.tile + (0 if upper else 18 * m.position)
    for channel in range(0, tiles.channels, LANES):
        out, at = rows + channel // PANEL * m.panel + channel % PANEL, start + channel
        if channel + LANES <= whole:
            if upper:
                _fetch_pixels(x, at + 6 * tiles.pitch, tiles.pitch, line, 6)  # of the next tile
            _put_input_rows(half, x, at, tiles.pitch, line, to, out, m.position)
        else:
            _copy_pixels(x, tiles, n, row, column, channel, 6, to, scratch)
            _put_input_rows(half, to, scratch, LANES, 6 * LANES, to, out, m.position)


@kernel
def gradient_tile(
    dy: Any, tiles: Any, index: int, to: Any, m: Any, slot: int, scratch: int
) -> None:
    """Store A dy A' of a 4x4 tile of the output's gradient in place `slot` of matrices m."""
    _gradient_rows(_gradient_upper, True, dy, tiles, index, to, m, slot, scratch)
    _gradient_rows(_gradient_lower, False, dy, tiles, index, to, m, slot, scratch)


@inline
def _gradient_rows(
    half: Any,
    upper: bool,
    dy: Any,
    tiles: Any,
    index: int,
    to: Any,
    m: Any,
    slot: int,
    scratch: int,
) -> None:
    n, row, column = _corner(tiles, index)
    whole = tiles.channels if _inside(tiles, row, column, 4) else 0
    start, line = _first_pixel(tiles, n, row, column), tiles.width * tiles.pitch
    rows = m.at + slot * m.tile + (0 if upper else 18 * m.position)
    for channel in range(0, tiles.channels, LANES):
        out, at = rows + channel // PANEL * m.panel + channel % PANEL, start + channel
        if channel + LANES <= whole:
            if upper:
                _fetch_pixels(dy, at + 4 * tiles.pitch, tiles.pitch, line, 4)  # of the next tile
            _put_gradient_rows(half, dy, at, tiles.pitch, line, to, out, m.position)
        else:
            _copy_pixels(dy, tiles, n, row, column, channel, 4, to, scratch)
            _put_gradient_rows(half, to, scratch, LANES, 4 * LANES, to, out, m.position)


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
        start = _first_pixel(tiles, n, row, column) + channel
        if positive.size:
            following = start + 4 * tiles.pitch  # of the next tile
            _fetch_pixels(positive, following, tiles.pitch, tiles.width * tiles.pitch, 4)
        for i in range(min(4, tiles.height - row)):
            line, to = scratch + i * 6 * LANES, start + i * tiles.width * tiles.pitch
            _put_four(work, line, LANES, _output(*_six(work, line, LANES)))
            for j in range(min(4, tiles.width - column)):
                value, place = load(work, line + j * LANES) + shift, to + j * tiles.pitch
                if relu:
                    value = maximum(splat(0.0), value)
                if left >= LANES:
                    if positive.size:
                        value = where_positive(load(positive, place), value)
                    store(y, place, value)
                else:
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
    # some channels together, so that not too many pages are written at once
    elements = scratch + SCRATCH
    for start in range(0, rows, TOGETHER):
        count = min(TOGETHER, rows - start)
        for first in range(0, PANEL, LANES):
            for k in range(LANES):
                # lanes without a filter get what the last filter has; nobody reads them
                source = at + start * row + min(first + k, lanes - 1) * lane
                for channel in range(count):
                    for i in range(9):
                        to_element = elements + (9 * channel + i) * LANES + k
                        copy_element(work, to_element, w, source + channel * row + i)
            place, low = to + start * PANEL + first, to + start * PANEL + first + 18 * position
            for channel in range(count):
                of = elements + 9 * channel * LANES
                _filter_rows(_filter_upper, work, of, flip, place + channel * PANEL, position)
            for channel in range(count):
                of = elements + 9 * channel * LANES
                _filter_rows(_filter_lower, work, of, flip, low + channel * PANEL, position)


@inline
def _filter_rows(half: Any, work: Any, at: int, flip: bool, to: int, step: int) -> None:
    """Store a half of the rows of G g G' of the 9 vectors at `at`."""
    side = -LANES if flip else LANES
    corner = at + 8 * LANES if flip else at
    a, b = half(*_three(work, corner, 3 * side)), half(*_three(work, corner + side, 3 * side))
    c = half(*_three(work, corner + 2 * side, 3 * side))
    _put_six(work, to, step, _filter(a[0], b[0], c[0]))
    _put_six(work, to + 6 * step, step, _filter(a[1], b[1], c[1]))
    _put_six(work, to + 12 * step, step, _filter(a[2], b[2], c[2]))


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
