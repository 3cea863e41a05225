"""A scene as PDF: one page, drawn with the fonts that every reader has."""

from __future__ import annotations

from netc.export.scene import DASHES, Curve, Panel, Point, Polygon, Scene, Shape, Text
from netc.export.svg import number


def pdf_bytes(scene: Scene) -> bytes:
    """The scene as a PDF document of one page of its size."""
    return _document(scene, "\n".join(["1 w", *(_Page(scene.height).draw(scene.shapes))]))


def _document(scene: Scene, content: str) -> bytes:
    size = f"{number(scene.width)} {number(scene.height)}"
    stream = content.encode("cp1252", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {size}] /Contents 4 0 R "
        f"/Resources << /Font << /F 5 0 R /B 6 0 R >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        _font("Helvetica"),
        _font("Helvetica-Bold"),
        b"<< /Title (%b) /Producer (netc) >>" % _literal(scene.title).encode("cp1252", "replace"),
    ]
    return _file(objects)


def _font(name: str) -> bytes:
    kind = "/Type /Font /Subtype /Type1 /Encoding /WinAnsiEncoding"
    return f"<< {kind} /BaseFont /{name} >>".encode()


def _file(objects: list[bytes]) -> bytes:
    """Objects, the table of where they are, and the trailer."""
    result, places = b"%PDF-1.4\n", []
    for index, body in enumerate(objects, 1):
        places.append(len(result))
        result += b"%d 0 obj\n%b\nendobj\n" % (index, body)
    count, start = len(objects) + 1, len(result)
    result += b"xref\n0 %d\n0000000000 65535 f \n" % count
    result += b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"<< /Size %d /Root 1 0 R /Info %d 0 R >>" % (count, len(objects))
    return result + b"trailer\n%b\nstartxref\n%d\n%%%%EOF\n" % (trailer, start)


def _literal(text: str) -> str:
    """Text as it stands between a PDF string's parentheses."""
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


class _Page:
    """Drawing operators; PDF measures y upwards from the page's foot."""

    def __init__(self, height: float) -> None:
        self.height = height

    def draw(self, shapes: tuple[Shape, ...]) -> list[str]:
        return [self._shape(shape) for shape in shapes]

    def _shape(self, shape: Shape) -> str:
        match shape:
            case Panel():
                return self._panel(shape)
            case Text():
                return self._text(shape)
            case Curve():
                stroke = f"{_color(shape.stroke)} RG {number(shape.line)} w"
                return f"{stroke} {self._path(shape.points)} S"
            case Polygon():
                first, *rest = (self._point(p) for p in shape.points)
                lines = " ".join(f"{p} l" for p in rest)
                return f"{_color(shape.fill)} rg {first} m {lines} h f"

    def _panel(self, panel: Panel) -> str:
        look, paint = [], ""
        if panel.fill:
            look, paint = [f"{_color(panel.fill)} rg"], "f"
        if panel.stroke:
            look.append(f"{_color(panel.stroke)} RG {number(panel.line)} w")
            paint = "B" if panel.fill else "S"
        drawn = " ".join((*look, self._path(panel.outline), "h", paint))
        dashes = f"[{number(DASHES[0])} {number(DASHES[1])}] 0 d"
        return f"{dashes} {drawn} [] 0 d" if panel.dashed else drawn

    def _text(self, text: Text) -> str:
        font = f"/{'B' if text.bold else 'F'} {number(text.size)} Tf"
        place = self._point((text.left, text.y))
        return f"BT {_color(text.color)} rg {font} {place} Td ({_literal(text.text)}) Tj ET"

    def _path(self, points: tuple[Point, ...]) -> str:
        first, *rest = (self._point(p) for p in points)
        pieces = (" ".join(rest[i : i + 3]) + " c" for i in range(0, len(rest), 3))
        return f"{first} m {' '.join(pieces)}"

    def _point(self, point: Point) -> str:
        return f"{number(point[0])} {number(self.height - point[1])}"


def _color(color: str) -> str:
    """Red, green and blue of "#rrggbb" as parts of one."""
    return " ".join(number(int(color[i : i + 2], 16) / 255) for i in (1, 3, 5))
