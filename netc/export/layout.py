"""Where everything stands: Graphviz places pieces, which go on below each other and in columns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from netc.export.graphviz import Sizes, place_piece
from netc.export.paper import Gaps, Page, Piece, best_columns
from netc.export.picture import Item, Picture, PictureLink, cards_of
from netc.export.placed import Arrow, PictureLayout
from netc.export.scene import Box, Point, straight

_GAPS = Gaps(30.0, 4.0)
_BLOCK = 60.0
"""A column had better be so much wider than end inside a block."""
_OVERHANG = 1.0
"""So far a piece may stand out of its column, for straight edges: Graphviz rounds."""
_BEND = 14.0
"""More room between pieces where an edge does not go straight down."""


def place(picture: Picture, sizes: Sizes, page: Page) -> PictureLayout:
    """Places for a picture, in the columns with which `page` prints largest.

    What one card's result alone leads into is a piece, and is placed by itself.
    """
    cuts = [0, *(i for i in range(1, len(picture.items)) if _narrow(picture, i))]
    bounds = pairwise([*cuts, len(picture.items)])
    laid = [place_piece(_part(picture, a, b), sizes) for a, b in bounds]
    pieces = [
        Piece(each.width, each.height, _dear(picture, cut))
        for each, cut in zip(laid, cuts, strict=True)
    ]
    begins = best_columns(pieces, page, _GAPS)
    sources = [_source(picture, cut) for cut in cuts]
    columns = [_stack(laid[a:b], sources[a:b]) for a, b in pairwise([*begins, len(laid)])]
    return _beside(columns, [sources[begin] for begin in begins])


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


def _stack(pieces: list[PictureLayout], sources: list[str]) -> PictureLayout:
    """A column: one piece below the other, as far as possible below what leads into it."""
    width, whole = max(piece.width for piece in pieces), PictureLayout({}, (), (), 0.0, 0.0)
    left, right = 0.0, width
    for piece, name in zip(pieces, sources, strict=True):
        x, y, source = (width - piece.width) / 2, whole.height, whole.boxes.get(name)
        joint: tuple[Arrow, ...] = ()
        if source is not None and piece.entry is not None:
            wanted = source.middle - piece.entry[0]
            x = min(max(wanted, -_OVERHANG), width - piece.width + _OVERHANG)
            y += _GAPS.below + (_BEND if abs(wanted - x) > 0.01 else 0.0)
            joint = (_joint(source, whole.height, (piece.entry[0] + x, piece.entry[1] + y)),)
        whole = _both(whole, piece.moved(x, y), joint)
        whole = replace(whole, height=y + piece.height)
        left, right = min(left, x), max(right, x + piece.width)
    return replace(whole.moved(-left, 0.0), width=right - left)


def _both(first: PictureLayout, second: PictureLayout, between: tuple[Arrow, ...]) -> PictureLayout:
    """What two layouts have, and the arrows between them; where the first is entered."""
    return replace(
        first,
        boxes={**first.boxes, **second.boxes},
        frames=(*first.frames, *second.frames),
        arrows=(*first.arrows, *between, *second.arrows),
        entry=first.entry if first.boxes else second.entry,
    )


def _beside(columns: list[PictureLayout], sources: list[str]) -> PictureLayout:
    """Columns from left to right, and the edges from the foot of one to the head of the next."""
    whole = columns[0]
    for column, name in zip(columns[1:], sources[1:], strict=True):
        x, foot = whole.width + _GAPS.beside, columns[columns.index(column) - 1].height
        moved = column.moved(x, 0.0)
        assert moved.entry is not None, "something leads into every column but the first"
        over = _over(whole.boxes[name], x - _GAPS.beside / 2, foot, moved.entry)
        whole = replace(
            _both(whole, moved, (over,)),
            width=x + column.width, height=max(whole.height, column.height),
        )  # fmt: skip
    return whole


def _joint(source: Box, foot: float, entry: Point) -> Arrow:
    """From a card down into the piece below."""
    start, low = (source.middle, source.bottom), (source.middle, foot)
    half = (entry[1] - foot) / 2
    bend = ((low[0], foot + half), (entry[0], entry[1] - half), entry)
    return Arrow((*straight(start, low), *bend), starts=True)


def _over(source: Box, gutter: float, foot: float, entry: Point) -> Arrow:
    """From the last card of a column down, up the gutter, and down into the next column."""
    x, y = entry
    low, high = foot + 12.0, y - 14.0
    points = ((source.middle, source.bottom), (source.middle, low), (gutter, low), (gutter, high))
    return Arrow(straight(*points, (x, high), (x, y + 1.0)), starts=True)
