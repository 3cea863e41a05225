"""A step as two lanes: the forward pass from left to right, below it the backward pass with
updates from right to left, each card below its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netc.export.cards import draw_card, draw_way
from netc.export.detail import lanes
from netc.export.draw import (
    DrawnBody,
    draw_arrow,
    frame_panel,
    frame_title,
    framed,
    page_of,
    sizes_of,
)
from netc.export.layout import back, place_lanes
from netc.export.legend import Tile
from netc.export.paper import LEGIBLE, Page
from netc.export.picture import Picture, cards_of
from netc.export.placed import Arrow, PictureLayout
from netc.export.scene import Box, Scene, Shape, straight
from netc.export.style import TEXT


def draw_phases(
    picture: Picture, title: str, tiles: Sequence[Tile], notes: Sequence[str] = ()
) -> Scene:
    """The drawing of `draw_picture` with a lane for each phase; updates are in the backward one."""
    page = Page(page_of(picture, title, tiles, (*notes, MEANING + SHORT)).besides, turned=True)
    both, layout = arrange_phases(picture, page)
    body = list(both.shapes(layout))
    notes = (*notes, MEANING + (SHORT if both.short else ""))
    return framed(title, tiles, notes, DrawnBody(both.whole, layout.width, layout.height, body))


MEANING = (
    "Above is the forward pass, from left to right; below it the backward pass with updates, from "
    "right to left."
)
SHORT = " Of a block the last card has its whole name, others are named without the block's."


@dataclass(frozen=True, slots=True)
class Lanes:
    """The forward and the backward pass of a picture."""

    ahead: Picture
    behind: Picture
    whole: Picture
    """With what is exchanged in either, for the places."""

    @property
    def short(self) -> bool:
        """Whether cards are named without their blocks."""
        single = (card for card in self.ahead.cards if card.count == 1)
        return any(card.title not in (card.name, card.brief[0]) for card in single)

    def sizes(self) -> dict[str, tuple[float, float]]:
        """Of each place the larger size in either lane."""
        found: dict[str, tuple[float, float]] = {}
        for picture in (self.ahead, self.behind):
            for name, (width, height) in sizes_of(picture).items():
                wide, high = found.get(name, (0.0, 0.0))
                found[name] = max(wide, width), max(high, height)
        return found

    def without_gradient(self) -> set[str]:
        """The names of what has no backward pass: inputs, and the ways from them."""
        inputs = {card.name for card in self.ahead.cards if card.layers[-1].kind == "input"}
        return inputs | {link.name for link in self.ahead.links if link.source in inputs}

    def drawn(self, layout: PictureLayout) -> PictureLayout:
        """The places at which something is drawn, and the lines between the lanes."""
        gone = {back(name) for name in self.without_gradient()}
        boxes = {name: box for name, box in layout.boxes.items() if name not in gone}
        arrows = [arrow for arrow in layout.arrows if arrow.source not in gone]
        arrows += self._turns(boxes)
        for name in sorted(self._silent() & set(boxes)):
            arrows += list(_through(boxes.pop(name), arrows, name))
        return replace(layout, boxes=boxes, arrows=tuple(arrows))

    def _turns(self, boxes: Mapping[str, Box]) -> Iterator[Arrow]:
        """From the loss to its gradient."""
        sources = {link.source for link in self.whole.links}
        for card in self.whole.cards:
            if card.name not in sources:
                above, below = boxes[card.name], boxes[back(card.name)]
                x = above.x + 0.75 * above.width
                points = (x, above.bottom), (x, below.y - 6.5), (x, below.y)
                yield Arrow(straight(*points), ends=True, source=card.name)

    def _silent(self) -> set[str]:
        """The ways on which one lane exchanges nothing: a line goes through."""
        ahead = {link.name for link in self.ahead.links if not link.badges}
        return ahead | {back(link.name) for link in self.behind.links if not link.badges}

    def shapes(self, layout: PictureLayout) -> Iterator[Shape]:
        """Everything of both lanes."""
        for _, box in layout.frames:
            yield frame_panel(box)
        for arrow in layout.arrows:
            yield from draw_arrow(arrow)
        for frame, box in layout.frames:
            first = cards_of(frame.items)[0].name
            below = not box.y <= layout.boxes[first].y <= box.bottom
            yield from frame_title(frame, box, layout.arrows, turned=True, foot=below)
        yield from self._lane(self.ahead, layout, str)
        yield from self._lane(self.behind, layout, back)

    def _lane(
        self, picture: Picture, layout: PictureLayout, name: Callable[[str], str]
    ) -> Iterator[Shape]:
        for card in picture.cards:
            if name(card.name) in layout.boxes:
                yield from draw_card(card, layout.boxes[name(card.name)])
        for link in picture.links:
            if link.badges and name(link.name) in layout.boxes:
                yield from draw_way(link, layout.boxes[name(link.name)])


def _through(box: Box, arrows: Sequence[Arrow], name: str) -> Iterator[Arrow]:
    """Lines from where arrows come into a box to where they leave it."""
    room = Box(box.x - 1, box.y - 1, box.width + 2, box.height + 2)
    ends = [arrow.points[-1] for arrow in arrows if room.holds(*arrow.points[-1])]
    starts = [arrow.points[0] for arrow in arrows if room.holds(*arrow.points[0])]
    for end in ends:
        for start in starts:
            yield Arrow(straight(end, start), source=name)


def arrange_phases(picture: Picture, page: Page) -> tuple[Lanes, PictureLayout]:
    """As much of both lanes as can be read on paper, or else the least of it, with its places."""
    *more, least = (
        Lanes(*both, replace(picture, inside=both[0].inside)) for both in lanes(picture)
    )
    for each in more:
        layout = place_lanes(each.whole, each.sizes(), page)
        # Places are turned; the page expects them as they were laid out.
        if TEXT * page.scale(layout.height, layout.width) >= LEGIBLE:
            return each, each.drawn(layout)
    return least, least.drawn(place_lanes(least.whole, least.sizes(), page))
