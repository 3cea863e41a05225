"""Winograd's transforms for F(4x4, 3x3) and F(2x2, 5x5), from image tensors to panels and back.

An output tile of m x m pixels is Y = A' [(G g G') * (B' d B)] A from a 6x6 tile d of the input and
an r x r filter g, m + r = 7, where ' transposes and * multiplies elements: 36 products in place of
m * m * r * r (Lavin and Gray 2015, "Fast algorithms for convolutional neural networks", section
4.3). `winograd_matrices` has the matrices. Its adjoints give the gradient of the filter.

Element (i, j) of a transformed tile goes to *position* 6 i + j, a matrix of its own. All functions
take a vector of channels at a time, and tiles may hang over the edges of the image.
"""

from typing import Any, NamedTuple

from netc_kernels.cpu import winograd_matrices as matrices
from netc_kernels.cpu.product import PANEL
from netc_kernels.cpu.several import (
    five,
    four,
    put_five,
    put_four,
    put_six,
    put_three,
    put_two,
    six,
    three,
    two,
)
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
    transpose,
    where_positive,
)

POSITIONS = 36
SCRATCH = POSITIONS * LANES
"""Elements of scratch memory that every function here needs."""
TOGETHER = 16
FILTER_SCRATCH = SCRATCH + (25 * TOGETHER + LANES) * LANES
"""Elements that `filter_panel` needs."""


class Tiles(NamedTuple):
    """Tiles of some channels of an image tensor (N, H, W, C)."""

    step: int
    """Pixels from one tile to the next: rows and columns of outputs in a tile, 4 or 2."""
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
def _corner(tiles: Any, index: int) -> Any:
    """Return image, row and column of a tile's first pixel."""
    image, inside = divmod(index, tiles.rows * tiles.columns)
    row, column = divmod(inside, tiles.columns)
    return image, tiles.step * row - tiles.top, tiles.step * column - tiles.left


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
def _put_input_rows(
    half: Any, x: Any, at: int, pixel: int, line: int, to: Any, out: int, step: int
) -> None:
    a, b = half(*six(x, at, line)), half(*six(x, at + pixel, line))
    c, d = half(*six(x, at + 2 * pixel, line)), half(*six(x, at + 3 * pixel, line))
    e, f = half(*six(x, at + 4 * pixel, line)), half(*six(x, at + 5 * pixel, line))
    row = matrices.input_all
    put_six(to, out, step, row(a[0], b[0], c[0], d[0], e[0], f[0]))
    put_six(to, out + 6 * step, step, row(a[1], b[1], c[1], d[1], e[1], f[1]))
    put_six(to, out + 12 * step, step, row(a[2], b[2], c[2], d[2], e[2], f[2]))


@inline
def _put_four_rows(
    half: Any, dy: Any, at: int, pixel: int, line: int, to: Any, out: int, step: int
) -> None:
    a, b = half(*four(dy, at, line)), half(*four(dy, at + pixel, line))
    c, d = half(*four(dy, at + 2 * pixel, line)), half(*four(dy, at + 3 * pixel, line))
    row = matrices.gradient_four
    put_six(to, out, step, row(a[0], b[0], c[0], d[0]))
    put_six(to, out + 6 * step, step, row(a[1], b[1], c[1], d[1]))
    put_six(to, out + 12 * step, step, row(a[2], b[2], c[2], d[2]))


@inline
def _put_two_rows(
    half: Any, dy: Any, at: int, pixel: int, line: int, to: Any, out: int, step: int
) -> None:
    a, b = half(*two(dy, at, line)), half(*two(dy, at + pixel, line))
    row = matrices.gradient_two
    put_six(to, out, step, row(a[0], b[0]))
    put_six(to, out + 6 * step, step, row(a[1], b[1]))
    put_six(to, out + 12 * step, step, row(a[2], b[2]))


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
    _input_rows(matrices.input_upper, True, x, tiles, index, to, m, slot, scratch)
    _input_rows(matrices.input_lower, False, x, tiles, index, to, m, slot, scratch)


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
    """Store A dy A' of a tile of the output's gradient in place `slot` of matrices m."""
    n, row, column = _corner(tiles, index)
    corner, at = (n, row, column), m.at + slot * m.tile
    put, upper, lower = _put_four_rows, matrices.gradient_four_upper, matrices.gradient_four_lower
    if tiles.step == 4:
        _gradient_rows(put, upper, 4, True, dy, tiles, corner, to, m, at, scratch)
        _gradient_rows(put, lower, 4, False, dy, tiles, corner, to, m, at, scratch)
    else:
        _small_gradient(dy, tiles, corner, to, m, at, scratch)


