"""Winograd's transforms of images: F(4x4, 3x3), F(3x3, 4x4) and F(2x2, 5x5).

An output tile of m x m pixels is Y = A' [(G g G') * (B' d B)] A from a 6x6 tile d of the input and
an r x r filter g, m + r = 7, where ' transposes and * multiplies elements: 36 products in place of
m * m * r * r (Lavin and Gray 2015, "Fast algorithms for convolutional neural networks", section
4.3). `winograd_matrices` has the matrices; `winograd_filters` transforms the filters.

Element (i, j) of a transformed tile goes to *position* 6 i + j, a matrix of its own. All functions
take a vector of channels at a time, and tiles may hang over the edges of the image.

With a stride s the pixels of a tile are squares of s x s pixels of the image with all their
channels, so that the convolution has stride 1 (`fold` does the same to the filters).
"""

from typing import Any, NamedTuple

from netc_kernels.cpu import winograd_matrices as matrices
from netc_kernels.cpu.product import PANEL
from netc_kernels.cpu.several import four, put_four, put_six, put_three, put_two, six, three, two
from netc_kernels.cpu.vector import (
    LANES,
    fetch,
    inline,
    load,
    load_first,
    maximum,
    piece,
    splat,
    store,
    store_bytes,
    store_first,
    where_above,
    where_positive,
)

POSITIONS = 36
SCRATCH = POSITIONS * LANES
"""Elements of scratch memory that every function here needs; `input_tile` of folds needs more."""


class Tiles(NamedTuple):
    """Tiles of some channels of an image tensor (N, H, W, C)."""

    step: int
    """Pixels from one tile to the next: rows and columns of outputs in a tile, 4, 3 or 2."""
    rows: int
    columns: int
    height: int
    width: int
    pitch: int
    """All channels of the tensor."""
    first: int
    """The first channel."""
    channels: int
    """Channels of a pixel of a tile."""
    top: int
    """Rows of the image's pixels above it that the first tile has (below 0: the other way)."""
    left: int
    fold_y: int
    """Rows of the image in one of a tile."""
    fold_x: int


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
def moved(matrices_: Any, by: int) -> Any:
    """The same some elements further."""
    return Matrices(matrices_.at + by, matrices_.position, matrices_.tile, matrices_.panel)


@inline
def _corner(tiles: Any, index: int) -> Any:
    """Return image, row and column of a tile's first pixel."""
    image, inside = divmod(index, tiles.rows * tiles.columns)
    row, column = divmod(inside, tiles.columns)
    row, column = row * tiles.step * tiles.fold_y, column * tiles.step * tiles.fold_x
    return image, row - tiles.top, column - tiles.left


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
def _put_three_rows(
    half: Any, dy: Any, at: int, pixel: int, line: int, to: Any, out: int, step: int
) -> None:
    a, b = half(*three(dy, at, line)), half(*three(dy, at + pixel, line))
    c, row = half(*three(dy, at + 2 * pixel, line)), matrices.gradient_three
    put_six(to, out, step, row(a[0], b[0], c[0]))
    put_six(to, out + 6 * step, step, row(a[1], b[1], c[1]))
    put_six(to, out + 12 * step, step, row(a[2], b[2], c[2]))


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


@piece
def input_tile(x: Any, tiles: Any, index: int, to: Any, m: Any, slot: int, scratch: int) -> None:
    """Store B' d B of an input tile in place `slot` of matrices m in `to`."""
    if tiles.fold_y * tiles.fold_x > 1:
        _fold_tile(x, tiles, index, to, scratch)
        _folded_rows(matrices.input_upper, 0, tiles, to, m, slot, scratch)
        _folded_rows(matrices.input_lower, 18, tiles, to, m, slot, scratch)
    else:
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


def folded_scratch(channels: int) -> int:
    """Elements of scratch memory that `input_tile` needs for folded pixels of so many channels."""
    return POSITIONS * (channels + 2 * LANES)


