"""Where everything stands: Graphviz places pieces, which go on below each other and in columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from netc.export.graphviz import Sizes, place_piece
from netc.export.paper import ColumnPiece, Gaps, Page, best_columns
from netc.export.picture import Item, Picture, PictureLink, cards_of
from netc.export.placed import Arrow, PictureLayout
from netc.export.scene import Box, Point, straight

_GAPS, _LANE_GAPS = Gaps(22.0, 4.0), Gaps(38.0, 12.0)
AISLE = 24.0
"""Between a lane and its mirror image."""
_BLOCK = 60.0
"""A column had better be so much wider than end inside a block."""
_STRAIGHT = 1.0
"""An edge that leads so far to the side is straight: Graphviz rounds."""
_HEAD = 6.5
"""Room for an arrow's head."""
_BEND = 14.0
"""More room between pieces where an edge does not go straight down."""


def place(picture: Picture, sizes: Sizes, page: Page) -> PictureLayout:
    """Places for a picture, in the columns with which `page` prints largest.

    What one card's result alone leads into is a piece, and is placed by itself.
    """
    columns, sources = _columns(picture, sizes, page, lambda *sides: sides)
    return _beside(columns, sources, _GAPS.beside)


def place_lanes(picture: Picture, sizes: Sizes, page: Page) -> PictureLayout:
    """Places for a picture with its mirror image beside it, both turned to go from left to right;
    the mirrored boxes are named by `back`. `page` is turned.
    """
    turned = {name: (height, width) for name, (width, height) in sizes.items()}
    columns, sources = _columns(
        picture, turned, page, lambda left, right: (2 * left + AISLE, 2 * right)
    )
    both = [_with_back(column) for column in columns]
    return _beside(both, sources, _LANE_GAPS.beside).turned()


def back(name: str) -> str:
    """What the mirror image of a box is called."""
    return f"{name} <"


def _with_back(column: PictureLayout) -> PictureLayout:
    """A column and its mirror image, whose arrows lead back."""
    other = column.mirrored(column.width + AISLE / 2)
    boxes = {back(name): box for name, box in other.boxes.items()}
    arrows = tuple(replace(arrow, source=back(arrow.source)) for arrow in other.arrows)
    whole = _both(column, replace(other, boxes=boxes, arrows=arrows), ())
    return replace(whole, width=2 * column.width + AISLE, back=other.entry)


def _columns(
    picture: Picture, sizes: Sizes, page: Page, wide: Callable[[float, float], tuple[float, float]]
) -> tuple[list[PictureLayout], list[str]]:
    """Columns, with the cards whose results lead into them; `wide` is what a width, left and right
    of the axis, comes to.
    """
    cuts = [0, *(i for i in range(1, len(picture.items)) if _narrow(picture, i))]
    bounds = pairwise([*cuts, len(picture.items)])
    laid = [_piece(_part(picture, a, b), sizes, page) for a, b in bounds]
    pieces = [
        ColumnPiece(*wide(_axis(each), each.width - _axis(each)), each.height, _dear(picture, cut))
        for each, cut in zip(laid, cuts, strict=True)
    ]
    gaps = _LANE_GAPS if page.turned else _GAPS
    begins = best_columns(pieces, page, gaps)
    sources = [_source(picture, cut) for cut in cuts]
    bounds = pairwise([*begins, len(laid)])
    columns = [_stack(laid[a:b], sources[a:b], gaps.below) for a, b in bounds]
    return columns, [sources[begin] for begin in begins]


def _piece(picture: Picture, sizes: Sizes, page: Page) -> PictureLayout:
    """A piece, with more of it right of the axis than left, so that those in a column are alike."""
    piece = place_piece(picture, sizes, not page.turned)
    return piece.flipped() if 2 * _axis(piece) > piece.width + _STRAIGHT else piece


def _dear(picture: Picture, cut: int) -> float:
    """What a cut inside a block counts as, in width."""
    if not cut:
        return 0.0
    before, after = (cards_of(picture.items[i : i + 1])[0].name for i in (cut - 1, cut))
    scope = before.rpartition(".")[0]
    return _BLOCK if scope and scope == after.rpartition(".")[0] else 0.0


def _names(items: Iterable[Item]) -> set[str]:
    return {card.name for card in cards_of(items)}


def _crossing(picture: Picture, before: set[str]) -> list[PictureLink]:
    """Links out of the cards `before`."""
    return [
        link for link in picture.links
        if link.source in before and not before.issuperset(link.targets)
    ]  # fmt: skip


