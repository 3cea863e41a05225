"""The colours: told apart by the colour-blind, and each with a letter for those who print in grey.

The palette is that of Okabe and Ito, "Color Universal Design", 2008.
"""

from __future__ import annotations

from netc.export.words import letter

INK, FAINT, EDGE, FRAME = "#1f2328", "#5f6670", "#6b7280", "#6b7280"
"""Text, text of less weight, arrows, and the outlines of frames."""

NAME, TEXT, SMALL = 11.0, 9.5, 8.5
"""Sizes of text: names, facts, badges."""
PAD = 8.0
"""Between a box and its text."""

_SPLITS = {
    "n": ("#0072b2", "#e6f1f8"),
    "k": ("#e69f00", "#fdf3df"),
    "c": ("#009e73", "#e2f4ee"),
    "h": ("#56b4e9", "#eaf5fc"),
    "w": ("#f0e442", "#fdfbe3"),
    "r": ("#8a8f98", "#f1f2f3"),
    "@": ("#b5669a", "#f8ecf4"),
}

EXCHANGE = ("#d55e00", "#fdece0")
"""Of everything that is communicated: strong and faint."""


def tints(label: str) -> tuple[str, str]:
    """The strong and the faint colour of a split's label."""
    return _SPLITS[letter(label)]


def on(color: str) -> str:
    """White or ink, whichever is easier to read on `color`."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return "#ffffff" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else INK
