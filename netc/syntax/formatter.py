"""The canonical layout of `.net` files: spaces, indentation, alignment and long lines.

Where lines end is the author's choice, as in gofmt; all else is not. The rules are in
docs/language.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from netc.errors import Source
from netc.syntax.commented import (
    Body,
    Break,
    Comment,
    Item,
    Part,
    Statement,
    read_commented,
    words_of_layout,
)
from netc.syntax.parser import parse_source
from netc.syntax.tokens import Lexeme

COLUMNS = 100
"""Code is broken to lines of so many characters, where it can be."""
COMMENT_COLUMN = 49
"""Where comments behind code begin, counted from 0, unless the code reaches there."""
INDENT = 4

_OPERANDS = ("NAME", "NUMBER", "SIZE", "STRING", "RPAR")
_TIGHT = ("LPAR", "UNARY", "_STRIDE", "")
"""Kinds that no space follows."""


@dataclass(slots=True)
class CodeLine:
    """A line that is written."""

    indent: int
    code: str = ""
    comment: str = ""
    bars: list[int] = field(default_factory=list)
    """Where a `|` stands in the code, and it may be broken before."""
    commas: list[int] = field(default_factory=list)
    """Behind which characters of the code it may be broken where that is not enough."""

    @property
    def text(self) -> str:
        """The line without its comment."""
        return " " * self.indent + self.code if self.code else ""


def format_source(source: Source) -> str:
    """Return the text of `source` in the canonical layout; raise `SyntaxProblem`."""
    parse_source(source)
    body = read_commented(source)
    text = "\n".join(_finished(_body_lines(body, 0))) + "\n"
    text = "" if text == "\n" else text
    result = Source(source.name, text)
    assert words_of_layout(result) == words_of_layout(source), "format_source: it says otherwise"
    return text


def _finished(lines: list[CodeLine]) -> Iterator[str]:
    """Yield the lines with their comments, those of neighbours below each other."""
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and lines[end].code and lines[end].comment:
            end += 1
        column = max([COMMENT_COLUMN, *(len(line.text) + 2 for line in lines[start:end])])
        yield from (f"{line.text:{column}}{line.comment}" for line in lines[start:end])
        if end == start:
            line = lines[start]
            yield line.text or (" " * line.indent + line.comment if line.comment else "")
        start = max(end, start + 1)


def _body_lines(body: Body, indent: int, aligned: bool = False) -> list[CodeLine]:
    """Return the lines of what stands in braces, or in a file; `aligned` are those of `train`."""
    lines: list[CodeLine] = []
    for item in _aligned(body.items) if aligned else body.items:
        if item is None:
            lines.append(CodeLine(indent))
        elif isinstance(item, Comment):
            lines.append(CodeLine(indent, comment=item.text))
        else:
            _add(lines, item, indent)
    return lines


def _aligned(items: list[Item]) -> Iterator[Item]:
    """Yield settings one a line, their first words as long as the longest."""
    own = (each for each in items if isinstance(each, Statement))
    width = max((len(_first(each).text) for each in own), default=0)
    for item in items:
        if isinstance(item, Statement):
            first = _first(item)
            padded = first._replace(text=first.text.ljust(width))
            yield Statement([padded, *item.parts[1:]])
        else:
            yield item


def _first(statement: Statement) -> Lexeme:
    first = statement.parts[0]
    assert isinstance(first, Lexeme), "a statement begins with a word or a brace"
    return first


def _add(lines: list[CodeLine], statement: Statement, indent: int) -> None:
    """Add a statement, behind the one before it where it stood there and still fits."""
    own = _statement_lines(statement, indent)
    last = lines[-1] if lines else CodeLine(indent)
    together = f"{last.code} ; {own[0].code}"
    fits = len(own) == 1 and last.indent + len(together) <= COLUMNS
    if statement.joined and fits and last.code and not last.comment:
        lines[-1] = CodeLine(last.indent, together, own[0].comment)
    else:
        lines += own


def _statement_lines(statement: Statement, indent: int) -> list[CodeLine]:
    """The lines of a statement; where they are too long, bodies and chains get more lines."""
    parts = statement.parts
    if any(isinstance(part, Body) and not part.lines for part in parts):
        # Without what has lines already: laid out twice at every depth it would take for ever.
        around = [Body(lines=True) if _is_opened(part) else part for part in parts]
        if any(len(line.text) > COLUMNS for line in _written(around, indent)):
            parts = [_opened(part) if isinstance(part, Body) else part for part in parts]
    lines = _written(parts, indent)
    return [short for line in lines for short in _shortened(line, indent)]


def _is_opened(part: Part) -> bool:
    return isinstance(part, Body) and part.lines


def _opened(body: Body) -> Body:
    """The same with lines of its own, one a statement."""
    if body.lines or not body.items:
        return body
    items = [
        replace(each, joined=False) if isinstance(each, Statement) else each for each in body.items
    ]
    return Body(items, lines=True)


def _written(parts: list[Part], indent: int) -> list[CodeLine]:
    """The lines of a statement, as its author broke them."""
    writer = _Writer(indent)
    for part in (*parts, Break()):
        writer.add(part)
    return writer.lines


class _Piece(NamedTuple):
    """A part of the code of a line."""

    start: int
    end: int
    indent: int


def _shortened(line: CodeLine, base: int) -> Iterator[CodeLine]:
    """Yield a line, in pieces where it is too long: before a `|`, and else behind a comma."""
    further = max(line.indent, base + INDENT)
    pieces = [_Piece(0, len(line.code), line.indent)]
    for places, indent in ((line.bars, further), (line.commas, further + INDENT)):
        pieces = [short for each in pieces for short in _cut(line.code, each, places, indent)]
    lines = [CodeLine(each.indent, line.code[each.start : each.end].strip()) for each in pieces]
    lines[-1].comment = line.comment
    yield from lines


def _cut(code: str, piece: _Piece, places: list[int], indent: int) -> Iterator[_Piece]:
    """Yield a piece, cut at as few of the places as needed for all to fit, if they can."""
    start, end, begins = piece
    ends = [place for place in places if start < place < end] + [end]
    for place, following in pairwise(ends):
        if begins + len(code[start:following].strip()) > COLUMNS and code[start:place].strip():
            yield _Piece(start, place, begins)
            start, begins = place, indent
    yield _Piece(start, end, begins)


class _Writer:
    """Writes the parts of a statement, one after the other."""

    def __init__(self, indent: int) -> None:
        self.base = indent
        self.lines: list[CodeLine] = []
        self.line = CodeLine(indent)
        self.before = ""
        """The kind of the lexeme that was written last."""
        self.head = ""
        """The kind of the first."""
        self.depth = 0
        """How many parentheses are open."""
        self.values = True
        """Whether values stand here, between spaces, of which a minus begins one."""

    def add(self, part: Part) -> None:
        """Write a part."""
        match part:
            case Break():
                self._end()
            case Comment():
                self._comment(part)
            case Body():
                self._body(part)
            case _:
                self._lexeme(part)

    def _end(self, indent: int | None = None) -> None:
        """End the line; the next one has the indentation of what goes on, or `indent`."""
        if self.line.code or self.line.comment:
            self.line.code = self.line.code.rstrip()
            self.lines.append(self.line)
        self.line = CodeLine(self.base + INDENT if indent is None else indent)

    def _comment(self, comment: Comment) -> None:
        if comment.own:
            self._end()
        self.line.comment = comment.text
        self._end()

    def _body(self, body: Body) -> None:
        if not body.lines:
            inner = " ; ".join(_flat(each) for each in body.items if isinstance(each, Statement))
            self.line.code += f" {inner}" if inner else ""
            return
        indent, items = self.line.indent, body.items
        if items and isinstance(items[0], Comment) and not items[0].own:
            self.line.comment, items = items[0].text, items[1:]
        self._end(indent)
        aligned = self.head == "TRAIN"
        items = items[1:] if items and items[0] is None else items
        self.lines += _body_lines(Body(items, lines=True), indent + INDENT, aligned)

    def _lexeme(self, lexeme: Lexeme) -> None:
        kind = "UNARY" if lexeme.kind == "MINUS" and self._is_unary() else lexeme.kind
        space = self._space(kind)
        if kind == "VBAR":
            self.line.bars.append(len(self.line.code))
        self.line.code += space + lexeme.text
        if kind == "COMMA":
            self.line.commas.append(len(self.line.code))
        self.depth += (kind == "LPAR") - (kind == "RPAR")
        self.head, self.before = self.head or kind, kind
        if kind in ("VBAR", "_DEFINE"):
            self.values = True
        elif kind in ("EQUAL", "REPEAT", "IF"):
            self.values = False

    def _is_unary(self) -> bool:
        return self.before not in _OPERANDS or (self.values and not self.depth)

    def _space(self, kind: str) -> str:
        """What stands before a lexeme of that kind."""
        if not self.line.code or kind in ("RPAR", "COMMA") or self.before in _TIGHT:
            return ""
        if kind == "LPAR" and self.before == "NAME":
            return ""
        if "EQUAL" in (kind, self.before):
            return " " if self.depth and self.head in ("NET", "BLOCK") else ""
        return " "


def _flat(statement: Statement) -> str:
    """A statement on one line."""
    writer = _Writer(0)
    for part in statement.parts:
        writer.add(part)
    assert not writer.lines, "what has comments or breaks has lines of its own"
    return writer.line.code.rstrip()