@inline
def _folded_pixel(channels: int) -> int:
    """From one pixel of a folded tile to the next: vectors are whole, and the last hangs over."""
    return channels // LANES * LANES + 2 * LANES


@inline
def _folded_rows(half: Any, first: int, tiles: Any, to: Any, m: Any, slot: int, tile: int) -> None:
    """Store a half of B' d B of a folded tile, from position `first` on."""
    rows, pixel = m.at + slot * m.tile + first * m.position, _folded_pixel(tiles.channels)
    for channel in range(0, tiles.channels, LANES):
        out = rows + channel // PANEL * m.panel + channel % PANEL
        _put_input_rows(half, to, tile + channel, pixel, 6 * pixel, to, out, m.position)


@inline
def _fold_tile(x: Any, tiles: Any, index: int, to: Any, at: int) -> None:
    """Copy a tile of squares of pixels, zeros where they are outside of the image."""
    n, row, column = _corner(tiles, index)
    run, pixel = tiles.fold_x * tiles.pitch, _folded_pixel(tiles.channels)
    of, across = _first_pixel(tiles, n, row, column), _across(tiles, column, 6 * tiles.fold_x)
    for i in range(6):
        for r in range(tiles.fold_y):
            out = at + 6 * i * pixel + r * run
            if across and 0 <= row < tiles.height and of + 6 * run + LANES <= x.size:
                for e in range(0, tiles.step * run, LANES):
                    fetch(x, of + 6 * run + e)  # of the next tile
                # vectors hang over into what is written later, or into a gap
                for e in range(0, run, LANES):
                    put_six(to, out + e, pixel, six(x, of + e, run))
            else:
                for j in range(6):
                    _fold_run(x, tiles, row, column + j * tiles.fold_x, of + j * run, to, out)
                    out += pixel
            row, of = row + 1, of + tiles.width * tiles.pitch


@inline
def _across(tiles: Any, column: int, extent: int) -> bool:
    """Tell whether a row of pixels lies between the image's sides."""
    return bool(0 <= column <= tiles.width - extent)


@inline
def _fold_run(x: Any, tiles: Any, row: int, column: int, of: int, to: Any, at: int) -> None:
    """Copy one row of a square, pixel by pixel where a side of the image crosses it."""
    whole = not 0 <= row < tiles.height or _across(tiles, column, tiles.fold_x)
    pixels = tiles.fold_x if whole else 1
    run = pixels * tiles.pitch
    for s in range(0, tiles.fold_x, pixels):
        count = run if _inside(tiles, row, column + s, 1) else 0
        for e in range(0, run, LANES):
            store(to, at + s * tiles.pitch + e, load_first(x, of + s * tiles.pitch + e, count - e))


@piece
def gradient_tile(
    dy: Any, tiles: Any, index: int, to: Any, m: Any, slot: int, scratch: int
) -> None:
    """Store A dy A' of a tile of the output's gradient in place `slot` of matrices m."""
    corner, at = _corner(tiles, index), m.at + slot * m.tile
    if tiles.step == 4:
        _gradient_halves(
            _put_four_rows, matrices.gradient_four_upper, matrices.gradient_four_lower, 4, dy,
            tiles, corner, to, m, at, scratch,
        )  # fmt: skip
    elif tiles.step == 3:
        _gradient_halves(
            _put_three_rows, matrices.gradient_three_upper, matrices.gradient_three_lower, 3, dy,
            tiles, corner, to, m, at, scratch,
        )  # fmt: skip
    else:
        _gradient_halves(
            _put_two_rows, matrices.gradient_two_upper, matrices.gradient_two_lower, 2, dy,
            tiles, corner, to, m, at, scratch,
        )  # fmt: skip


