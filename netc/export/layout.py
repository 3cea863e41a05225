"""Where everything stands: Graphviz places cards of fixed sizes, long chains go on in columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from netc.export.dot import Attributes, digraph
from netc.export.picture import Card, Frame, Item, Picture, PictureLink, cards_of
from netc.export.scene import Box, Point, straight

Sizes = Mapping[str, tuple[float, float]]
"""Width and height of cards, and of the badges of links, by name."""

_SHAPE = 1.5
"""Width over height that columns aim at, as slides have it."""
_TITLE = 14.0
"""Height of a frame's title."""
_GUTTER = 46.0
"""Between columns."""
_COLUMNS = 8
"""More are never tried."""
_BLOCK = 120.0
"""So much lower or higher a column had better end than inside a block."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """The way of an edge."""

    points: tuple[Point, ...]
    """As in `Curve`."""
    tip: Point | None
    """Where its head ends, if it has one."""


@dataclass(frozen=True, slots=True)
class PictureLayout:
    """Places of everything in a picture."""

    boxes: Mapping[str, Box]
    """Cards, and the badges of links, by name."""
    frames: tuple[tuple[Frame, Box], ...]
    """Outer ones first."""
    arrows: tuple[Arrow, ...]
    width: float
    height: float
    entry: Point | None = None
    """Where the result of a card elsewhere comes in."""

    def moved(self, dx: float, dy: float) -> PictureLayout:
        """The same elsewhere."""

        def shift(point: Point) -> Point:
            return point[0] + dx, point[1] + dy

        return replace(
            self,
            boxes={name: box.moved(dx, dy) for name, box in self.boxes.items()},
            frames=tuple((frame, box.moved(dx, dy)) for frame, box in self.frames),
            arrows=tuple(
                Arrow(tuple(map(shift, arrow.points)), shift(arrow.tip) if arrow.tip else None)
                for arrow in self.arrows
            ),
            height=self.height + dy,
            entry=shift(self.entry) if self.entry else None,
        )


def place(picture: Picture, sizes: Sizes) -> PictureLayout:
    """Places for a picture, in as many columns as make it about as wide as a slide."""
    whole = _place(picture, sizes)
    possible = [i for i in range(1, len(picture.items)) if _narrow(picture, i)]
    choices = (_cut(picture, whole, possible, n) for n in range(1, _COLUMNS + 1))
    parts = min(choices, key=lambda parts: _misfit(parts, whole))
    if len(parts) == 1:
        return whole
    return _beside(picture, [_place(part, sizes) for part in parts], parts)


def _misfit(parts: list[Picture], whole: PictureLayout) -> float:
    """How far from `_SHAPE` the picture would be in these columns."""
    extents = [_extent(part, whole) for part in parts]
    width = sum(box.width for box in extents) + _GUTTER * (len(parts) - 1)
    height = max(box.height for box in extents)
    return abs(math.log(width / height / _SHAPE))


def _extent(part: Picture, whole: PictureLayout) -> Box:
    boxes = [whole.boxes[card.name] for card in part.cards]
    left, top = min(b.x for b in boxes), min(b.y for b in boxes)
    right, bottom = max(b.right for b in boxes), max(b.bottom for b in boxes)
    return Box(left, top, right - left, bottom - top)


def _cut(
    picture: Picture, whole: PictureLayout, possible: list[int], columns: int
) -> list[Picture]:
    """The picture in at most so many parts of about equal height, cut at `possible` items."""
    bottoms = [_extent(Picture((item,), ()), whole).bottom for item in picture.items]
    cuts: list[int] = []
    for column in range(1, columns):
        wanted = whole.height * column / columns
        later = [i for i in possible if not cuts or i > cuts[-1]]
        if later:
            cuts.append(min(later, key=lambda i: abs(bottoms[i - 1] - wanted) + _tie(picture, i)))
    bounds = [0, *cuts, len(picture.items)]
    return [_part(picture, a, b) for a, b in pairwise(bounds)]


def _tie(picture: Picture, cut: int) -> float:
    """What a cut inside a block counts as, in distance."""
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


def _place(picture: Picture, sizes: Sizes) -> PictureLayout:
    """Ask Graphviz; a card that stands elsewhere is a point, for the links from it."""
    import pygraphviz

    def look(item: Card | Frame | PictureLink) -> Attributes:
        if isinstance(item, Frame):
            return {"label": _ROOM, "labeljust": "l", "margin": "10"}
        width, height = sizes[item.name]
        return {"width": f"{width / 72:.4f}", "height": f"{height / 72:.4f}"}

    text = digraph(picture, "plan", look, _DEFAULTS)
    graph = pygraphviz.AGraph(string=text)
    graph.layout("dot")
    return _read(picture, graph, sizes)


# Graphviz measures no text: it would ask for fonts, and find others on every machine.
_ROOM = (
    f'<<TABLE BORDER="0" CELLBORDER="0" FIXEDSIZE="TRUE" WIDTH="120" HEIGHT="{_TITLE:.0f}">'
    "<TR><TD></TD></TR></TABLE>>"
)
_DEFAULTS = {
    "graph": {"ranksep": "0.24", "nodesep": "0.22", "pad": "0"},
    "node": {"shape": "box", "fixedsize": "true", "label": "", "width": "0.01", "height": "0.01"},
    "edge": {"arrowsize": "0.5"},
}


def _read(picture: Picture, graph: Any, sizes: Sizes) -> PictureLayout:
    left, bottom, right, top = _numbers(graph.graph_attr["bb"])

    def flip(text: str) -> Point:
        x, y = _numbers(text)
        return x - left, top - y

    known = _names(picture.items) | {link.name for link in picture.links}
    boxes, entry = {}, None
    for node in graph.nodes():
        x, y = flip(node.attr["pos"])
        if str(node) in known:
            width, height = sizes[str(node)]
            boxes[str(node)] = Box(x - width / 2, y - height / 2, width, height)
        else:
            entry = (x, y)
    arrows = []
    for edge in graph.edges():
        words = edge.attr["pos"].split()
        tip = next((flip(word[2:]) for word in words if word.startswith("e,")), None)
        arrows.append(Arrow(tuple(flip(w) for w in words if w[0] not in "es"), tip))
    frames = []
    for frame, cluster in _clusters(picture.items, graph):
        x0, y0, x1, y1 = _numbers(cluster.graph_attr["bb"])
        frames.append((frame, Box(x0 - left, top - y1, x1 - x0, y1 - y0)))
    return PictureLayout(boxes, tuple(frames), tuple(arrows), right - left, top - bottom, entry)


def _clusters(items: Iterable[Item], graph: Any) -> Iterable[tuple[Frame, Any]]:
    """Frames with Graphviz's clusters, outer ones first."""
    frames = [item for item in items if isinstance(item, Frame)]
    for frame, cluster in zip(frames, graph.subgraphs(), strict=True):
        yield frame, cluster
        yield from _clusters(frame.items, cluster)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


