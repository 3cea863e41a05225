"""Figures and tables as text for people: with units, and aligned."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from html import escape
from itertools import zip_longest
from textwrap import wrap

from netc.errors import columns_of, folded
from netc.ir.schedules import scaled_rate
from netc.numbers import prefixed

_GAP = "  "
_NARROWEST = 8
"""Cells are folded to no fewer columns."""


def count(number: float) -> str:
    """A large count: 138,357,544."""
    return f"{number:,.0f}"


def scaled(number: float, unit: str) -> str:
    """A figure with a decimal prefix, 15.47 GFLOP, 14.2 MB; a dash for none."""
    return prefixed(number, unit) if number else "-"


def bytes_text(number: float) -> str:
    """Bytes with a decimal prefix; a dash where there are none."""
    return scaled(number, "B")


def seconds_text(number: float) -> str:
    """Seconds with a fitting unit."""
    if not number:
        return "-"
    if number < 1e-3:
        return f"{number * 1e6:.3g} us"
    return f"{number * 1e3:.4g} ms" if number < 1 else f"{number:.4g} s"


def shape_text(shape: Sequence[int]) -> str:
    """A shape as in 128x64x56x56; a scalar is 1."""
    return "x".join(map(str, shape)) or "1"


def rate_text(lr: float, batch: int, rate_batch: int) -> str:
    """The rate in force, and what it comes of: "0.2 at batch 512, from 0.1 for 256"."""
    rate = scaled_rate(lr, batch, rate_batch)
    return f"{rate:g} at batch {count(batch)}, from {lr:g} for {count(rate_batch)}"


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    left: int = 1,
    spare: Sequence[str] = (),
    columns: int | None = None,
) -> str:
    """Columns under their headers, the first `left` flush left, the others flush right.

    Where that is wider than so many `columns` of text, columns of `spare` are left out, in that
    order and with a word on it; where it still is, the widest cells are folded.
    """
    lines = [tuple(header), *(tuple(row) for row in rows)]
    kept = list(range(len(header)))
    widths = [max(len(line[i]) for line in lines) for i in kept]
    whole = _total(widths)
    if columns is not None:
        kept = _fitting(header, widths, columns, spare)
        widths = _narrowed([widths[i] for i in kept], columns)
    lefts = [i < left for i in kept]
    folds = [_row([line[i] for i in kept], widths, lefts) for line in lines]
    rule = "-" * max(len(line) for lines in folds for line in lines)
    gone = [name for i, name in enumerate(header) if i not in kept]
    text = "\n".join([*folds[0], rule, *(line for lines in folds[1:] for line in lines)])
    if not gone:
        return text
    told = f"left out here: {', '.join(gone)} ({whole} columns show all, as COLUMNS={whole} does)"
    return f"{text}\n{folded(told, columns)}"


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _fitting(
    header: Sequence[str], widths: Sequence[int], room: int, spare: Sequence[str]
) -> list[int]:
    """The columns that are shown: spare ones go one by one, until the others fit."""
    kept = list(range(len(header)))
    for name in spare:
        if _total([widths[i] for i in kept]) <= room:
            break
        kept.remove(header.index(name))
    return kept


def _narrowed(widths: list[int], room: int) -> list[int]:
    """The same, the widest made narrower until all fit."""
    while _total(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], lefts: Sequence[bool]) -> list[str]:
    """The lines of a row: more than one where a cell is folded."""
    parts = [
        [cell] if len(cell) <= width else wrap(cell, width)
        for cell, width in zip(cells, widths, strict=True)
    ]
    return [
        _GAP.join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(line, widths, lefts, strict=True)
        ).rstrip()
        for line in zip_longest(*parts, fillvalue="")
    ]


def terminal_columns() -> int | None:
    """How wide the terminal is; None where nothing bounds lines."""
    return None if sys.stdout is None else columns_of(sys.stdout)


def html_table(
    heading: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    left: int = 1,
    notes: Sequence[str] = (),
) -> str:
    """The same for a notebook, with a heading and notes."""

    def row(cells: Sequence[str], tag: str) -> str:
        sides = ("left" if i < left else "right" for i in range(len(cells)))
        made = (
            f'<{tag} style="text-align:{side}">{escape(cell)}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    told = "".join(f"<p>{escape(each)}</p>" for each in notes)
    head = f"<thead>{row(header, 'th')}</thead>"
    return f"<div><p>{escape(heading)}</p><table>{head}<tbody>{body}</tbody></table>{told}</div>"
