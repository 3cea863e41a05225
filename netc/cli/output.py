"""Text for people: aligned tables and figures with units."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from netc.text import json_text


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Columns under their headers, the first `left` flush left, the others flush right."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    shown = [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(len(line) for line in shown)
    return "\n".join([shown[0], rule, *shown[1:]])


def count(number: float) -> str:
    """A large count: 138,357,544."""
    return f"{number:,.0f}"


def scaled(number: float, unit: str) -> str:
    """A figure with a decimal prefix: 15.47 GFLOP, 14.2 MB."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= factor:
            return f"{number / factor:.4g} {prefix}{unit}"
    return f"{number:.4g} {unit}" if number else "-"


def bytes_text(number: float) -> str:
    """Bytes with a decimal prefix."""
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


def json_line(**values: Any) -> None:
    """Print one JSON object on a line; what is not finite is null."""
    print(json_text(values), flush=True)


def note(text: str) -> None:
    """Tell a person something that is no result, on stderr; of several processes one does."""
    # Imported here: 'netc --help' needs none of it.
    from netc_runtime.choose import is_first

    if is_first():
        print(f"note: {text}", file=sys.stderr)