def _beside(picture: Picture, layouts: list[PictureLayout], parts: list[Picture]) -> PictureLayout:
    """Columns from left to right, and the edges from the foot of one to the head of the next."""
    x, placed, gutters = 0.0, [], []
    for layout in layouts:
        tops = (box.y for box in (*layout.boxes.values(), *(box for _, box in layout.frames)))
        placed.append(layout.moved(x, -min(tops)))
        x += layout.width + _GUTTER
        gutters.append(x - _GUTTER / 2)
    height = max(layout.height for layout in placed)
    boxes = {name: box for layout in placed for name, box in layout.boxes.items()}
    arrows = [arrow for layout in placed for arrow in layout.arrows]
    for i, layout in enumerate(placed[1:]):
        before = _names(item for part in parts[: i + 1] for item in part.items)
        source = boxes[_crossing(picture, before)[0].source]
        arrows.append(_over(source, gutters[i], placed[i].height, layout))
    frames = tuple(pair for layout in placed for pair in layout.frames)
    return PictureLayout(boxes, frames, tuple(arrows), x - _GUTTER, height)


def _over(source: Box, gutter: float, foot: float, layout: PictureLayout) -> Arrow:
    """From the last card of a column down, up the gutter, and down into the next column."""
    assert layout.entry is not None
    x, y = layout.entry
    low, high = foot + 12.0, y - 2.0
    points = ((source.middle, source.bottom), (source.middle, low), (gutter, low), (gutter, high))
    return Arrow(straight(*points, (x, high), (x, y + 1.0)), None)
