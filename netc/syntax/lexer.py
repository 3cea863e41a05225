"""Text to tokens, and the layout rules that the grammar does not know."""

from __future__ import annotations

import re
import sys

from netc.errors import ERROR_LIMIT, Diagnostic, Source, Span
from netc.syntax.layout import lay_out
from netc.syntax.tokens import UNKNOWN, Token, load_tables

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


def tokenize(source: Source) -> tuple[list[Token], list[Diagnostic]]:
    """Return the tokens the parser reads, ended by `$END`, and what is no token at all."""
    long_lines = _check_lines(source)
    if long_lines:
        return [], long_lines
    tokens, problems = _scan(source)
    if problems and problems[-1].code in ("E019", "E028"):
        return [], problems
    problems += _check_names(source, tokens)
    problems += _check_depth(source, tokens) or _check_braces(source, tokens)
    return lay_out(source.text, tokens), problems


def _check_lines(source: Source) -> list[Diagnostic]:
    at = 0
    for line in source.text.split("\n"):
        if len(line) > LINE_LIMIT:
            message = f"the line has {len(line):,} characters (limit {LINE_LIMIT:,})."
            return [Diagnostic("E028", message, Span(source, at, at + 1))]
        at += len(line) + 1
    return []


_BEGINS = frozenset(("_SEP", "VBAR", "LBRACE", "_DEFINE"))
"""Kinds of tokens that a layer or call may follow."""


def _scan(source: Source) -> tuple[list[Token], list[Diagnostic]]:
    """Return all tokens; where they are too many, stop there: the tree takes more room than they.

    Calls, layers and bodies are counted by their first words; a name before `:=` is none.
    """
    tables = load_tables()
    tokens: list[Token] = []
    problems: list[Diagnostic] = []
    at = size = 0
    before = "_SEP"
    while len(problems) < ERROR_LIMIT and (match := tables.pattern.match(source.text, at)):
        kind, text = str(match.lastgroup), match.group()
        at = match.end()
        if kind == UNKNOWN:
            at = _end_of_unknown(source, match.start())
            problems.append(_unknown(source, match.start(), at))
        elif kind not in tables.ignored:
            size += (kind == "NAME" and before in _BEGINS) - (kind == "_DEFINE")
            before = kind
            kind = tables.words.get(text, kind) if kind == "NAME" else kind
            tokens.append(Token(kind, sys.intern(text), match.start(), at))
            if size > SIZE_LIMIT or len(tokens) > TOKEN_LIMIT:
                return [], [_too_large(Span(source, match.start(), at), size)]
    tokens.append(Token("$END", "", len(source.text), len(source.text)))
    return tokens, problems


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


def _check_names(source: Source, tokens: list[Token]) -> list[Diagnostic]:
    too_long = (
        token
        for token in tokens
        if token.end - token.start > NAME_LIMIT
        and token.kind in ("NAME", "REFERENCE")
        and max(map(len, token.text.split("."))) > NAME_LIMIT
    )
    message = f"the name is too long (limit {NAME_LIMIT} characters)."
    return [Diagnostic("E028", message, Span(source, each.start, each.end)) for each in too_long]


def _check_depth(source: Source, tokens: list[Token]) -> list[Diagnostic]:
    depth = 0
    for token in tokens:
        depth += (token.kind in ("LBRACE", "LPAR")) - (token.kind in ("RBRACE", "RPAR"))
        if depth > DEPTH_LIMIT:
            return [too_deep(Span(source, token.start, token.end))]
    return []


def _check_braces(source: Source, tokens: list[Token]) -> list[Diagnostic]:
    """Find braces without a partner, and drop from `tokens` those that close nothing."""
    opened: list[Token] = []
    lonely: list[Token] = []
    for token in tokens:
        if token.kind == "LBRACE":
            opened.append(token)
        elif token.kind == "RBRACE":
            lonely += [] if opened else [token]
            del opened[-1:]
    starts = {token.start for token in lonely}
    tokens[:] = [token for token in tokens if token.start not in starts]
    return [_lonely(source, token) for token in lonely + opened[-1:]]


def _lonely(source: Source, brace: Token) -> Diagnostic:
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
