"""Where points, names and ceilings stand in a roofline."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest

from netc.export.roofline import Roof, RooflinePoint, draw_roofline
from netc.export.scene import Box, Curve, Panel, Scene, Shape, Text
from netc.export.svg import svg_text

ROOF = Roof(1e12, 1e11)
PHASES = ("forward", "backward")


def drawn(points: list[RooflinePoint], roof: Roof = ROOF) -> Scene:
    return draw_roofline("net", [("5 ms", "a step")], points, roof)


def point(name: str, intensity: float, speed: float, share: float = 0.1) -> RooflinePoint:
    return RooflinePoint(name, "forward", intensity, speed, share, False)


def frame(scene: Scene) -> Box:
    return next(s.box for s in scene.shapes if isinstance(s, Panel) and s.fill is None)


def marks(scene: Scene) -> list[Panel]:
    """Circles and squares, without those of the legend."""
    return [s for s in scene.shapes
            if isinstance(s, Panel) and s.fill and s.box.y < frame(scene).bottom]  # fmt: skip


def ceiling(scene: Scene) -> Curve:
    return max((s for s in scene.shapes if isinstance(s, Curve)), key=lambda s: s.line)


def middle(box: Box) -> tuple[float, float]:
    return box.middle, box.y + box.height / 2


def test_a_point_at_the_ridge_stands_on_the_corner_of_the_roof() -> None:
    scene = drawn([point("top", ROOF.ridge, 1e12), point("low", ROOF.ridge, 1e11)])
    top, low = (middle(mark.box) for mark in marks(scene))
    corner = ceiling(scene).points[3]
    assert top == pytest.approx(corner)
    assert low[0] == pytest.approx(top[0]) and low[1] > top[1]


def test_a_decade_is_as_long_everywhere() -> None:
    given = [point(str(k), 10.0**k, 10.0 ** (9 + k)) for k in range(4)]
    places = [middle(mark.box) for mark in marks(drawn(given))]
    steps = {(round(b[0] - a[0], 6), round(b[1] - a[1], 6)) for a, b in pairwise(places)}
    assert len(steps) == 1


def many() -> list[RooflinePoint]:
    return [
        RooflinePoint(f"stage{k}.conv{k % 4}", PHASES[k % 2], 2.0 ** (k % 9),
                      10.0 ** (8 + k % 5 * 0.8), 1 / (2 + k), k % 5 == 0)
        for k in range(40)
    ]  # fmt: skip


def test_everything_is_inside_and_names_stand_apart() -> None:
    scene = drawn(many(), Roof(9e13, 2.9e12))
    box = frame(scene)
    for mark in marks(scene):
        x, y = middle(mark.box)
        assert box.x <= x <= box.right and box.y <= y <= box.bottom
    names = [_room(s) for s in scene.shapes if isinstance(s, Text) and s.text.startswith("stage")]
    assert 1 < len(names) <= 12
    assert not any(_meet(a, b) for a, b in combinations(names, 2))
    assert all(box.x < n.x and n.right < box.right for n in names)
    for shape in scene.shapes:
        if isinstance(shape, Text):
            assert shape.left >= 0 and shape.left + shape.width <= scene.width
            assert 0 < shape.y < scene.height


def _room(text: Text) -> Box:
    return Box(text.left, text.y - text.size, text.width, text.size)


def _meet(a: Box, b: Box) -> bool:
    return a.x < b.right and b.x < a.right and a.y < b.bottom and b.y < a.bottom


def test_the_more_time_the_larger() -> None:
    areas = [
        m.box.width**2 for m in marks(drawn([point("a", 1, 1e9, 0.8), point("b", 9, 1e9, 0.2)]))
    ]
    assert areas[0] / areas[1] == pytest.approx(4)


def test_parts_without_arithmetic_are_left_out() -> None:
    assert len(marks(drawn([point("copy", 0.0, 0.0), point("conv", 5.0, 1e10)]))) == 1


def test_without_points_there_is_the_roof() -> None:
    scene = drawn([])
    shapes: tuple[Shape, ...] = scene.shapes
    assert ceiling(scene) in shapes
    assert all(math.isfinite(x) and math.isfinite(y) for x, y in ceiling(scene).points)


def test_svg_is_well_formed() -> None:
    root = ElementTree.fromstring(svg_text(drawn([point("a<b", 5.0, 1e10)])))
    assert "a<b" in {element.text for element in root.iter()}
