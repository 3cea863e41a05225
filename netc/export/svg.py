"""A scene as SVG."""

from __future__ import annotations

from xml.sax.saxutils import escape

from netc.export.scene import DASHES, Curve, Panel, Point, Polygon, Scene, Shape, Text

_FONTS = "Helvetica, Arial, 'Liberation Sans', 'Nimbus Sans', sans-serif"


def svg_text(scene: Scene) -> str:
    """The scene as an SVG document, of as many pixels as it has points.

    Every text states its length, so that nothing overlaps where another font stands in.
    """
    width, height = number(scene.width), number(scene.height)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="{_FONTS}">'
    )
    title = f"<title>{escape(scene.title)}</title>"
    ground = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    shapes = (shape_svg(shape) for shape in scene.shapes)
    return "\n".join((head, title, ground, *shapes, "</svg>", ""))


def number(value: float) -> str:
    """Two decimals at most: "12", "12.5"."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def shape_svg(shape: Shape) -> str:
    """A shape as an SVG element. Its colours may be a style sheet's, as "currentColor" is."""
    match shape:
        case Panel():
            return _panel(shape)
        case Text():
            return _text(shape)
        case Curve():
            return _curve(shape)
        case Polygon():
            return f'<polygon points="{_points(shape.points)}" fill="{shape.fill}"/>'


def _panel(panel: Panel) -> str:
    box = panel.box
    place = f'x="{number(box.x)}" y="{number(box.y)}"'
    size = f'width="{number(box.width)}" height="{number(box.height)}"'
    look = f'rx="{number(panel.radius)}" fill="{panel.fill or "none"}"'
    if panel.stroke:
        look += f' stroke="{panel.stroke}" stroke-width="{number(panel.line)}"'
    if panel.dashed:
        look += f' stroke-dasharray="{number(DASHES[0])} {number(DASHES[1])}"'
    return f"<rect {place} {size} {look}/>"


def _text(text: Text) -> str:
    place = f'x="{number(text.left)}" y="{number(text.y)}"'
    look = f'font-size="{number(text.size)}" fill="{text.color}"'
    if text.bold:
        look += ' font-weight="bold"'
    length = f'textLength="{number(text.width)}" lengthAdjust="spacingAndGlyphs"'
    return f"<text {place} {look} {length}>{escape(text.text)}</text>"


def _curve(curve: Curve) -> str:
    first, rest = curve.points[:1], curve.points[1:]
    look = f'fill="none" stroke="{curve.stroke}" stroke-width="{number(curve.line)}"'
    return f'<path d="M{_points(first)} C{_points(rest)}" {look}/>'


def _points(points: tuple[Point, ...]) -> str:
    return " ".join(f"{number(x)},{number(y)}" for x, y in points)
