"""Text to lexemes, and the layout rules that the grammar does not know."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import lark.lexer
from lark.lexer import LexerState, PatternStr

from netc.errors import ERROR_LIMIT, Diagnostic, Source, Span, SyntaxProblem
from netc.syntax.layout import lay_out
from netc.syntax.tokens import END, Lexeme, Reading, Token

if TYPE_CHECKING:
    from lark.common import LexerConf
    from lark.parsers.lalr_parser_state import ParserState

DEPTH_LIMIT = 100
"""How deep braces and parentheses may nest in a file, and blocks in each other's calls."""

LINE_LIMIT = 100_000
"""How many characters a line may have."""

SIZE_LIMIT = 100_000
"""How many layers, calls and repetitions a network may have in all, and a file as written."""

TOKEN_LIMIT = 2_000_000
"""How many words, numbers and signs a file may have."""

NAME_LIMIT = 100
"""How many characters a name may have, or each part of one with dots."""

_UNKNOWN = "UNKNOWN"
"""The group of the pattern that takes what is no token."""
_BEGINS = frozenset(("_SEP", "VBAR", "LBRACE", "_DEFINE"))
"""Kinds that a layer or call may follow."""


class Lexer(lark.lexer.Lexer):
    """All lexemes of a text at once, behind the interface of Lark's lexers.

    Lark's own stop at the first character that is no token, and know neither limits nor layout.
    """

    __future_interface__ = 2
    """So Lark hands over the parser's state."""

    def __init__(self, conf: LexerConf) -> None:
        """Take the terminals of the grammar; of those that match, the first wins."""
        terminals = sorted(
            conf.terminals, key=lambda t: (-t.priority, -t.pattern.max_width, t.name)
        )
        words = words_of(conf)
        named = [(t.name, t.pattern.to_regexp()) for t in terminals if t.name not in words.values()]
        groups = [f"(?P<{name}>{pattern})" for name, pattern in (*named, (_UNKNOWN, "."))]
        self._words = words
        self._pattern = re.compile("|".join(groups), re.DOTALL)
        self._ignored = frozenset(conf.ignore)

    def lex(self, lexer_state: LexerState, parser_state: ParserState[int]) -> Iterator[Token]:
        """Yield the lexemes of a `Reading`, from where the parser is in it.

        Raise `SyntaxProblem` where it is not worth parsing; stop where enough is wrong with it.
        """
        reading: Reading = lexer_state.text  # type: ignore[assignment]  # Lark allows any input
        if not reading.lexemes:
            self._prepare(reading)
        while True:
            reading.before = parser_state.state_stack.copy()
            lexeme = reading.lexemes[reading.at]
            if lexeme.kind == END or len(reading.problems) >= ERROR_LIMIT:
                return
            yield reading.token(lexeme)
            reading.at += 1

    def _prepare(self, reading: Reading) -> None:
        """Find all lexemes, and what is wrong with them."""
        source, problems = reading.source, reading.problems
        problems += _check_lines(source)
        lexemes = [] if problems else self._scan(source, problems, self._ignored)
        if not lexemes:
            raise SyntaxProblem(*problems)
        problems += _check_names(source, lexemes)
        deep = _check_depth(source, lexemes)
        problems += deep or _check_braces(source, lexemes)
        if deep:
            raise SyntaxProblem(*problems)
        reading.bad_lines = frozenset(each.span.line for each in problems if each.span)
        reading.lexemes = lay_out(source.text, lexemes)

    def commented(self, source: Source) -> list[Lexeme]:
        """Return all lexemes of a source that is right, and its comments."""
        return self._scan(source, [], self._ignored - {"COMMENT"})

    def _scan(
        self, source: Source, problems: list[Diagnostic], ignored: frozenset[str]
    ) -> list[Lexeme]:
        """Return all lexemes; where they are too many, none: the tree takes more room than they.

        Calls, layers and bodies are counted by their first words; a name before `:=` is none.
        """
        lexemes: list[Lexeme] = []
        at = size = 0
        before = "_SEP"
        while len(problems) < ERROR_LIMIT and (match := self._pattern.match(source.text, at)):
            kind, text = str(match.lastgroup), match.group()
            at = match.end()
            if kind == _UNKNOWN:
                at = _end_of_unknown(source, match.start())
                problems.append(_unknown(source, match.start(), at))
            elif kind not in ignored:
                size += (kind == "NAME" and before in _BEGINS) - (kind == "_DEFINE")
                before = kind
                kind = self._words.get(text, kind) if kind == "NAME" else kind
                lexemes.append(Lexeme(kind, sys.intern(text), match.start(), at))
                if size > SIZE_LIMIT or len(lexemes) > TOKEN_LIMIT:
                    problems[:] = [_too_large(Span(source, match.start(), at), size)]
                    return []
        lexemes.append(Lexeme(END, "", len(source.text), len(source.text)))
        return lexemes


