"""A roofline: what parts of a step reach, below the ceilings of their machine.

Williams, Waterman, Patterson, "Roofline: an insightful visual performance model for multicore
architectures", 2009. Both axes are logarithmic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from netc.export.legend import Flow, Tile
from netc.export.pdf import pdf_bytes
from netc.export.png import png_bytes
from netc.export.scene import (
    Box,
    Curve,
    Panel,
    Point,
    Polygon,
    Scene,
    Shape,
    Text,
    moved,
    shortened,
    straight,
    text_width,
)
from netc.export.style import FAINT, FRAME, INK, SMALL, TEXT
from netc.export.svg import svg_text
from netc.export.words import amount
from netc.export.write import put, writer_of

_MARGIN, _WIDTH, _HEIGHT = 30.0, 700.0, 400.0
_LEFT, _ABOVE, _BELOW = 62.0, 34.0, 40.0
"""Room for the figures left of the axes; between header and plot; between plot and legend."""
_GRID = "#e3e6ea"
_PASSES = {"forward": "#0072b2", "backward": "#d55e00", "update": "#009e73"}
"""Colours of the passes, of Okabe and Ito's palette; each pass has a shape of its own, too."""
_LEAST, _MOST = 3.0, 18.0
"""Radius of a mark: the least, and that of all of a step."""
_LABELS, _LABEL_WIDTH = 12, 130.0
_ROOM = 1.5
"""So many times less and more than the points' values the axes go at least."""


_PIECES = 50
"""Parts of a line, for names that must not stand on it."""


@dataclass(frozen=True, slots=True)
class RooflinePoint:
    """A part of a step."""

    name: str
    phase: str
    """forward, backward or update."""
    flops_per_byte: float
    """Arithmetic for a byte read or written."""
    flops_per_second: float
    share: float
    """Of the step's time."""
    hollow: bool
    """Whether neither arithmetic nor memory bounds it."""


@dataclass(frozen=True, slots=True)
class Roof:
    """What the machine reaches at most."""

    flops_per_second: float
    bytes_per_second: float

    @property
    def ridge(self) -> float:
        """FLOPs a byte from which on arithmetic bounds."""
        return self.flops_per_second / self.bytes_per_second


def check_roofline(path: Path) -> None:
    """Raise UsageError (E056) where no roofline can be written as this kind of file."""
    writer_of(path, WRITERS, "a roofline")


def write_roofline(path: Path, scene: Scene) -> None:
    """Write a roofline to `path` as SVG, PDF or PNG; raises UsageError (E056)."""
    put(path, writer_of(path, WRITERS, "a roofline")(scene))


WRITERS = {".svg": lambda scene: svg_text(scene).encode(), ".pdf": pdf_bytes, ".png": png_bytes}
"""How a scene is written, by suffix."""


def draw_roofline(
    title: str, tiles: Iterable[Tile], points: Sequence[RooflinePoint], roof: Roof
) -> Scene:
    """The whole drawing; parts that compute nothing have no place in it."""
    points = [p for p in points if p.flops_per_byte > 0 and p.flops_per_second > 0]
    top = Flow(_LEFT + _WIDTH)
    header = list(top.header(title, tiles))
    plot = _Plot(Box(_LEFT, top.y + _ABOVE, _WIDTH, _HEIGHT), points, roof)
    foot = plot.box.bottom + _BELOW
    shapes = (*header, *plot.axes(), *plot.roof(), *plot.marks(points), *_legend(foot))
    placed = tuple(moved(shape, _MARGIN, _MARGIN) for shape in shapes)
    return Scene(title, _LEFT + _WIDTH + 2 * _MARGIN, foot + 2 * _MARGIN, placed)


