"""A scene as PNG, drawn with Pillow and the font that comes with it."""

from __future__ import annotations

import io
import math
from bisect import bisect_right
from functools import cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from netc.export.scene import DASHES, Curve, Panel, Point, Polygon, Scene, Shape, Text, flat

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

_SCALE = 2.0
"""Pixels for a point."""
_FINER = 2
"""Everything is drawn so many times larger and then reduced, for smooth edges."""
_PIXELS = 48e6
"""Most pixels before the reduction; a larger scene gets fewer for a point."""


def png_bytes(scene: Scene) -> bytes:
    """The scene as a PNG image of two pixels a point, fewer where it is very large."""
    from PIL import Image, ImageDraw

    scale = min(_SCALE * _FINER, math.sqrt(_PIXELS / (scene.width * scene.height)))
    size = (math.ceil(scene.width * scale), math.ceil(scene.height * scale))
    image = Image.new("RGB", size, "#ffffff")
    pen = _Pen(ImageDraw.Draw(image), scale)
    for shape in scene.shapes:
        pen.draw(shape)
    result = io.BytesIO()
    dots = 72 * scale / _FINER
    image.reduce(_FINER).save(result, "PNG", dpi=(dots, dots), compress_level=4)
    return result.getvalue()


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


class _Pen:
    """Draws shapes at a scale."""

    def __init__(self, image: ImageDraw.ImageDraw, scale: float) -> None:
        self.image, self.scale = image, scale

    def draw(self, shape: Shape) -> None:
        match shape:
            case Panel():
                self._panel(shape)
            case Text():
                self._text(shape)
            case Curve():
                self._line(flat(shape.points), shape.stroke, shape.line)
            case Polygon():
                self.image.polygon(self._points(shape.points), fill=shape.fill)

    def _points(self, points: tuple[Point, ...]) -> list[Point]:
        return [(x * self.scale, y * self.scale) for x, y in points]

    def _line(self, points: tuple[Point, ...], color: str, width: float) -> None:
        pixels = round(width * self.scale)
        self.image.line(self._points(points), fill=color, width=pixels, joint="curve")

    def _panel(self, panel: Panel) -> None:
        box, scale = panel.box, self.scale
        corners = (box.x * scale, box.y * scale, box.right * scale, box.bottom * scale)
        line = round(panel.line * scale) if panel.stroke and not panel.dashed else 0
        half = line / 2
        grown = (corners[0] - half, corners[1] - half, corners[2] + half, corners[3] + half)
        look = {"fill": panel.fill, "outline": panel.stroke if line else None, "width": line}
        self.image.rounded_rectangle(grown, panel.radius * scale + half, **look)  # type: ignore[arg-type]
        if panel.dashed and panel.stroke:
            self._dashes(panel)

    def _dashes(self, panel: Panel) -> None:
        assert panel.stroke is not None
        for dash in _dashed(flat(panel.outline)):
            self._line(dash, panel.stroke, panel.line)

    def _text(self, text: Text) -> None:
        """At Helvetica's length: the font is a little smaller where its letters are wider."""
        size = max(round(text.size * self.scale), 1)
        wide = _font(size).getlength(text.text) / self.scale
        if wide > text.width:
            size = max(math.floor(size * text.width / wide), 1)
        place = (text.left * self.scale, text.y * self.scale)
        weight = text.size * self.scale / 40 if text.bold else 0.0
        self.image.text(place, text.text, text.color, _font(size), anchor="ls", stroke_width=weight)


def _dashed(points: tuple[Point, ...]) -> list[tuple[Point, ...]]:
    """A line cut in dashes."""
    steps = (math.dist(a, b) for a, b in pairwise(points))
    passed = tuple(accumulate(steps, initial=0.0))
    starts = [i * sum(DASHES) for i in range(math.ceil(passed[-1] / sum(DASHES)))]
    return [_stretch(points, passed, start, start + DASHES[0]) for start in starts]


def _stretch(
    points: tuple[Point, ...], passed: tuple[float, ...], start: float, stop: float
) -> tuple[Point, ...]:
    """A line from one distance to another; `passed` is the distance of every point."""
    stop = min(stop, passed[-1])
    inner = (p for p, distance in zip(points, passed, strict=True) if start < distance < stop)
    return (_at(points, passed, start), *inner, _at(points, passed, stop))


def _at(points: tuple[Point, ...], passed: tuple[float, ...], distance: float) -> Point:
    i = min(max(bisect_right(passed, distance), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[i - 1], points[i]
    part = (distance - passed[i - 1]) / ((passed[i] - passed[i - 1]) or 1.0)
    return x0 + (x1 - x0) * part, y0 + (y1 - y0) * part