@inline
def _small_gradient(
    dy: Any, tiles: Any, corner: Any, to: Any, m: Any, at: int, scratch: int
) -> None:
    put, upper, lower = _put_two_rows, matrices.gradient_two_upper, matrices.gradient_two_lower
    _gradient_rows(put, upper, 2, True, dy, tiles, corner, to, m, at, scratch)
    _gradient_rows(put, lower, 2, False, dy, tiles, corner, to, m, at, scratch)


@inline
def _gradient_rows(
    put: Any,
    half: Any,
    extent: int,
    upper: bool,
    dy: Any,
    tiles: Any,
    corner: Any,
    to: Any,
    m: Any,
    rows: int,
    scratch: int,
) -> None:
    n, row, column = corner
    line = tiles.width * tiles.pitch
    whole = tiles.channels if _inside(tiles, row, column, extent) else 0
    start = _first_pixel(tiles, n, row, column)
    rows += 0 if upper else 18 * m.position
    for channel in range(0, tiles.channels, LANES):
        out, at = rows + channel // PANEL * m.panel + channel % PANEL, start + channel
        if channel + LANES <= whole:
            if upper:
                _fetch_pixels(dy, at + extent * tiles.pitch, tiles.pitch, line, extent)
            put(half, dy, at, tiles.pitch, line, to, out, m.position)
        else:
            _copy_pixels(dy, tiles, n, row, column, channel, extent, to, scratch)
            put(half, to, scratch, LANES, extent * LANES, to, out, m.position)


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
    """Write the tile A' M A of the output, what lies inside of the image.

    Each of these is left out where its array is empty or it is false: the bias is added, relu is
    applied, and what belongs to an element of `positive` (as y) not above 0 becomes 0.
    """
    at, more = m.at + slot * m.tile, (bias, positive, relu)
    if tiles.step == 4:
        _write_tile(matrices.output_four, put_four, 4, y, tiles, index, work, m, at, scratch, more)
    else:
        _write_tile(matrices.output_two, put_two, 2, y, tiles, index, work, m, at, scratch, more)


@inline
def _write_tile(
    transform: Any,
    put: Any,
    extent: int,
    y: Any,
    tiles: Any,
    index: int,
    work: Any,
    m: Any,
    start: int,
    scratch: int,
    more: Any,
) -> None:
    n, row, column = _corner(tiles, index)
    bias, positive, relu = more
    for channel in range(0, tiles.channels, LANES):
        left, at = tiles.channels - channel, start + channel // PANEL * m.panel + channel % PANEL
        for j in range(6):
            products = six(work, at + j * m.position, 6 * m.position)
            put(work, scratch + j * LANES, 6 * LANES, transform(*products))
        shift = load_first(bias, tiles.first + channel, left if bias.size else 0)
        corner = _first_pixel(tiles, n, row, column) + channel
        if positive.size:
            following = corner + extent * tiles.pitch  # of the next tile
            _fetch_pixels(positive, following, tiles.pitch, tiles.width * tiles.pitch, extent)
        for i in range(min(extent, tiles.height - row)):
            line, to = scratch + i * 6 * LANES, corner + i * tiles.width * tiles.pitch
            put(work, line, LANES, transform(*six(work, line, LANES)))
            for j in range(min(extent, tiles.width - column)):
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
                else:
                    _five_rows(matrices.filter_five_upper, work, of, side, place + out, position)
            for channel in range(count):
                of, out = corner + taps * channel * LANES, channel * PANEL
                if size == 3:
                    _three_rows(matrices.filter_three_lower, work, of, side, low + out, position)
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
def _five_rows(half: Any, work: Any, at: int, side: int, to: int, step: int) -> None:
    """Store a half of the rows of G g G' of 25 vectors, the first at `at`, `side` apart."""
    a, b = half(*five(work, at, 5 * side)), half(*five(work, at + side, 5 * side))
    c, d = half(*five(work, at + 2 * side, 5 * side)), half(*five(work, at + 3 * side, 5 * side))
    e, row = half(*five(work, at + 4 * side, 5 * side)), matrices.filter_five
    put_six(work, to, step, row(a[0], b[0], c[0], d[0], e[0]))
    put_six(work, to + 6 * step, step, row(a[1], b[1], c[1], d[1], e[1]))
    put_six(work, to + 12 * step, step, row(a[2], b[2], c[2], d[2], e[2]))


@kernel
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
    count: int,
) -> None:
    """Write G' S G for `count` <= `LANES` channels, S the sum of some slots' sums of products."""
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
                copy_element(dw, to + taps * k + tap, work, scratch + tap * LANES + k)
    else:
        for tap in range(0, taps, LANES):
            of, wide = scratch + tap * LANES, min(LANES, taps - tap)
            transpose(dw, to + tap, taps, wide, work, of, LANES, LANES)


@inline
def _put_taps(work: Any, to: int, step: int, sums: Any, size: int) -> None:
    if size == 3:
        put_three(work, to, step, matrices.filter_gradient_three(*sums))
    else:
        put_five(work, to, step, matrices.filter_gradient_five(*sums))