class _Plot:
    """Both axes, and what stands between them."""

    def __init__(self, box: Box, points: Sequence[RooflinePoint], roof: Roof) -> None:
        self.box = box
        self.x = _decades([roof.ridge / 10, roof.ridge * 10, *(p.flops_per_byte for p in points)])
        heights = [p.flops_per_second for p in points]
        self.y = _decades([roof.flops_per_second / 100, roof.flops_per_second, *heights])
        start = max(10.0 ** self.x[0], 10.0 ** self.y[0] / roof.bytes_per_second)
        self.corners = (
            self.place(start, start * roof.bytes_per_second),
            self.place(roof.ridge, roof.flops_per_second),
            self.place(10.0 ** self.x[1], roof.flops_per_second),
        )

    def place(self, flops_per_byte: float, flops_per_second: float) -> tuple[float, float]:
        """Where a point stands."""
        across = _along(self.x, flops_per_byte) * self.box.width
        return self.box.x + across, self.box.bottom - _along(self.y, flops_per_second) * (
            self.box.height
        )

    def axes(self) -> Iterator[Shape]:
        """The frame, a line and a figure for every power of ten, and what is counted."""
        box = self.box
        yield Text(0, box.y - 12, "FLOP/s", SMALL, color=FAINT)
        for power in range(self.x[0], self.x[1] + 1):
            x, _ = self.place(10.0**power, 1)
            yield Curve(straight((x, box.y), (x, box.bottom)), _GRID, 0.8)
            yield Text(x, box.bottom + 14, f"{10.0**power:g}", SMALL, False, FAINT, "middle")
        for power in range(self.y[0], self.y[1] + 1):
            _, y = self.place(1, 10.0**power)
            yield Curve(straight((box.x, y), (box.right, y)), _GRID, 0.8)
            yield Text(box.x - 8, y + 3, amount(10.0**power), SMALL, False, FAINT, "end")
        yield Panel(box, None, FRAME, 0, 0.8)
        yield Text(box.right, box.bottom + 27, "FLOP for a byte", SMALL, False, FAINT, "end")

    def roof(self) -> Iterator[Shape]:
        """The slope of the memory and the flat of the arithmetic."""
        yield Curve(straight(*self.corners), INK, 1.6)

    def marks(self, points: Sequence[RooflinePoint]) -> Iterator[Shape]:
        """The points, small ones over large ones, and names of those that take longest."""
        largest = sorted(points, key=lambda p: -p.share)
        boxes = []
        for point in largest:
            radius = max(_LEAST, _MOST * math.sqrt(min(point.share, 1.0)))
            x, y = self.place(point.flops_per_byte, point.flops_per_second)
            boxes.append(Box(x - radius, y - radius, 2 * radius, 2 * radius))
            yield from _mark(boxes[-1], point.phase, point.hollow)
        yield from islice(self._labels(largest, boxes), _LABELS)

    def _labels(self, points: Sequence[RooflinePoint], boxes: Sequence[Box]) -> Iterator[Shape]:
        """Names beside their marks, of those that have room there."""
        taken = [*boxes, *_pieces(*self.corners[:2]), *_pieces(*self.corners[1:])]
        for point, mark in zip(points, boxes, strict=True):
            name = shortened(point.name, _LABEL_WIDTH, SMALL)
            rooms = _rooms(mark, text_width(name, SMALL))
            free = (r for r in rooms if _inside(r, self.box) and not _any_meets(r, taken))
            room = next(free, None)
            if room is not None:
                taken.append(room)
                yield Text(room.x, room.bottom - 2, name, SMALL, color=INK)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around all values, with some room."""
    least, most = min(values) / _ROOM, max(values) * _ROOM
    return math.floor(math.log10(least)), math.ceil(math.log10(most))


def _along(powers: tuple[int, int], value: float) -> float:
    """How far along an axis a value stands, from 0 to 1."""
    return (math.log10(value) - powers[0]) / (powers[1] - powers[0])


def _mark(box: Box, phase: str, hollow: bool) -> Iterator[Shape]:
    """A circle, a square or a diamond; hollow ones are outlines."""
    color, radius = _PASSES.get(phase, FAINT), box.width / 2
    fill, stroke = ("#ffffff", color) if hollow else (color, "#ffffff")
    if phase != "update":
        yield Panel(box, fill, stroke, radius if phase == "forward" else 0, 1.2)
        return
    yield Polygon(_diamond(box, 1.5), stroke)
    yield Polygon(_diamond(box, 0.0 if hollow else 0.5), fill)


def _diamond(box: Box, more: float) -> tuple[tuple[float, float], ...]:
    x, y, radius = box.middle, box.y + box.height / 2, box.width / 2 + more
    return ((x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y))


def _rooms(mark: Box, width: float) -> Iterator[Box]:
    """Where a name may stand: right, left, above, below."""
    high, middle = SMALL + 2, mark.y + mark.height / 2
    yield Box(mark.right + 3, middle - high / 2, width, high)
    yield Box(mark.x - 3 - width, middle - high / 2, width, high)
    yield Box(mark.middle - width / 2, mark.y - high - 2, width, high)
    yield Box(mark.middle - width / 2, mark.bottom + 2, width, high)


def _inside(box: Box, outer: Box) -> bool:
    beside = outer.x < box.x and box.right < outer.right
    return beside and outer.y < box.y and box.bottom < outer.bottom


def _pieces(a: Point, b: Point) -> Iterator[Box]:
    """Boxes along a line that rises or is flat."""
    wide, high = (b[0] - a[0]) / _PIECES, (a[1] - b[1]) / _PIECES
    for k in range(_PIECES):
        yield Box(a[0] + k * wide, a[1] - (k + 1) * high - 1, wide, high + 2)


def _any_meets(a: Box, others: Iterable[Box]) -> bool:
    return any(
        a.x < b.right and b.x < a.right and a.y < b.bottom and b.y < a.bottom for b in others
    )


def _legend(y: float) -> Iterator[Shape]:
    """What the marks mean."""
    x = _LEFT
    entries = [(phase, phase, False) for phase in _PASSES]
    entries.append(("bound by launches, not by arithmetic or memory", "forward", True))
    for meaning, phase, hollow in entries:
        yield from _mark(Box(x, y - 9, 10, 10), phase, hollow)
        yield Text(x + 16, y, meaning, TEXT, color=INK)
        x += text_width(meaning, TEXT) + 34
    yield Text(_LEFT, y + 18, "The larger a mark, the more of a step's time it stands for.", SMALL,
               color=FAINT)  # fmt: skip
