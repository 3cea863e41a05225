"""Tokens, and the tables that `generate.py` made of the grammar."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from netc.errors import clip

UNKNOWN = "UNKNOWN"
"""The group of the pattern that takes what is no token."""


class Token(NamedTuple):
    """A stretch of text and its kind."""

    kind: str
    """A terminal of the grammar."""
    text: str
    """The characters."""
    start: int
    """Offset of the first."""
    end: int
    """Offset after the last."""


class Rule(NamedTuple):
    """A rule of the grammar, with what the tree keeps of it."""

    origin: str
    """The nonterminal."""
    action: str
    """The method that makes the tree's node."""
    length: int
    """Number of symbols."""
    kept: tuple[int, ...]
    """Which of them the tree keeps."""
    spliced: tuple[int, ...]
    """Which of those are lists."""
    inlined: bool
    """Whether a single child stands for itself."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What `generate.py` made of the grammar."""

    words: dict[str, str]
    """Reserved word to terminal."""
    pattern: re.Pattern[str]
    """All other terminals, as named groups."""
    ignored: frozenset[str]
    """Terminals the parser does not see."""
    rules: tuple[Rule, ...]
    """The rules by number."""
    states: tuple[dict[str, int], ...]
    """Symbol to action: go to state n, or reduce by rule -1 - n."""
    end: int
    """The state after the whole file."""


@cache
def load_tables() -> Tables:
    """Read the tables, once a process."""
    data = json.loads(Path(__file__).with_name("tables.json").read_text(encoding="utf-8"))
    named = [f"(?P<{name}>{pattern})" for name, pattern in data["patterns"]]
    pattern = re.compile("|".join([*named, f"(?P<{UNKNOWN}>.)"]), re.DOTALL)
    rules = tuple(
        Rule(origin, action, length, tuple(kept), tuple(spliced), inlined)
        for origin, action, length, kept, spliced, inlined in data["rules"]
    )
    ignored = frozenset(data["ignored"])
    return Tables(data["words"], pattern, ignored, rules, tuple(data["states"]), data["end"])


def shown(token: Token) -> str:
    """Return `token` as a message names it."""
    names = {"_SEP": "the end of the line", "$END": "the end of the file"}
    if token.text == ";":
        return "';'"
    return names.get(token.kind, f"'{clip(token.text)}'")
