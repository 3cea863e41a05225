"""Which classes are taken for which: a matrix, and the pairs that are confused most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netc.errors import escaped
from netc.export.scene import Text, shortened, text_width
from netc.export.style import SMALL, TEXT
from netc.export.svg import number, shape_svg
from netc.export.training.facts import HeldOut, Pairs
from netc.export.training.markup import Markup, element

MOST_CLASSES = 24
"""So many are all shown; of more classes those that are confused most often."""
SHOWN_CLASSES = 20
LISTED = 12
"""Pairs in the list."""
_LEAST_CELL, _MOST_CELL, _SIDE = 22.0, 36.0, 420.0
"""Width and height of a cell, and about that of all of them."""
_LONGEST = 110.0
"""Of a class's name beside the matrix."""
_FAINTEST, _STRONGEST = 0.08, 0.5
"""How much of a colour a cell with anything in it has: so little of it that text can be read."""
_INK = "currentColor"


@dataclass(frozen=True, slots=True)
class Confusion:
    """A matrix of images by their class, and by the one that they are taken for."""

    classes: tuple[int, ...]
    """Those shown, in order of rows and columns."""
    cells: tuple[tuple[int, ...], ...]
    """A row for each class, of as many columns."""
    others: tuple[int, ...]
    """Of each row, the images taken for a class that is not shown."""


def confusion_of(pairs: Pairs, count: int) -> Confusion:
    """The matrix of `count` classes; of many the ones that are confused most often, those next to
    each other that are taken for each other.
    """
    classes = tuple(range(count)) if count <= MOST_CLASSES else _most_confused(pairs, count)
    cells = tuple(tuple(pairs.get((a, b), 0) for b in classes) for a in classes)
    sums = Counter[int]()
    for (own, _), images in pairs.items():
        sums[own] += images
    others = tuple(sums[a] - sum(row) for a, row in zip(classes, cells, strict=True))
    return Confusion(classes, cells, others)


def confused(pairs: Pairs) -> list[tuple[int, int, int]]:
    """Images, their class, and another one that they are taken for: most images first."""
    found = [(images, own, said) for (own, said), images in pairs.items() if own != said]
    return sorted(found, key=lambda each: (-each[0], each[1:]))


def _most_confused(pairs: Pairs, count: int) -> tuple[int, ...]:
    """Of few mistakes, the first classes fill up what is shown."""
    ranked = [each for _, own, said in confused(pairs) for each in (own, said)]
    return tuple(dict.fromkeys([*ranked, *range(count)]))[:SHOWN_CLASSES]


def draw_confusion(held_out: HeldOut) -> Markup:
    """The matrix as a figure."""
    shown = confusion_of(held_out.pairs, len(held_out.classes))
    drawing = _Drawing(shown, [held_out.classes[i] for i in shown.classes])
    view = f"0 0 {number(drawing.width)} {number(drawing.height)}"
    words = f"{len(shown.classes)} classes, by what they are taken for"
    svg = element(
        "svg", *drawing.parts(), viewBox=view, width=number(drawing.width),
        height=number(drawing.height), role="img", aria_label=words,
    )  # fmt: skip
    return element(
        "figure",
        element("figcaption", element("h3", "Confusion matrix"), element("span", _said(held_out))),
        element("div", svg, class_="wide", tabindex="0"),
        class_="matrix",
    )


def _said(held_out: HeldOut) -> str:
    count = len(held_out.classes)
    rows = "A row has the images of a class, a column those that are taken for it."
    if count <= MOST_CLASSES:
        return rows
    shown = f"Of {count:,} classes the {SHOWN_CLASSES} that are confused most often are shown"
    return f"{rows} {shown}; 'other' are all others."


class _Drawing:
    """Cells, and names at the left and above."""

    def __init__(self, shown: Confusion, names: Sequence[str]) -> None:
        self.shown = shown
        self.columns = [*names, "other"] if any(shown.others) else list(names)
        self.names = names
        most = max(map(max, shown.cells))
        needed = text_width(f"{most:,}", SMALL) + 6
        even = min(_SIDE / len(self.columns), _MOST_CELL)
        self.cell = max(_LEAST_CELL, needed, even)
        wide = max(text_width(_short(name), TEXT) for name in self.columns)
        self.upright = wide > self.cell - 4
        """Whether names above the matrix are turned, as they are wider than a column."""
        self.left, self.top = wide + 10, (wide if self.upright else TEXT) + 10
        self.width = self.left + self.cell * len(self.columns) + 2
        self.height = self.top + self.cell * len(names) + 2

    def parts(self) -> Iterator[Markup]:
        for i, name in enumerate(self.columns):
            yield self._above(i, name)
        for i, name in enumerate(self.names):
            y = self.top + (i + 0.5) * self.cell + 3.5
            yield _text(Text(self.left - 6, y, _short(name), TEXT, False, _INK, "end"))
            row = self.shown.cells[i]
            whole = sum(row) + self.shown.others[i]
            values = [*row, self.shown.others[i]][: len(self.columns)]
            for j, value in enumerate(values):
                yield self._cell(i, j, value, whole)

    def _above(self, column: int, name: str) -> Markup:
        x, y = self.left + (column + 0.5) * self.cell, self.top - 6
        if not self.upright:
            return _text(Text(x, y, _short(name), TEXT, False, _INK, "middle"))
        text = _text(Text(0, 0, _short(name), TEXT, False, _INK))
        return element("g", text, transform=f"translate({number(x + 3.5)} {number(y)}) rotate(-90)")

    def _cell(self, row: int, column: int, value: int, whole: int) -> Markup:
        x, y = self.left + column * self.cell, self.top + row * self.cell
        share = value / whole if whole else 0.0
        part = f"{100 * share:.1f} % of {whole:,}" if whole else "no image"
        said = f"{self.names[row]} taken for {self.columns[column]}: {value:,}, {part}"
        strength = _FAINTEST + (_STRONGEST - _FAINTEST) * share**0.5 if value else 0.0
        ground = element(
            "rect", x=number(x), y=number(y), width=number(self.cell), height=number(self.cell),
            fill_opacity=number(strength), class_="right" if row == column else "wrong",
        )  # fmt: skip
        middle = x + self.cell / 2, y + self.cell / 2 + 3
        words = Text(*middle, f"{value:,}", SMALL, row == column, _INK, "middle")
        inside = (_text(words),) if value else ()
        return element("g", element("title", said), ground, *inside)


def _short(name: str) -> str:
    return shortened(escaped(name), _LONGEST, TEXT)


def _text(text: Text) -> Markup:
    return Markup(shape_svg(text))


def draw_pairs(held_out: HeldOut) -> Markup:
    """The pairs that are confused most often, as a table."""
    found = confused(held_out.pairs)
    if not found:
        return element("p", "No image is taken for another class.")
    sums = Counter[int]()
    for (own, _), images in held_out.pairs.items():
        sums[own] += images
    names = held_out.classes
    rows = (
        element("tr", *(element("td", cell) for cell in (
            names[own], names[said], f"{images:,}", f"{100 * images / sums[own]:.1f} %",
        )))
        for images, own, said in found[:LISTED]
    )  # fmt: skip
    head = (element("th", word, scope="col") for word in ("class", "taken for", "images", "of it"))
    more = len(found) - LISTED
    return element(
        "div",
        element("h3", "Most often confused"),
        element("table", element("thead", element("tr", *head)), element("tbody", *rows)),
        element("p", f"and {more:,} more pairs", class_="faint") if more > 0 else Markup(),
        class_="pairs",
    )
