"""A TextMate grammar of `.net` files, for editors: `editors/netc.tmLanguage.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netc.interchange.highlight import Colour, colours, setting
from netc.text import json_text

SCOPE = "source.netc"


def grammar_text() -> str:
    """Return the grammar as JSON."""
    return json_text(_grammar(), indent=2) + "\n"


def save(path: Path) -> None:
    """Write the grammar: after a change of the language's words or terminals."""
    path.write_text(grammar_text(), encoding="utf-8")


def _grammar() -> dict[str, Any]:
    return {
        "name": "netc",
        "scopeName": SCOPE,
        "fileTypes": ["net"],
        "patterns": [{"include": "#train"}, {"include": "#common"}],
        "repository": {
            "train": {
                "begin": r"\b(train)\s*(\{)",
                "beginCaptures": {
                    "1": {"name": "keyword.control.netc"},
                    "2": {"name": "punctuation.netc"},
                },
                "end": r"\}",
                "endCaptures": {"0": {"name": "punctuation.netc"}},
                "patterns": [
                    *map(_match, colours()[:1]),
                    _match(setting()),
                    {"include": "#common"},
                ],
            },
            "common": {"patterns": list(map(_match, colours()))},
        },
    }


def _match(colour: Colour) -> dict[str, str]:
    return {"match": colour.pattern, "name": colour.scope}
