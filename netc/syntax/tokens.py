"""Tokens: as the lexer finds them, and as the parser reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import lark

from netc.errors import Diagnostic, Source, Span, clip

END = "$END"
"""The kind that Lark gives to what stands after the last token."""


class Lexeme(NamedTuple):
    """A stretch of text and its kind; light, since a file may have very many."""

    kind: str
    """A terminal of the grammar, or `$END`."""
    text: str
    """The characters."""
    start: int
    """Offset of the first."""
    end: int
    """Offset after the last."""


@dataclass(slots=True)
class Reading:
    """One source while it is parsed."""

    source: Source
    problems: list[Diagnostic] = field(default_factory=list)
    """What is wrong in it."""
    lexemes: list[Lexeme] = field(default_factory=list)
    """What the parser reads, ended by `$END`."""
    at: int = 0
    """The index of the lexeme that the parser looks at."""
    before: list[int] = field(default_factory=list)
    """The parser's stack of states before it looked at that: at an error it has reduced already."""
    failed: int = -1
    """The index of the lexeme at which the parser went on after an error."""
    bad_lines: frozenset[int] = frozenset()
    """Lines in which the lexer found something: what the parser says of them is of no use."""

    def token(self, lexeme: Lexeme) -> Token:
        """Return `lexeme` for the parser."""
        token = Token(lexeme.kind, lexeme.text, lexeme.start, end_pos=lexeme.end)
        token.reading = self
        return token

    def span(self, start: int, end: int) -> Span:
        """Return the place of the characters from `start` until `end`."""
        return Span(self.source, start, end)


class Token(lark.Token):
    """A token that knows what it was read from, since the parser's actions serve all sources."""

    __slots__ = ("reading",)
    reading: Reading
    start_pos: int
    end_pos: int


def shown(lexeme: Lexeme) -> str:
    """Return `lexeme` as a message names it."""
    names = {"_SEP": "the end of the line", END: "the end of the file"}
    if lexeme.text == ";":
        return "';'"
    return names.get(lexeme.kind, f"'{clip(lexeme.text)}'")
