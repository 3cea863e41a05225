"""What fits on paper: how large a drawing is in print, and the columns that print largest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from netc.export.style import TEXT

A3 = (1190.55, 841.89)
"""Width and height of the sheet that drawings are laid out for, in points."""
LEGIBLE = 4.8
"""Least size of a text on paper, in points, for which anything is left out."""
MARGIN = 30.0
"""Around a drawing."""
LEAST = 640.0
"""Least width of what is drawn, for its header."""
_ALIKE = 0.94
"""Columns that are printed so much smaller are as good if they are more even."""
_HALVINGS = 24
"""Steps of the search for the largest print: to a part in a million."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page, whose header and legend are known."""

    besides: float
    """Height of all that stands above and below."""
    turned: bool = False
    """Whether what is laid out from top to bottom is then turned to go from left to right."""

    def scale(self, width: float, height: float) -> float:
        """How large a drawing of this size is on the sheet, in parts of its own size."""
        width, height = (height, width) if self.turned else (width, height)
        wide, high = max(width, LEAST) + 2 * MARGIN, height + self.besides + 2 * MARGIN
        return min(A3[0] / wide, A3[1] / high)

    def room(self, scale: float) -> tuple[float, float]:
        """Width and height that a drawing of this scale may have; nothing where none may."""
        width, height = A3[0] / scale - 2 * MARGIN, A3[1] / scale - 2 * MARGIN - self.besides
        if width < LEAST:
            return 0.0, 0.0
        return (height, width) if self.turned else (width, height)


@dataclass(frozen=True, slots=True)
class ColumnPiece:
    """What is not broken: a column is some of them, one below the other."""

    left: float
    """Left of the axis, on which all pieces of a column stand."""
    right: float
    height: float
    dear: float = 0.0
    """Width that a break in front of it counts as."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """Between pieces."""

    beside: float
    below: float


def best_columns(pieces: Sequence[ColumnPiece], page: Page, gaps: Gaps) -> list[int]:
    """The numbers of the pieces with which columns begin: the most even ones that are printed
    about as large as any, and legible if any are.
    """
    best = _largest(pieces, page, gaps)
    largest = _scale(pieces, best, page, gaps)
    least = max(_ALIKE * largest, min(largest, LEGIBLE / TEXT))
    _, most = page.room(least)
    for even in islice(_evens(pieces, most, gaps), len(best) + 1):
        if even is not None and _scale(pieces, even, page, gaps) >= least:
            return even
    return _evened(pieces, best, least, page, gaps)


def _evened(
    pieces: Sequence[ColumnPiece], begins: list[int], least: float, page: Page, gaps: Gaps
) -> list[int]:
    """The same number of columns, with breaks moved by a piece each time as long as columns become
    more even and are printed no smaller than `least`.
    """
    while True:
        moves = (
            [*begins[:i], begins[i] + by, *begins[i + 1 :]]
            for i in range(1, len(begins)) for by in (-1, 1)
        )  # fmt: skip
        good = (
            each for each in moves
            if all(a < b for a, b in pairwise([*each, len(pieces)]))
            and _scale(pieces, each, page, gaps) >= least
        )  # fmt: skip
        found = min([begins, *good], key=lambda each: _unevenness(pieces, each, gaps))
        if found is begins:
            return begins
        begins = found


def _unevenness(pieces: Sequence[ColumnPiece], begins: list[int], gaps: Gaps) -> float:
    """What `_evens` makes least."""
    columns = [pieces[a:b] for a, b in pairwise([*begins, len(pieces)])]
    heights = [sum(piece.height + gaps.below for piece in column) for column in columns]
    return sum(h**2 + h * column[0].dear for h, column in zip(heights, columns, strict=True))


def _scale(pieces: Sequence[ColumnPiece], begins: list[int], page: Page, gaps: Gaps) -> float:
    columns = [pieces[a:b] for a, b in pairwise([*begins, len(pieces)])]
    widths = [_width(column) + gaps.beside for column in columns]
    heights = [sum(piece.height + gaps.below for piece in column) for column in columns]
    return page.scale(sum(widths) - gaps.beside, max(heights) - gaps.below)


def _width(column: Sequence[ColumnPiece]) -> float:
    return max(piece.left for piece in column) + max(piece.right for piece in column)


def _largest(pieces: Sequence[ColumnPiece], page: Page, gaps: Gaps) -> list[int]:
    """Columns that are printed largest."""
    low, high = 1e-4, 2.0
    best = [0]
    for _ in range(_HALVINGS):
        scale = math.sqrt(low * high)
        width, height = page.room(scale)
        found = _narrowest(pieces, height, gaps)
        if found is not None and found[0] <= width:
            low, best = scale, found[1]
        else:
            high = scale
    return best


def _evens(pieces: Sequence[ColumnPiece], most: float, gaps: Gaps) -> Iterator[list[int] | None]:
    """For one column, for two and so on, those no higher than `most` whose squares of heights are
    least together; nothing where there are none. By dynamic programming over their ends.
    """
    best: list[tuple[float, list[int]] | None] = [(0.0, []), *([None] * len(pieces))]
    while True:
        after: list[tuple[float, list[int]] | None] = [None] * len(best)
        for end in range(1, len(best)):
            high = 0.0
            for start in range(end - 1, -1, -1):
                high, before = high + pieces[start].height + gaps.below, best[start]
                if high - gaps.below > most:
                    break
                if before is None:
                    continue
                total, known = before[0] + high**2 + high * pieces[start].dear, after[end]
                if known is None or total < known[0]:
                    after[end] = total, [*before[1], start]
        best = after
        yield best[-1][1] if best[-1] is not None else None


def _narrowest(
    pieces: Sequence[ColumnPiece], room: float, gaps: Gaps
) -> tuple[float, list[int]] | None:
    """Width and begins of the columns up to a height that are narrowest together, and of those the
    most even; nothing where a piece alone is higher. By dynamic programming over their ends.
    """
    best: list[tuple[float, float, list[int]] | None] = [(-gaps.beside, 0.0, [])]
    for end in range(1, len(pieces) + 1):
        best.append(None)
        left, right, high = 0.0, 0.0, -gaps.below
        for start in range(end - 1, -1, -1):
            piece, before, known = pieces[start], best[start], best[end]
            left, right = max(left, piece.left), max(right, piece.right)
            high += piece.height + gaps.below
            if high > room:
                break
            if before is None:
                continue
            width, even = before[0] + left + right + gaps.beside + piece.dear, before[1] + high**2
            if known is None or (width, even) < known[:2]:
                best[end] = width, even, [*before[2], start]
    last = best[-1]
    return (last[0], last[2]) if last is not None else None
