"""A drawing as four kinds of shapes, and how wide a text is.

Lengths are points (1/72 inch), x to the right, y down. Texts are measured with the widths of
Helvetica, so that a drawing is the same on every machine, whatever fonts it has.
"""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float]

DASHES = (5.0, 3.0)
"""Length of a dash, and of the gap behind it."""

_PIECES = 12
"""Straight lines for one piece of a curve."""
_ROUND = 0.5523
"""How far the control points of a Bezier curve are out for a quarter of a circle of radius one."""
_WAYS = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))
"""Right, down, left, up."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    x: float
    """Left edge."""
    y: float
    """Top edge."""
    width: float
    height: float

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Bottom edge."""
        return self.y + self.height

    @property
    def middle(self) -> float:
        """Halfway from left to right."""
        return self.x + self.width / 2

    def holds(self, x: float, y: float) -> bool:
        """Whether a point is inside."""
        return self.x <= x <= self.right and self.y <= y <= self.bottom

    def moved(self, dx: float, dy: float) -> Box:
        """The same rectangle elsewhere."""
        return Box(self.x + dx, self.y + dy, self.width, self.height)


def around(*boxes: Box) -> Box:
    """The least rectangle that holds these."""
    x, y = min(box.x for box in boxes), min(box.y for box in boxes)
    right, bottom = max(box.right for box in boxes), max(box.bottom for box in boxes)
    return Box(x, y, right - x, bottom - y)


@dataclass(frozen=True, slots=True)
class Panel:
    """A filled or outlined rectangle with round corners."""

    box: Box
    fill: str | None = None
    """Colour as "#rrggbb", or none."""
    stroke: str | None = None
    radius: float = 0.0
    line: float = 1.0
    """Width of the outline."""
    dashed: bool = False

    @property
    def outline(self) -> tuple[Point, ...]:
        """Its outline as the points of a curve, clockwise from the top left."""
        box, radius = self.box, self.radius
        corners = ((box.right, box.y), (box.right, box.bottom), (box.x, box.bottom), (box.x, box.y))
        points: list[Point] = [(box.x + radius, box.y)]
        for i, corner in enumerate(corners):
            way, turn = _WAYS[i], _WAYS[(i + 1) % 4]
            into, out = _along(corner, way, -radius), _along(corner, turn, radius)
            bend = radius * (1 - _ROUND)
            points += [points[-1], into, into]
            points += [_along(corner, way, -bend), _along(corner, turn, bend), out]
        return tuple(points)


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text."""

    x: float
    y: float
    """Of the baseline."""
    text: str
    size: float = 10.0
    bold: bool = False
    color: str = "#222222"
    anchor: str = "start"
    """Which part of the text stands at x: start, middle or end."""

    @property
    def width(self) -> float:
        """Its length."""
        return text_width(self.text, self.size, self.bold)

    @property
    def left(self) -> float:
        """Where it begins."""
        return self.x - self.width * {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor]


@dataclass(frozen=True, slots=True)
class Curve:
    """Cubic Bezier pieces, one after the other."""

    points: tuple[Point, ...]
    """The first point, then two control points and an end for every piece."""
    stroke: str
    line: float = 1.0


@dataclass(frozen=True, slots=True)
class Polygon:
    """A filled polygon, such as an arrow's head."""

    points: tuple[Point, ...]
    fill: str


Shape = Panel | Text | Curve | Polygon


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that is drawn, from back to front."""

    title: str
    width: float
    height: float
    shapes: tuple[Shape, ...]


def _along(point: Point, way: Point, distance: float) -> Point:
    return point[0] + way[0] * distance, point[1] + way[1] * distance


def moved(shape: Shape, dx: float, dy: float) -> Shape:
    """The same shape elsewhere."""

    def shift(points: tuple[Point, ...]) -> tuple[Point, ...]:
        return tuple((x + dx, y + dy) for x, y in points)

    match shape:
        case Panel(box, fill, stroke, radius, line, dashed):
            return Panel(box.moved(dx, dy), fill, stroke, radius, line, dashed)
        case Text(x, y, text, size, bold, color, anchor):
            return Text(x + dx, y + dy, text, size, bold, color, anchor)
        case Curve(points, stroke, line):
            return Curve(shift(points), stroke, line)
        case Polygon(points, fill):
            return Polygon(shift(points), fill)


def straight(*points: Point) -> tuple[Point, ...]:
    """A line through `points` as the points of a curve."""
    result = [points[0]]
    for point in points[1:]:
        result += [result[-1], point, point]
    return tuple(result)


def flat(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """The points of a curve as those of straight lines."""
    result = [points[0]]
    for i in range(1, len(points), 3):
        piece = (points[i - 1], *points[i : i + 3])
        result += [_bezier(piece, step / _PIECES) for step in range(1, _PIECES + 1)]
    return tuple(result)


def _bezier(points: tuple[Point, ...], t: float) -> Point:
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    x = sum(w * p[0] for w, p in zip(weights, points, strict=True))
    return x, sum(w * p[1] for w, p in zip(weights, points, strict=True))


def text_width(text: str, size: float, bold: bool = False) -> float:
    """How long `text` is in Helvetica."""
    widths = _BOLD if bold else _PLAIN
    return sum(widths.get(character, _WIDE) for character in text) * size / 1000


def shortened(text: str, limit: float, size: float, bold: bool = False) -> str:
    """`text`, cut with dots at its end where it is longer than `limit`."""
    if text_width(text, size, bold) <= limit:
        return text
    while text and text_width(f"{text}...", size, bold) > limit:
        text = text[:-1]
    return f"{text}..."


def wrapped(text: str, limit: float, size: float, bold: bool = False) -> list[str]:
    """`text` in lines no longer than `limit`, but for single words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if lines[-1] and text_width(longer, size, bold) > limit:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


_WIDE = 1000
"""For characters that are not in the tables: as wide as any."""


def _widths(table: str) -> dict[str, int]:
    """Widths of the characters from the space on, in thousandths of the size."""
    return {chr(32 + i): int(width) for i, width in enumerate(table.split())}


# Adobe's font metrics of Helvetica and Helvetica-Bold; those of Arial are equal.
_PLAIN = _widths(
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 "
    "556 556 556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 "
    "722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 469 556 333 556 556 500 556 "
    "556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 "
    "260 334 584"
)
_BOLD = _widths(
    "278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 "
    "556 556 556 333 333 584 584 584 611 975 722 722 722 722 667 611 778 722 278 556 722 611 833 "
    "722 778 667 778 722 667 611 722 667 944 667 667 611 333 278 333 584 556 333 556 611 556 611 "
    "556 333 611 611 278 278 556 278 889 611 611 611 611 389 556 333 611 556 778 556 556 500 389 "
    "280 389 584"
)
