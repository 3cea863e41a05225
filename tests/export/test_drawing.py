"""Where things stand, and what they look like."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from itertools import combinations, pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from netc.export import plan_scene
from netc.export.build import build_picture
from netc.export.cards import card_size, draw_card, draw_way, way_size
from netc.export.describe import describe
from netc.export.draw import sizes_of
from netc.export.layout import place
from netc.export.paper import (
    LEGIBLE,
    ColumnPiece,
    Gaps,
    Page,
    _largest,
    _scale,
    _unevenness,
    best_columns,
)
from netc.export.pdf import pdf_bytes
from netc.export.picture import Picture, cards_of
from netc.export.png import png_bytes
from netc.export.scene import Box, Panel, Scene, Text, shortened, text_width, wrapped
from netc.export.style import TEXT, on, tints
from netc.export.svg import svg_text

Make = Callable[..., Any]

PLANS = [
    ("tiny", "hybrid", (4,), "b"),
    ("blocks", "model", (4,), None),
    ("blocks", "data", (2, 2), None),
    ("vgg16", "hybrid", (4,), "b"),
    ("vgg16", "single", (1,), None),
]


PAGE = Page(200.0)


def parts(given: Any) -> tuple[Picture, dict[str, tuple[float, float]]]:
    description = describe(given.plan, given.network)
    picture = build_picture(description, given.plan.mesh.size, given.facts.scheme)
    return picture, sizes_of(picture)


def inside(inner: Box, outer: Box, slack: float = 0.01) -> bool:
    return (
        inner.x >= outer.x - slack
        and inner.y >= outer.y - slack
        and inner.right <= outer.right + slack
        and inner.bottom <= outer.bottom + slack
    )


def box_of(text: Text) -> Box:
    return Box(text.left, text.y - 0.75 * text.size, text.width, text.size)


@pytest.mark.parametrize(("name", "strategy", "mesh", "scheme"), PLANS)
def test_texts_stay_in_their_boxes(
    case: Make, name: str, strategy: str, mesh: tuple[int, ...], scheme: str | None
) -> None:
    picture, _ = parts(case(name, strategy, mesh, scheme))
    for card in picture.cards:
        box = Box(0, 0, *card_size(card))
        texts = [shape for shape in draw_card(card, box) if isinstance(shape, Text)]
        assert all(inside(box_of(text), box) for text in texts)
        for a, b in combinations(map(box_of, texts), 2):
            assert a.right <= b.x or b.right <= a.x or a.bottom <= b.y + 1 or b.bottom <= a.y + 1
    for link in picture.links:
        if link.badges:
            box = Box(0, 0, *way_size(link))
            texts = [shape for shape in draw_way(link, box) if isinstance(shape, Text)]
            assert all(inside(box_of(text), box) for text in texts)


PIECES = st.lists(
    st.builds(
        ColumnPiece, st.floats(50, 900), st.floats(20, 900), st.sampled_from([0.0, 60.0])
    ),
    min_size=1, max_size=7,
)  # fmt: skip


@given(PIECES, st.booleans())
def test_columns_print_large_and_cannot_be_evened_by_one_piece(
    pieces: list[ColumnPiece], turned: bool
) -> None:
    page, gaps, ends = Page(100.0, turned), Gaps(30.0, 4.0), range(1, len(pieces))

    def scale(begins: list[int]) -> float:
        return _scale(pieces, begins, page, gaps)

    found = best_columns(pieces, page, gaps)
    breaks = [each for count in range(len(pieces)) for each in combinations(ends, count)]
    largest = scale(_largest(pieces, page, gaps))
    if not any(piece.dear for piece in pieces):
        assert largest >= max(scale([0, *each]) for each in breaks) * (1 - 1e-5)
    least = max(0.94 * largest, min(largest, LEGIBLE / TEXT))
    assert scale(found) >= least * (1 - 1e-5)
    for number, own in enumerate(found[1:], 1):
        for by in (-1, 1):
            other = [*found[:number], own + by, *found[number + 1 :]]
            if [0, *sorted(set(other) & set(ends))] == other and scale(other) > least:
                now, then = (_unevenness(pieces, each, gaps) for each in (found, other))
                assert now <= then * (1 + 1e-9)


def test_a_long_chain_goes_on_in_columns(case: Make) -> None:
    picture, sizes = parts(case("vgg16", "data"))
    layout = place(picture, sizes, PAGE)
    assert 0.8 < layout.width / layout.height < 2.5
    assert len({round(box.middle) for box in layout.boxes.values()}) > 1


@pytest.mark.parametrize("strategy", ["data", "model", "hybrid"])
def test_columns_of_blocks_are_straight(case: Make, strategy: str) -> None:
    """From card to card it goes straight down, or on in the next column; by other ways, aside."""
    picture, sizes = parts(case("dense", strategy))
    layout = place(picture, sizes, PAGE)
    names = [card.name for card in picture.cards]
    pairs = [(layout.boxes[a], layout.boxes[b]) for a, b in pairwise(names)]
    down = [abs(a.middle - b.middle) for a, b in pairs if b.y > a.y]
    assert len(names) - 10 < len(down) < len(names) and max(down) < 1.5


def test_frames_hold_their_cards_and_badges(case: Make) -> None:
    picture, sizes = parts(case("vgg16", "hybrid", (4,), "b"))
    layout = place(picture, sizes, PAGE)
    ((frame, around),) = layout.frames
    names = {card.name for card in cards_of(frame.items)}
    held = {name for name, box in layout.boxes.items() if inside(box, around)}
    assert held == names | {"fc6 > fc7", "fc7 > fc8"}


def test_the_legend_says_what_is_meant_of_several(case: Make) -> None:
    """Of an exchange in front of three convolutions each has its own."""
    words = {
        strategy: [
            shape.text
            for shape in plan_scene(*case("vgg16", strategy).given).shapes
            if isinstance(shape, Text) and shape.text.startswith("several alike")
        ]
        for strategy in ("data", "model")
    }
    own = "several alike in a row; figures are for one"
    assert words == {"data": [own], "model": [f"{own}, and so is what is exchanged in front"]}


def test_colours_and_letters_follow_the_split(case: Make) -> None:
    picture, _ = parts(case("tiny", "hybrid", (2,), "b"))
    for card in picture.cards:
        shapes = list(draw_card(card, Box(0, 0, *card_size(card))))
        fills = {shape.fill for shape in shapes if isinstance(shape, Panel)}
        assert set(tints(card.split[0])) <= fills
        assert card.split[0] in {shape.text for shape in shapes if isinstance(shape, Text)}
    assert tints("@3") == tints("@0") != tints("k") != tints("n")
    assert on(tints("n")[0]) == "#ffffff" != on(tints("k")[0])


def test_svg_is_xml_and_every_text_has_its_length(case: Make) -> None:
    scene = plan_scene(*case("blocks", "model", (2,)).given)
    root = ElementTree.fromstring(svg_text(scene))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = root.findall("{*}text")
    assert len(texts) == sum(isinstance(shape, Text) for shape in scene.shapes)
    assert all(float(text.attrib["textLength"]) > 0 for text in texts)
    assert "blocks" in [text.text for text in texts]


def test_svg_escapes(case: Make) -> None:
    text = Text(0, 10, '<a> & "b"')
    root = ElementTree.fromstring(svg_text(Scene("<&>", 10, 10, (text,))))
    assert [e.text for e in root.iter() if e.text and e.text.strip()] == ["<&>", text.text]


def number_in(pattern: bytes, data: bytes) -> int:
    found = re.search(pattern, data)
    assert found is not None
    return int(found[1])


def test_pdf_tells_where_its_objects_are(case: Make) -> None:
    data = pdf_bytes(plan_scene(*case("blocks", "data", (2,)).given))
    start = number_in(rb"startxref\n(\d+)\n%%EOF\n\Z", data)
    places = re.findall(rb"(\d{10}) 00000 n \n", data[start:])
    assert len(places) == 7
    for number, place_ in enumerate(places, 1):
        assert data[int(place_) :].startswith(b"%d 0 obj\n" % number)
    length = number_in(rb"/Length (\d+) >>\nstream\n", data)
    begin = data.index(b"stream\n") + len(b"stream\n")
    assert data[begin + length :].startswith(b"\nendstream")


def test_pdf_escapes_parentheses() -> None:
    scene = Scene("a(b", 10, 10, (Text(0, 10, "f(x)\\"),))
    assert b"(f\\(x\\)\\\\) Tj" in pdf_bytes(scene)
    assert b"/Title (a\\(b)" in pdf_bytes(scene)


def test_png_has_the_picture_s_colours(case: Make) -> None:
    scene = plan_scene(*case("tiny", "hybrid", (2,), "b").given)
    image = Image.open(io.BytesIO(png_bytes(scene)))
    assert abs(image.width - 2 * scene.width) <= 2
    colours = {colour for _, colour in image.getcolors(2**20) or ()}
    for label in "nk":
        strong = tints(label)[0]
        assert tuple(int(strong[i : i + 2], 16) for i in (1, 3, 5)) in colours


def test_a_huge_png_stays_within_bounds() -> None:
    image = Image.open(io.BytesIO(png_bytes(Scene("big", 20000, 9000, ()))))
    assert image.width * image.height < 20e6


def test_widths_are_helvetica_s() -> None:
    """From Adobe's metrics: H 722, e 556, l 222, o 556; in bold H 722, i 278."""
    assert text_width("Hello", 10) == pytest.approx(22.78)
    assert text_width("Hi", 10, bold=True) == pytest.approx(10.0)


def test_long_texts_are_cut_and_wrapped() -> None:
    assert shortened("short", 100, 10) == "short"
    cut = shortened("a" * 100, 100, 10)
    assert cut.endswith("...")
    assert text_width(cut, 10) <= 100
    lines = wrapped("one two three four five six", 60, 10)
    assert " ".join(lines) == "one two three four five six"
    assert len(lines) > 1
    assert all(text_width(line, 10) <= 60 for line in lines)
