"""A picture becomes a scene: header, cards and exchanges at their places, legend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from netc.export.cards import card_size, draw_card, draw_way, way_size
from netc.export.detail import levels
from netc.export.graphviz import TITLE, title_lines
from netc.export.layout import place
from netc.export.legend import Flow, Tile
from netc.export.paper import LEAST, LEGIBLE, MARGIN, Page
from netc.export.picture import Frame, Picture
from netc.export.placed import Arrow, PictureLayout
from netc.export.scene import (
    Box,
    Curve,
    Panel,
    Polygon,
    Scene,
    Shape,
    Text,
    flat,
    moved,
    shortened,
    text_width,
)
from netc.export.style import EDGE, FAINT, FRAME, PAD, TEXT

_BELOW_HEADER, _ABOVE_LEGEND = 28.0, 30.0
_GROUND = "#fafafa"
"""Inside a frame."""
_HEAD = 6.5
"""Length of an arrow's head."""


def draw_picture(
    picture: Picture, title: str, tiles: Sequence[Tile], notes: Sequence[str] = ()
) -> Scene:
    """The whole drawing: `title` and `tiles` above, `notes` below them, the legend at the foot."""
    shown, layout = arrange(picture, page_of(picture, title, tiles, notes))
    body = DrawnBody(shown, layout.width, layout.height, list(_body(shown, layout)))
    return framed(title, tiles, notes, body)


def arrange(picture: Picture, page: Page) -> tuple[Picture, PictureLayout]:
    """As much of a picture as can be read on paper, or else the least of it, with its places."""
    *more, least = levels(picture)
    for shown in more:
        layout = place(shown, sizes_of(shown), page)
        if TEXT * page.scale(layout.width, layout.height) >= LEGIBLE:
            return shown, layout
    return least, place(least, sizes_of(least), page)


@dataclass(frozen=True, slots=True)
class DrawnBody:
    """What stands between header and legend."""

    picture: Picture
    width: float
    height: float
    shapes: Sequence[Shape]


def framed(title: str, tiles: Iterable[Tile], notes: Iterable[str], body: DrawnBody) -> Scene:
    """A drawing with its header and its legend."""
    width = max(body.width, LEAST)
    top = Flow(width)
    header = [*top.header(title, tiles), *top.notes(notes)]
    left, begin = (width - body.width) / 2, top.y + _BELOW_HEADER
    inner = [moved(shape, left, begin) for shape in body.shapes]
    foot = Flow(width, begin + body.height + _ABOVE_LEGEND)
    legend = foot.legend(body.picture)
    shapes = tuple(moved(shape, MARGIN, MARGIN) for shape in (*header, *inner, *legend))
    return Scene(title, width + 2 * MARGIN, foot.y + 2 * MARGIN, shapes)


def page_of(picture: Picture, title: str, tiles: Iterable[Tile], notes: Iterable[str]) -> Page:
    """The page of a drawing: what stands above and below is as high as where it is narrow."""
    nothing = framed(title, tiles, notes, DrawnBody(picture, LEAST, 0.0, ()))
    return Page(nothing.height - 2 * MARGIN)


def sizes_of(picture: Picture) -> dict[str, tuple[float, float]]:
    """Sizes of all that has a place: cards, and the badges of links."""
    sizes = {card.name: card_size(card) for card in picture.cards}
    return sizes | {link.name: way_size(link) for link in picture.links if link.badges}


def _body(picture: Picture, layout: PictureLayout) -> Iterator[Shape]:
    for _, box in layout.frames:
        yield frame_panel(box)
    for arrow in layout.arrows:
        yield from draw_arrow(arrow)
    for frame, box in layout.frames:
        yield from frame_title(frame, box, layout.arrows)
    for card in picture.cards:
        yield from draw_card(card, layout.boxes[card.name])
    for link in picture.links:
        if link.badges:
            yield from draw_way(link, layout.boxes[link.name])


def frame_panel(box: Box) -> Panel:
    """What stands behind the cards of a frame."""
    return Panel(box, _GROUND, FRAME, 8, 1, True)


def frame_title(
    frame: Frame, box: Box, arrows: Iterable[Arrow], turned: bool = False, foot: bool = False
) -> Iterator[Shape]:
    """At its head or foot, where no arrow leads in, or else over it."""
    longest = box.width - 2 * PAD
    lines = [shortened(line, longest, TEXT, True) for line in title_lines(frame, turned)]
    wide = max(text_width(line, TEXT, True) for line in lines)
    high = TITLE * len(lines) + 2
    strip = Box(box.x, box.bottom - high - 4 if foot else box.y + 4, box.width, high)
    crossed = sorted(x for arrow in arrows for x in _within(arrow, strip))
    places = [box.x + PAD, *(x + 5 for x in crossed if x + 5 + wide < box.right - 4)]
    free = (x for x in places if not any(x - 4 < each < x + wide + 4 for each in crossed))
    x = next(free, places[0])
    yield Panel(Box(x - 2, strip.y + 2, wide + 4, strip.height - 2), _GROUND)
    for number, line in enumerate(lines):
        yield Text(x, strip.y + 11 + number * TITLE, line, TEXT, True, FAINT)


def _within(arrow: Arrow, strip: Box) -> list[float]:
    """Where an arrow is in a strip, from left to right."""
    return [x for x, y in flat(arrow.points) if strip.holds(x, y)]


def draw_arrow(arrow: Arrow) -> Iterator[Shape]:
    """A line, and its head if it has one."""
    if not arrow.ends:
        yield Curve(arrow.points, EDGE, 1.2)
        return
    yield Curve(arrow.points[:-3], EDGE, 1.2)
    (x, y), tip = arrow.points[-4], arrow.points[-1]
    length = math.dist((x, y), tip) or 1.0
    dx, dy = (tip[0] - x) / length * _HEAD, (tip[1] - y) / length * _HEAD
    back_x, back_y = tip[0] - dx, tip[1] - dy
    wings = ((back_x - dy / 2, back_y + dx / 2), (back_x + dy / 2, back_y - dx / 2))
    yield Polygon((tip, *wings), EDGE)