@inline
def _gradient_halves(
    put: Any,
    upper: Any,
    lower: Any,
    extent: int,
    dy: Any,
    tiles: Any,
    corner: Any,
    to: Any,
    m: Any,
    at: int,
    scratch: int,
) -> None:
    _gradient_rows(put, upper, extent, True, dy, tiles, corner, to, m, at, scratch)
    _gradient_rows(put, lower, extent, False, dy, tiles, corner, to, m, at, scratch)


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


@piece
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
    elif tiles.step == 3:
        _write_tile(
            matrices.output_three, put_three, 3, y, tiles, index, work, m, at, scratch, more
        )
    else:
        _write_tile(matrices.output_two, put_two, 2, y, tiles, index, work, m, at, scratch, more)


@piece
def pooled_tile(
    y: Any,
    places: Any,
    tiles: Any,
    index: int,
    work: Any,
    m: Any,
    slot: int,
    scratch: int,
    bias: Any,
    relu: bool,
) -> None:
    """Write the maxima of 2x2 windows of the tile A' M A, which begins with a window.

    `tiles` are those of the image, y and `places` have a quarter of its pixels: the maxima, and if
    not empty which of a window's four pixels is the first of that value, or 4 if relu makes it 0.
    Channels are whole vectors. The bias, if not empty, and relu come before the maximum.
    """
    at, more = m.at + slot * m.tile, (bias, relu)
    if tiles.step == 4:
        _pool_tile(
            matrices.output_four, put_four, 4, y, places, tiles, index, work, m, at, scratch, more
        )
    else:
        _pool_tile(
            matrices.output_two, put_two, 2, y, places, tiles, index, work, m, at, scratch, more
        )


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
        _put_columns(transform, put, work, at, m.position, scratch)
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


@inline
def _put_columns(transform: Any, put: Any, work: Any, at: int, position: int, scratch: int) -> None:
    """Store A' times the columns of products, rows 6 vectors apart."""
    for j in range(6):
        products = six(work, at + j * position, 6 * position)
        put(work, scratch + j * LANES, 6 * LANES, transform(*products))


@inline
def _pool_tile(
    transform: Any,
    put: Any,
    extent: int,
    y: Any,
    places: Any,
    tiles: Any,
    index: int,
    work: Any,
    m: Any,
    start: int,
    scratch: int,
    more: Any,
) -> None:
    n, row, column = _corner(tiles, index)
    bias, relu = more
    line = tiles.width // 2 * tiles.pitch
    pixel = (n * (tiles.height // 2) + row // 2) * (tiles.width // 2) + column // 2
    for channel in range(0, tiles.channels, LANES):
        at = start + channel // PANEL * m.panel + channel % PANEL
        _put_columns(transform, put, work, at, m.position, scratch)
        first = tiles.first + channel
        shift = load_first(bias, first, LANES if bias.size else 0)
        for i in range(0, min(extent, tiles.height - row), 2):
            upper, lower = scratch + i * 6 * LANES, scratch + (i + 1) * 6 * LANES
            put(work, upper, LANES, transform(*six(work, upper, LANES)))
            put(work, lower, LANES, transform(*six(work, lower, LANES)))
            to = pixel * tiles.pitch + first + i // 2 * line
            for j in range(0, min(extent, tiles.width - column), 2):
                best, place = load(work, upper + j * LANES) + shift, splat(0.0)
                value = load(work, upper + (j + 1) * LANES) + shift
                place, best = where_above(value, best, splat(1.0), place), maximum(value, best)
                value = load(work, lower + j * LANES) + shift
                place, best = where_above(value, best, splat(2.0), place), maximum(value, best)
                value = load(work, lower + (j + 1) * LANES) + shift
                place, best = where_above(value, best, splat(3.0), place), maximum(value, best)
                if relu:
                    place, best = (
                        where_above(best, splat(0.0), place, splat(4.0)),
                        maximum(splat(0.0), best),
                    )
                store(y, to, best)
                if places.size:
                    store_bytes(places, to, place)
                to += tiles.pitch
