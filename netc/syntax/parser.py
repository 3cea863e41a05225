"""Text to tree: Lark parses, and goes on after an error at the next statement."""

from __future__ import annotations

from functools import partial
from typing import cast

from lark.exceptions import UnexpectedInput, UnexpectedToken
from lark.parsers.lalr_interactive_parser import InteractiveParser
from lark.parsers.lalr_parser_state import ParserState

from netc.errors import ERROR_LIMIT, Diagnostic, Source, SyntaxProblem, clip
from netc.syntax import ast
from netc.syntax.grammar import language
from netc.syntax.recipe import VALUES
from netc.syntax.tokens import END, Lexeme, Reading, Token, shown

_OPERATORS = {"OR", "AND", "COMPARISON", "PLUS", "MINUS", "TIMES", "DIVIDE", "FLOOR_DIVIDE"}
_VALUES = {"NAME", "NUMBER", "SIZE", "STRING", "LPAR", "MINUS", "NOT"}
_GROUPS = (
    ("REPEAT", "a layer", {"NAME", "LBRACE"}),
    ("NUMBER", "a value", _VALUES),
    ("PLUS", "an operator", _OPERATORS),
)
_PHRASES = {
    "NAME": "a name",
    "STRING": "a string",
    "LPAR": "'('",
    "RPAR": "')'",
    "LBRACE": "'{'",
    "RBRACE": "'}'",
    "COMMA": "','",
    "EQUAL": "'='",
    "VBAR": "'|'",
    "ELSE": "'else'",
    "_SEP": "the end of the line",
    END: "the end of the line",
}


def parse_source(source: Source) -> ast.File:
    """Return the tree of `source`; raise `SyntaxProblem` with every error in it."""
    reading = Reading(source)
    statements: ast.Body = ()
    try:
        # Lark's type is that of trees, which its actions have replaced.
        tree = language().parse(reading, on_error=partial(_go_on, reading))
        statements = cast(ast.Body, tree)
    except UnexpectedInput:
        assert reading.problems
    if reading.problems:
        reading.problems.sort(key=lambda each: each.span.start if each.span else 0)
        raise SyntaxProblem(*reading.problems[:ERROR_LIMIT])
    return ast.File(source, statements)


def _go_on(reading: Reading, error: UnexpectedInput) -> bool:
    """Report an error and drop the statement around it; return whether the rest is looked at."""
    assert isinstance(error, UnexpectedToken) and error.interactive_parser is not None
    if len(reading.problems) >= ERROR_LIMIT:
        return False
    if reading.at == reading.failed:
        # What ends the dropped statement cannot stand here either.
        reading.at += 1
        return reading.at < len(reading.lexemes)
    _report(reading, error.interactive_parser)
    _recover(reading, error.interactive_parser)
    reading.failed = reading.at
    return True


def _recover(reading: Reading, parser: InteractiveParser) -> None:
    """Drop the statement around the lexeme at which the parser failed, and go to its end."""
    states, values = parser.parser_state.state_stack, parser.parser_state.value_stack
    closed = 0  # A body that has ended is dropped whole, not entered again.
    while closed or "_ERROR" not in parser.choices():
        states.pop()
        dropped = values.pop()
        if isinstance(dropped, Token):
            closed += (dropped.type == "RBRACE") - (dropped.type == "LBRACE" and closed > 0)
    failed = reading.lexemes[reading.at]
    error = Lexeme("_ERROR", "", failed.start, failed.start)
    parser.feed_token(reading.token(error))
    reading.at = _end_of_statement(reading.lexemes, reading.at)


def _end_of_statement(lexemes: list[Lexeme], at: int) -> int:
    """Return the index of what ends the statement that goes on at `at`."""
    depth = 0
    while lexemes[at].kind != END:
        kind = lexemes[at].kind
        if depth == 0 and kind in ("_SEP", "RBRACE"):
            break
        depth += (kind == "LBRACE") - (kind == "RBRACE")
        at += 1
    return at


def _report(reading: Reading, parser: InteractiveParser) -> None:
    lexeme = reading.lexemes[reading.at]
    span = reading.span(lexeme.start, lexeme.end)
    unclosed = lexeme.kind == END and any(each.code == "E004" for each in reading.problems)
    if span.line in reading.bad_lines or unclosed:
        return
    phrases = _expected(reading, parser)
    found = shown(lexeme)
    message = f"unexpected {found.removeprefix('the ')}."
    if 0 < len(phrases) <= 4:
        message = f"expected {' or '.join(phrases)}, found {found}."
    reading.problems.append(Diagnostic("E001", message, span, help=_remedy(reading)))


def _expected(reading: Reading, parser: InteractiveParser) -> list[str]:
    """Say in words what could stand here instead."""
    conf, thread = parser.parser_state.parse_conf, parser.lexer_thread
    before = ParserState(conf, thread, reading.before)
    able = InteractiveParser(parser.parser, before, thread).accepts()
    phrases = []
    for kind, phrase, group in _GROUPS:
        if kind in able:
            phrases.append(phrase)
            able -= group
    return sorted({*phrases, *(_PHRASES[each] for each in able if each in _PHRASES)})


def _remedy(reading: Reading) -> str:
    before, lexeme, *after = reading.lexemes[max(0, reading.at - 1) :][:3]
    if reading.at == 0:
        lexeme = before
    if lexeme.kind == "_STRIDE":
        return "'/2' after a space is a stride; a division is written 'a / 2' or 'a/2'."
    if lexeme.kind in ("PLUS", "MINUS", "TIMES", "DIVIDE", "FLOOR_DIVIDE"):
        return "arithmetic may stand after '=' and in the parentheses of a call."
    if lexeme.kind == "EQUAL":
        if before.text in VALUES:
            value = after[0].text if after else "1"
            return f"a setting has no '=': write '{before.text} {clip(value)}'."
        return "a name is defined with ':='."
    if lexeme.kind in ("NUMBER", "SIZE"):
        return "values come before the options: 'conv 3x3 64 pad=1'."
    return ""
