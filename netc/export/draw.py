"""A picture becomes a scene: header, cards and exchanges at their places, legend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from netc.export.cards import card_size, draw_card, draw_way, way_size
from netc.export.layout import Arrow, PictureLayout, place
from netc.export.legend import Flow, Tile
from netc.export.picture import Frame, Picture
from netc.export.scene import (
    Box,
    Curve,
    Panel,
    Polygon,
    Scene,
    Shape,
    Text,
    moved,
    shortened,
)
from netc.export.style import EDGE, FAINT, FRAME, PAD, TEXT

_MARGIN = 30.0
_LEAST = 640.0
"""Least width of a picture, for its header."""
_BELOW_HEADER, _ABOVE_LEGEND = 38.0, 38.0
_GROUND = "#fafafa"
"""Inside a frame."""
_HEAD = 6.5
"""Length of an arrow's head."""


def draw_picture(
    picture: Picture, title: str, tiles: Iterable[Tile], notes: Iterable[str] = ()
) -> Scene:
    """The whole drawing: `title` and `tiles` above, `notes` below them, the legend at the foot."""
    sizes = {card.name: card_size(card) for card in picture.cards}
    sizes |= {link.name: way_size(link) for link in picture.links if link.badges}
    layout = place(picture, sizes)
    width = max(layout.width, _LEAST)
    top = Flow(width)
    header = [*top.header(title, tiles), *top.notes(notes)]
    left, begin = (width - layout.width) / 2, top.y + _BELOW_HEADER
    body = [moved(shape, left, begin) for shape in _body(picture, layout)]
    foot = Flow(width, begin + layout.height + _ABOVE_LEGEND)
    legend = foot.legend(picture)
    shapes = tuple(moved(shape, _MARGIN, _MARGIN) for shape in (*header, *body, *legend))
    return Scene(title, width + 2 * _MARGIN, foot.y + 2 * _MARGIN, shapes)


def _body(picture: Picture, layout: PictureLayout) -> Iterator[Shape]:
    for _, box in layout.frames:
        yield Panel(box, _GROUND, FRAME, 8, 1, True)
    for arrow in layout.arrows:
        yield from _arrow(arrow)
    for frame, box in layout.frames:
        yield from _frame_title(frame, box)
    for card in picture.cards:
        yield from draw_card(card, layout.boxes[card.name])
    for link in picture.links:
        if link.badges:
            yield from draw_way(link, layout.boxes[link.name])


def _frame_title(frame: Frame, box: Box) -> Iterator[Shape]:
    """Over the arrows that lead in, which the title interrupts."""
    text = shortened(frame.title, box.width - 2 * PAD, TEXT, True)
    title = Text(box.x + PAD, box.y + 15, text, TEXT, True, FAINT)
    yield Panel(Box(title.x - 2, box.y + 6, title.width + 4, 12), _GROUND)
    yield title


def _arrow(arrow: Arrow) -> Iterator[Shape]:
    yield Curve(arrow.points, EDGE, 1.2)
    if arrow.tip is None:
        return
    (x, y), (tip_x, tip_y) = arrow.points[-1], arrow.tip
    length = math.dist(arrow.points[-1], arrow.tip) or 1.0
    dx, dy = (tip_x - x) / length * _HEAD, (tip_y - y) / length * _HEAD
    back_x, back_y = tip_x - dx, tip_y - dy
    wings = ((back_x - dy / 2, back_y + dx / 2), (back_x + dy / 2, back_y - dx / 2))
    yield Polygon((arrow.tip, *wings), EDGE)