def _source(picture: Picture, cut: int) -> str:
    """The card whose result leads over a cut; none does so over the first."""
    return _crossing(picture, _names(picture.items[:cut]))[0].source if cut else ""


def _narrow(picture: Picture, cut: int) -> bool:
    """Whether all that leads over the cut in front of an item is one card's result."""
    before = _names(picture.items[:cut])
    crossing = _crossing(picture, before)
    whole = all(before.isdisjoint(link.targets) for link in crossing)
    return whole and len({link.source for link in crossing}) == 1


def _part(picture: Picture, start: int, stop: int) -> Picture:
    """Items start .. stop with the links to them."""
    items = picture.items[start:stop]
    inside = _names(items)
    return Picture(items, tuple(link for link in picture.links if inside.issuperset(link.targets)))


def _stack(pieces: list[PictureLayout], sources: list[str], below: float) -> PictureLayout:
    """A column: one piece below the other, all entered on one axis."""
    axis = max(map(_axis, pieces))
    width = axis + max(piece.width - _axis(piece) for piece in pieces)
    whole = PictureLayout({}, (), (), width, 0.0)
    for piece, name in zip(pieces, sources, strict=True):
        x, y, source = axis - _axis(piece), whole.height, whole.boxes.get(name)
        joint: tuple[Arrow, ...] = ()
        if source is not None and piece.entry is not None:
            y += below + (_BEND if abs(source.middle - axis) > _STRAIGHT else 0.0)
            joint = (_joint(source, whole.height, (axis, piece.entry[1] + y), name),)
        whole = _both(whole, piece.moved(x, y), joint)
        whole = replace(whole, height=y + piece.height)
    return whole


def _axis(piece: PictureLayout) -> float:
    """Where a piece is entered, or begins, from its left."""
    return piece.entry[0] if piece.entry else next(iter(piece.boxes.values())).middle


def _both(first: PictureLayout, second: PictureLayout, between: tuple[Arrow, ...]) -> PictureLayout:
    """What two layouts have, and the arrows between them; where the first is entered."""
    return replace(
        first,
        boxes={**first.boxes, **second.boxes},
        frames=(*first.frames, *second.frames),
        arrows=(*first.arrows, *between, *second.arrows),
        entry=first.entry if first.boxes else second.entry,
    )


def _beside(columns: list[PictureLayout], sources: list[str], gap: float) -> PictureLayout:
    """Columns from left to right, and the edges from the foot of one to the head of the next."""
    whole, foot = columns[0], columns[0].height
    for column, name in zip(columns[1:], sources[1:], strict=True):
        x = whole.width + gap
        moved = column.moved(x, 0.0)
        overs = tuple(_overs(whole, name, x - gap / 2, foot, moved))
        whole = replace(
            _both(whole, moved, overs),
            width=x + column.width, height=max(whole.height, column.height),
        )  # fmt: skip
        foot = column.height
    return whole


def _overs(
    whole: PictureLayout, name: str, gutter: float, foot: float, column: PictureLayout
) -> Iterator[Arrow]:
    """The edges into a column: where it has a mirror image, that is left around the outside."""
    assert column.entry is not None, "something leads into every column but the first"
    aside = 6.0 if column.back else 0.0
    low = foot + 12.0 + aside
    yield _over(whole.boxes[name], gutter + aside, low, column.entry, 14.0, name)
    if column.back:
        other = whole.boxes[back(name)]
        way = _over(other, gutter - aside, foot + 8.0, column.back, 24.0, name)
        yield replace(way.reversed(), source=back(name))


def _joint(source: Box, foot: float, entry: Point, name: str) -> Arrow:
    """From a card down into the piece below."""
    start, out = _leave(source)
    low = (source.middle, max(foot, out[1])) if entry[1] > out[1] else start
    half = (entry[1] - low[1]) / 2
    bend = ((low[0], low[1] + half), (entry[0], entry[1] - half), entry)
    first = (start, out, low) if low != start else (start,)
    return Arrow((*straight(*first), *bend), low != start, source=name)


def _leave(source: Box) -> tuple[Point, Point]:
    """Where an edge leaves a card, and where there was room for a head."""
    return (source.middle, source.bottom), (source.middle, source.bottom + _HEAD)


def _over(source: Box, gutter: float, low: float, entry: Point, above: float, name: str) -> Arrow:
    """From the last card of a column down, up the gutter, and down into the next column."""
    x, y = entry
    high, down = y - above, (source.middle, low)
    points = (down, (gutter, low), (gutter, high), (x, high), (x, y + 1.0))
    return Arrow(straight(*_leave(source), *points), starts=True, source=name)