def words_of(conf: LexerConf) -> dict[str, str]:
    """Return the words of the grammar that are no names, and their terminals."""
    name = re.compile(conf.terminals_by_name["NAME"].pattern.to_regexp())
    return {
        each.pattern.value: each.name
        for each in conf.terminals
        if isinstance(each.pattern, PatternStr) and name.fullmatch(each.pattern.value)
    }


def _check_lines(source: Source) -> list[Diagnostic]:
    at = 0
    for line in source.text.split("\n"):
        if len(line) > LINE_LIMIT:
            message = f"the line has {len(line):,} characters (limit {LINE_LIMIT:,})."
            return [Diagnostic("E028", message, Span(source, at, at + 1))]
        at += len(line) + 1
    return []


def _too_large(span: Span, size: int) -> Diagnostic:
    if size > SIZE_LIMIT:
        return too_many(span)
    message = f"the file has more than {TOKEN_LIMIT:,} words and signs."
    return Diagnostic("E028", message, span)


def _end_of_unknown(source: Source, start: int) -> int:
    """Skip a run of one character, or a string that does not end or has the wrong quotes."""
    first = source.text[start]
    strings = {'"': r'"[^\n]*', "'": r"'[^'\n]*'?"}
    match = re.compile(strings.get(first, f"{re.escape(first)}*")).match(source.text, start)
    assert match is not None
    return match.end()


def _unknown(source: Source, start: int, end: int) -> Diagnostic:
    span, first = Span(source, start, end), source.text[start]
    if first == '"':
        return Diagnostic("E003", "the string does not end.", span, help="close it with '\"'.")
    if first == "'":
        return Diagnostic("E002", "strings are written in double quotes.", span)
    shown = f"'{first}'" if first.isprintable() and first.isascii() else f"U+{ord(first):04X}"
    return Diagnostic("E002", f"{shown} has no meaning here.", span)


def _check_names(source: Source, lexemes: list[Lexeme]) -> list[Diagnostic]:
    too_long = (
        lexeme
        for lexeme in lexemes
        if lexeme.end - lexeme.start > NAME_LIMIT
        and lexeme.kind in ("NAME", "REFERENCE")
        and max(map(len, lexeme.text.split("."))) > NAME_LIMIT
    )
    message = f"the name is too long (limit {NAME_LIMIT} characters)."
    return [Diagnostic("E028", message, Span(source, each.start, each.end)) for each in too_long]


def _check_depth(source: Source, lexemes: list[Lexeme]) -> list[Diagnostic]:
    depth = 0
    for lexeme in lexemes:
        depth += (lexeme.kind in ("LBRACE", "LPAR")) - (lexeme.kind in ("RBRACE", "RPAR"))
        if depth > DEPTH_LIMIT:
            return [too_deep(Span(source, lexeme.start, lexeme.end))]
    return []


def _check_braces(source: Source, lexemes: list[Lexeme]) -> list[Diagnostic]:
    """Find braces without a partner, and drop from `lexemes` those that close nothing."""
    opened: list[Lexeme] = []
    lonely: list[Lexeme] = []
    for lexeme in lexemes:
        if lexeme.kind == "LBRACE":
            opened.append(lexeme)
        elif lexeme.kind == "RBRACE":
            lonely += [] if opened else [lexeme]
            del opened[-1:]
    starts = {lexeme.start for lexeme in lonely}
    lexemes[:] = [lexeme for lexeme in lexemes if lexeme.start not in starts]
    return [_lonely(source, lexeme) for lexeme in lonely + opened[-1:]]


def _lonely(source: Source, brace: Lexeme) -> Diagnostic:
    span = Span(source, brace.start, brace.end)
    if brace.text == "}":
        return Diagnostic("E004", "'}' closes nothing.", span)
    return Diagnostic("E004", "'{' is never closed.", span, help="close it with '}'.")


def too_many(span: Span) -> Diagnostic:
    """Return the diagnostic for more layers, calls and repetitions than a network may have."""
    message = f"the network has more than {SIZE_LIMIT:,} layers, calls and repetitions."
    return Diagnostic("E019", message, span)


def too_deep(span: Span) -> Diagnostic:
    """Return the diagnostic for what nests too deeply."""
    return Diagnostic("E005", f"this nests too deeply (limit {DEPTH_LIMIT}).", span)
