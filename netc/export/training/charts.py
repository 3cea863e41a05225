"""Charts: lines over steps or epochs, whose values can be read by pointing and by keys."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from netc.export.scene import Box, Curve, Text, straight
from netc.export.style import TEXT
from netc.export.svg import number, shape_svg
from netc.export.training.axes import Axis, axis_of, exact_axis
from netc.export.training.curves import XY, thinned
from netc.export.training.markup import Markup, element

WIDTH, HEIGHT = 460.0, 250.0
BOX = Box(50, 10, WIDTH - 70, HEIGHT - 44)
"""Where lines are, in a drawing of that size."""
COLUMNS = 500
"""Of pixels that a line is drawn in."""
READ = 120
"""At most so many places can be read."""
_INK = "currentColor"
"""Of figures; lines without a class are of the grid, and have their colour from the style sheet."""
_MARK = 2.4
"""Radius of a point's mark."""


@dataclass(frozen=True, slots=True)
class ChartLine:
    """A line of a chart."""

    name: str
    points: Sequence[XY]
    """By ascending x."""
    look: str = "main"
    """Its class in the style sheet: main, each, or other."""
    marked: bool = False
    """Whether its points have marks."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one axis."""

    title: str
    across: str
    """What is counted from left to right: step or epoch."""
    lines: tuple[ChartLine, ...]
    may_be_log: bool = False
    form: Callable[[float], str] = "{:.4g}".format
    """A value in words."""
    marks: Sequence[tuple[float, str]] = ()
    """What happened from left to right, each at a place and in words."""


def draw_chart(chart: Chart) -> Markup:
    """The chart as a figure; nothing where it has no points."""
    lines = [line for line in chart.lines if line.points]
    if not lines:
        return Markup()
    places = [x for line in lines for x in (line.points[0][0], line.points[-1][0])]
    places += [x for x, _ in chart.marks]
    across = exact_axis(min(places), max(places))
    values = [y for line in lines for _, y in line.points]
    up = axis_of(values, chart.may_be_log)
    columns = list(_columns(chart, lines, across))
    drawn = (
        *_axes(chart, across, up),
        *(_mark(across, x) for x, _ in chart.marks),
        *(part for line in lines for part in _line(line, across, up)),
        *(shape for shape, _ in columns),
    )
    last = columns[-1][1]
    label = f"{chart.title}; {last}; left and right read other places"
    view = f"0 0 {number(WIDTH)} {number(HEIGHT)}"
    return element(
        "figure",
        element("figcaption", element("h3", chart.title), *_legend(chart, lines)),
        element("svg", *drawn, viewBox=view, role="img", tabindex="0", aria_label=label),
        element("output", last),
        class_="chart",
    )


def _legend(chart: Chart, lines: Sequence[ChartLine]) -> Iterator[Markup]:
    if len(chart.lines) > 1:
        for line in lines:
            yield element("span", element("i", class_=f"swatch {line.look}"), line.name)


def _mark(across: Axis, place: float) -> Markup:
    x = number(BOX.x + across.along(place) * BOX.width)
    ends = f"M{x},{number(BOX.y)} L{x},{number(BOX.bottom)}"
    return element("path", d=ends, class_="event")


def _place(across: Axis, up: Axis, point: XY) -> XY:
    x, y = point
    return BOX.x + across.along(x) * BOX.width, BOX.bottom - up.along(y) * BOX.height


def _axes(chart: Chart, across: Axis, up: Axis) -> Iterator[Markup]:
    for value in up.ticks:
        y = BOX.bottom - up.along(value) * BOX.height
        yield _shape(Curve(straight((BOX.x, y), (BOX.right, y)), _INK, 0.8))
        yield _shape(Text(BOX.x - 6, y + 3, chart.form(value), TEXT, False, _INK, "end"))
    for value in across.ticks:
        x = BOX.x + across.along(value) * BOX.width
        yield _shape(Curve(straight((x, BOX.bottom), (x, BOX.bottom + 3)), _INK, 0.8))
        yield _shape(Text(x, BOX.bottom + 14, f"{value:,.0f}", TEXT, False, _INK, "middle"))
    if up.logarithmic:
        yield _shape(Text(0, BOX.bottom + 29, "logarithmic", TEXT, False, _INK))
    yield _shape(Text(BOX.right, BOX.bottom + 29, chart.across, TEXT, False, _INK, "end"))


def _shape(shape: Text | Curve) -> Markup:
    return Markup(shape_svg(shape))


def _line(line: ChartLine, across: Axis, up: Axis) -> Iterator[Markup]:
    """A line, and its marks where it has them, or is but a point."""
    places = [_place(across, up, point) for point in thinned(line.points, COLUMNS)]
    told = " L".join(f"{number(x)},{number(y)}" for x, y in places)
    yield element("path", d=f"M{told}", class_=f"line {line.look}")
    if line.marked or len(places) == 1:
        for x, y in places:
            yield element(
                "circle", cx=number(x), cy=number(y), r=number(_MARK), class_=f"mark {line.look}"
            )


def _columns(
    chart: Chart, lines: Sequence[ChartLine], across: Axis
) -> Iterator[tuple[Markup, str]]:
    """What can be read: from left to right a part of the chart, and what is said of it."""
    places = sorted({x for line in lines for x, _ in line.points})
    some = _parted(places)
    edges = [across.low, *((a[-1] + b[0]) / 2 for a, b in pairwise(some))]
    ends = [*edges[1:], across.high]
    for own, begin, end in zip(some, edges, ends, strict=True):
        left, right = (BOX.x + across.along(each) * BOX.width for each in (begin, end))
        happened = (text for x, text in chart.marks if begin <= x < end or x == end == across.high)
        said = "; ".join(
            (f"{_counted(chart.across, own)}: {', '.join(_values(chart, lines, own))}", *happened)
        )
        yield element(
            "rect",
            element("title", said),
            x=number(left), y=number(BOX.y), width=number(right - left), height=number(BOX.height),
            class_="column",
        ), said  # fmt: skip


def _parted(places: Sequence[float]) -> list[Sequence[float]]:
    """At most so many parts of places as can be read, all about as long."""
    count = min(READ, len(places))
    bounds = [len(places) * part // count for part in range(count + 1)]
    return [places[a:b] for a, b in pairwise(bounds)]


def _counted(word: str, own: Sequence[float]) -> str:
    """One step, or several."""
    if own[0] == own[-1]:
        return f"{word} {own[0]:,.0f}"
    return f"{word}s {own[0]:,.0f} to {own[-1]:,.0f}"


def _values(chart: Chart, lines: Sequence[ChartLine], own: Sequence[float]) -> Iterator[str]:
    for line in lines:
        begin = bisect_left(line.points, own[0], key=_x)
        values = [y for _, y in line.points[begin : bisect_right(line.points, own[-1], key=_x)]]
        if values:
            low, high = chart.form(min(values)), chart.form(max(values))
            name = f"{line.name} " if len(chart.lines) > 1 else ""
            yield f"{name}{low}" if low == high else f"{name}{low} to {high}"


def _x(point: XY) -> float:
    return point[0]
