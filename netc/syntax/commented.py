"""A source as statements with their comments and line breaks: what the tree of the parser drops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from netc.errors import Source
from netc.syntax.grammar import language
from netc.syntax.layout import lay_out
from netc.syntax.lexer import Lexer
from netc.syntax.tokens import END, Lexeme

COMMENT = "COMMENT"
"""The terminal that the parser ignores."""


class Break(NamedTuple):
    """An end of a line within a chain, or after a comment in parentheses."""


class Comment(NamedTuple):
    """A comment."""

    text: str
    """With its `#`."""
    own: bool
    """Whether it has a line of its own."""


@dataclass(slots=True)
class Body:
    """What stands in braces, or in a file."""

    items: list[Item] = field(default_factory=list)
    lines: bool = False
    """Whether it has lines of its own, or stands on one with its braces."""


@dataclass(slots=True)
class Statement:
    """A statement, or what stands for one in a `train` block."""

    parts: list[Lexeme | Body | Comment | Break]
    joined: bool = False
    """Whether it stands behind another one, on one line with it."""


Part = Lexeme | Body | Comment | Break
Item = Statement | Comment | None
"""None is an empty line."""


def read_commented(source: Source) -> Body:
    """Return the statements of `source`, which must be right: `parse_source` has read it."""
    lexer = Lexer(language().lexer_conf)
    lexemes = lexer.commented(source)
    plain = [each for each in lexemes if each.kind != COMMENT]
    kinds = {each.start: each.kind for each in lay_out(source.text, plain)}
    return _Reader(lexemes, kinds).body()


def words_of_layout(source: Source) -> tuple[list[tuple[str, str]], list[str]]:
    """Return what the parser reads of `source`, and its comments: no layout changes them."""
    lexemes = Lexer(language().lexer_conf).commented(source)
    plain = lay_out(source.text, [each for each in lexemes if each.kind != COMMENT])
    # Newlines and semicolons end statements alike.
    words = [(each.kind, "" if each.kind == "_SEP" else each.text) for each in plain]
    return words, [each.text.rstrip() for each in lexemes if each.kind == COMMENT]


class _Reader:
    """Goes once over the lexemes of a right source."""

    def __init__(self, lexemes: list[Lexeme], kinds: dict[int, str]) -> None:
        self.lexemes, self.kinds, self.at = lexemes, kinds, 0

    def body(self) -> Body:
        """Read until the brace that closes, or the end."""
        body, fresh, ends = Body(), self.at == 0, 0
        while (lexeme := self.lexemes[self.at]).kind not in ("RBRACE", END):
            if lexeme.kind == "_SEP":
                self.at += 1
                is_end = lexeme.text == "\n"
                ends += is_end
                fresh = fresh or is_end
                body.lines = body.lines or is_end
                continue
            if ends > 1 and body.items:
                body.items.append(None)
            body.items.append(self._item(fresh, bool(body.items)))
            body.lines = body.lines or _has_lines(body.items[-1])
            fresh, ends = False, 0
        return body

    def _item(self, fresh: bool, follows: bool) -> Statement | Comment:
        lexeme = self.lexemes[self.at]
        if lexeme.kind != COMMENT:
            return Statement(self._parts(), joined=follows and not fresh)
        self.at += 1
        return Comment(lexeme.text.rstrip(), fresh)

    def _parts(self) -> list[Part]:
        """Read a statement, until the separator that ends it or what closes around it."""
        parts: list[Part] = []
        fresh = False
        while not self._ended():
            lexeme = self.lexemes[self.at]
            self.at += 1
            if lexeme.kind == "_SEP":
                fresh = True
                parts.append(Break())
            elif lexeme.kind == COMMENT:
                parts.append(Comment(lexeme.text.rstrip(), fresh))
            else:
                fresh = False
                parts.append(lexeme._replace(kind=self.kinds[lexeme.start]))
            if lexeme.kind == "LBRACE":
                parts.append(self.body())
                parts.append(self.lexemes[self.at])
                self.at += 1
        return _broken(parts)

    def _ended(self) -> bool:
        """Whether nothing of the statement follows: it ends, or only ends of lines and comments
        stand before what closes around it.
        """
        lexeme = self.lexemes[self.at]
        if lexeme.kind != "_SEP":
            return lexeme.kind in ("RBRACE", END)
        if lexeme.start in self.kinds:
            return True
        at = self.at
        while self.lexemes[at].kind in ("_SEP", COMMENT):
            at += 1
        return self.lexemes[at].kind in ("RBRACE", END)


def _has_lines(item: Item) -> bool:
    """Whether it cannot stand on one line with other things."""
    if not isinstance(item, Statement):
        return True
    return any(
        part.lines if isinstance(part, Body) else isinstance(part, Break | Comment)
        for part in item.parts
    )


def _broken(parts: list[Part]) -> list[Part]:
    """The same with breaks before a `|` alone, and comments before a `|` that ended a line."""
    found: list[Part] = []
    ended = False
    for part in parts:
        bar = bool(found) and isinstance(found[-1], Lexeme) and found[-1].kind == "VBAR"
        if isinstance(part, Break):
            ended = True
            if bar and not (len(found) > 1 and isinstance(found[-2], Break | Comment)):
                found.insert(-1, Break())
            continue
        if isinstance(part, Comment) and bar:
            found.insert(-1, part)
            continue
        if ended and isinstance(part, Lexeme) and part.kind == "VBAR" and not isinstance(
            found[-1], Comment
        ):  # fmt: skip
            found.append(Break())
        ended = False
        found.append(part)
    return found
