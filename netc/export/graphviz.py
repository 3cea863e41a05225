"""Graphviz places cards of given sizes; it draws nothing, and measures no text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from types import ModuleType
from typing import Any

from netc.errors import DeviceError, Diagnostic
from netc.export.dot import Attributes, digraph
from netc.export.picture import Card, Frame, Item, Picture, PictureLink
from netc.export.placed import Arrow, PictureLayout
from netc.export.scene import Box, Point, straight, text_width, wrapped
from netc.export.style import PAD, TEXT

Sizes = Mapping[str, tuple[float, float]]
"""Width and height of cards, and of the badges of links, by name."""

_STRAIGHT = "50"
"""How much more it counts that the longest way is straight than other edges."""
TITLE = 13.0
"""Height of a line of a frame's title."""
SYSTEM = (
    "it wants GLib, X11 and Expat of the system: 'apt install libglib2.0-0 libx11-6 libxext6 "
    "libxrender1 libexpat1', or 'dnf install glib2 libX11 libXext libXrender expat'; '-o' of a "
    "'.dot' or '.json' file goes without."
)
"""What to do where Graphviz cannot be loaded."""
_BESIDE = 6.0
"""Between an edge and the frame around it."""
_LONGEST = 130.0, 155.0
"""Longest line of a frame's title, where it can be broken: upright, and in what is turned, where
two cards follow each other along it.
"""


def place_piece(picture: Picture, sizes: Sizes, titled: bool = True) -> PictureLayout:
    """Ask Graphviz; a card that stands elsewhere is a point, for the links from it. The longest way
    through the piece is straight as far as possible. Without `titled` frames have room for a title
    on each side. Raises DeviceError (E099) where Graphviz cannot be loaded.
    """
    pygraphviz = graphviz()

    def look(item: Card | Frame | PictureLink) -> Attributes:
        if isinstance(item, Frame):
            margin = 10 + (0 if titled else TITLE * len(title_lines(item, True)))
            label = _room(item) if titled else ""
            return {"label": label, "labeljust": "l", "margin": f"{margin:.0f}"}
        width, height = sizes[item.name]
        return {"width": f"{width / 72:.4f}", "height": f"{height / 72:.4f}"}

    text = digraph(picture, "plan", look, _DEFAULTS)
    graph = pygraphviz.AGraph(string=text)
    for ends in pairwise(_spine(picture)):
        graph.get_edge(*ends).attr["weight"] = _STRAIGHT
    graph.layout("dot")
    return _read(picture, graph, sizes)


def graphviz() -> ModuleType:
    """Graphviz, which comes with its package but for libraries that nearly every system has.

    Raises DeviceError (E099) where the system lacks them.
    """
    try:
        import pygraphviz
    except ImportError as error:
        message = f"Graphviz, which places the cards of a picture, cannot be loaded: {error}."
        raise DeviceError(Diagnostic("E099", message, help=SYSTEM)) from None
    found: ModuleType = pygraphviz
    return found


def _spine(picture: Picture) -> list[str]:
    """The longest way to the last card: cards, and what is exchanged between them."""
    ways: dict[str, list[str]] = {}
    into: dict[str, list[tuple[str, str]]] = {}
    for link in picture.links:
        for target in link.targets:
            into.setdefault(target, []).append((link.source, link.name if link.badges else ""))
    for card in picture.cards:
        before = (
            [*ways.get(source, [source]), *filter(None, [badge])]
            for source, badge in into.get(card.name, [])
        )  # fmt: skip
        ways[card.name] = [*max(before, key=len, default=[]), card.name]
    return ways[picture.cards[-1].name]


def title_lines(frame: Frame, turned: bool = False) -> list[str]:
    """The lines of a frame's title."""
    return wrapped(frame.title, _LONGEST[turned], TEXT, True)


def _room(frame: Frame) -> str:
    """A table that leaves room for a title on either side of the edge that leads in; for a text
    Graphviz would ask for fonts.
    """
    lines = title_lines(frame)
    width = 2 * (max(text_width(line, TEXT, True) for line in lines) + PAD)
    size = f'WIDTH="{width:.0f}" HEIGHT="{TITLE * len(lines):.0f}"'
    table = f'BORDER="0" CELLBORDER="0" FIXEDSIZE="TRUE" {size}'
    return f"<<TABLE {table}><TR><TD></TD></TR></TABLE>>"


_DEFAULTS = {
    "graph": {"ranksep": "0.22", "nodesep": "0.13", "pad": "0"},
    "node": {"shape": "box", "fixedsize": "true", "label": "", "width": "0.01", "height": "0.01"},
    "edge": {"arrowsize": "0.5", "dir": "both"},
}


def _read(picture: Picture, graph: Any, sizes: Sizes) -> PictureLayout:
    left, bottom, right, top = _numbers(graph.graph_attr["bb"])

    def flip(text: str) -> Point:
        x, y = _numbers(text)
        return x - left, top - y

    links = {link.name for link in picture.links}
    cards = {card.name for card in picture.cards}
    boxes, entry = {}, None
    for node in graph.nodes():
        x, y = flip(node.attr["pos"])
        if str(node) in cards | links:
            width, height = sizes[str(node)]
            boxes[str(node)] = Box(x - width / 2, y - height / 2, width, height)
        else:
            entry = (x, y)
    arrows = []
    for edge in graph.edges():
        points, starts, ends = _way(edge.attr["pos"], flip)
        source = str(edge[0])
        arrows.append(Arrow(points, starts and source in cards, ends, source))
    frames = []
    for frame, cluster in _clusters(picture.items, graph):
        x0, y0, x1, y1 = _numbers(cluster.graph_attr["bb"])
        frames.append((frame, Box(x0 - left, top - y1, x1 - x0, y1 - y0)))
    placed = PictureLayout(boxes, tuple(frames), tuple(arrows), right - left, top - bottom, entry)
    return _widened(placed) if len(picture.items) == len(placed.frames) == 1 else placed


def _widened(placed: PictureLayout) -> PictureLayout:
    """With its frame around the edges, which Graphviz lets lead outside."""
    ((frame, box),) = placed.frames
    if box.width >= placed.width:
        return placed
    moved = placed.moved(_BESIDE, 0.0)
    width = placed.width + 2 * _BESIDE
    return replace(moved, frames=((frame, Box(0.0, box.y, width, box.height)),), width=width)


def _way(text: str, flip: Callable[[str], Point]) -> tuple[tuple[Point, ...], bool, bool]:
    """The points of an edge, with those of its heads, and whether its first and last piece are."""
    words = text.split()
    heads = {word[0]: flip(word[2:]) for word in words if word[0] in "es"}
    points = tuple(flip(word) for word in words if word[0] not in "es")
    if "s" in heads:
        points = (*straight(heads["s"], points[0]), *points[1:])
    if "e" in heads:
        points = (*points[:-1], *straight(points[-1], heads["e"]))
    return points, "s" in heads, "e" in heads


def _clusters(items: Iterable[Item], graph: Any) -> Iterable[tuple[Frame, Any]]:
    """Frames with Graphviz's clusters, outer ones first."""
    frames = [item for item in items if isinstance(item, Frame)]
    for frame, cluster in zip(frames, graph.subgraphs(), strict=True):
        yield frame, cluster
        yield from _clusters(frame.items, cluster)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))
