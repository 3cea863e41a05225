"""What is printed: text for people, folded to what is there, and JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from netc.api import figures
from netc.errors import columns_of, folded
from netc.text import json_text


def say(text: str = "") -> None:
    """Print text for people, folded to the columns that there are."""
    print(folded(text, columns_of(sys.stdout)), flush=True)


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    left: int = 1,
    spare: Sequence[str] = (),
) -> str:
    """A table as `figures.table` makes it, as wide as standard output."""
    return figures.table(header, rows, left, spare, columns_of(sys.stdout))


def json_line(**values: Any) -> None:
    """Print one JSON object on a line; what is not finite is null."""
    print(json_text(values), flush=True)


def note(text: str) -> None:
    """Tell a person something that is no result, on stderr; of several processes one does."""
    # Imported here: 'netc --help' needs none of it.
    from netc_runtime.choose import is_first

    if is_first():
        print(folded(f"note: {text}", columns_of(sys.stderr)), file=sys.stderr)
