"""Tokens to tree: an LALR(1) machine that goes on after an error, at the next statement."""

from __future__ import annotations

from typing import Any

from netc.errors import ERROR_LIMIT, Diagnostic, Source, Span, SyntaxProblem
from netc.syntax import ast
from netc.syntax.build import Build
from netc.syntax.lexer import tokenize
from netc.syntax.tokens import Rule, Token, load_tables, shown

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
    "$END": "the end of the line",
}


def parse_source(source: Source) -> ast.File:
    """Return the tree of `source`; raise `SyntaxProblem` with every error in it."""
    tokens, problems = tokenize(source)
    if not tokens or any(each.code == "E005" for each in problems):
        raise SyntaxProblem(*problems)
    machine = _Machine(source, problems)
    machine.run(tokens)
    problems.sort(key=lambda each: each.span.start if each.span else 0)
    if problems:
        raise SyntaxProblem(*problems[:ERROR_LIMIT])
    return ast.File(source, machine.result())


class _Machine:
    """The stack of states and of what was built so far."""

    def __init__(self, source: Source, problems: list[Diagnostic]) -> None:
        self._source = source
        self._problems = problems
        self._bad_lines = {each.span.line for each in problems if each.span}
        self._unclosed = any(each.code == "E004" for each in problems)
        self._tables = load_tables()
        self._build = Build(source, problems)
        self._states = [0]
        self._before = [0]
        self._values: list[tuple[Any, int, int]] = []

    def result(self) -> ast.Body:
        """Return what the start rule made."""
        value: ast.Body = self._values[-1][0]
        return value

    def run(self, tokens: list[Token]) -> None:
        """Feed all `tokens`, recovering after each error."""
        at, failed = 0, -1
        while at < len(tokens) and len(self._problems) < ERROR_LIMIT:
            self._before = self._states.copy()
            if self._feed(tokens[at]) or at == failed:
                at += 1
            else:
                self._report(tokens[at])
                failed = at = self._recover(tokens, at)

    def _feed(self, token: Token) -> bool:
        """Take one token, or return false and leave the stack at the error."""
        tables, states = self._tables, self._states
        while True:
            action = tables.states[states[-1]].get(token.kind)
            if action is None:
                return False
            if action >= 0:
                states.append(action)
                self._values.append((token, token.start, token.end))
                return True
            self._reduce(tables.rules[-1 - action], token.start)
            if token.kind == "$END" and states[-1] == tables.end:
                return True

    def _reduce(self, rule: Rule, at: int) -> None:
        """Replace the top of the stack by the node that `rule` makes of it."""
        values = self._values
        cut = len(values) - rule.length
        taken = values[cut:]
        del values[cut:], self._states[cut + 1 :]
        start, end = (taken[0][1], taken[-1][2]) if taken else (at, at)
        values.append((self._node(rule, taken, start, end), start, end))
        self._states.append(self._tables.states[self._states[-1]][rule.origin])

    def _node(self, rule: Rule, taken: list[tuple[Any, int, int]], start: int, end: int) -> Any:
        children: list[Any] = []
        for index in rule.kept:
            value = taken[index][0]
            if index not in rule.spliced:
                children.append(value)
            elif children:
                children += value
            else:
                children = value  # Grow a list in place: copying it for every item is quadratic.
        if rule.origin.startswith("__"):
            return children
        if rule.inlined and len(children) == 1:
            return children[0]
        return getattr(self._build, rule.action)(children, Span(self._source, start, end))

    def _recover(self, tokens: list[Token], at: int) -> int:
        """Drop the statement around token `at`; return the index of the token that ends it."""
        states, table = self._states, self._tables.states
        closed = 0  # A body that has ended is dropped whole, not entered again.
        while closed or table[states[-1]].get("_ERROR", -1) < 0:
            states.pop()
            dropped = self._values.pop()[0]
            if isinstance(dropped, Token):
                closed += (dropped.kind == "RBRACE") - (dropped.kind == "LBRACE" and closed > 0)
        self._feed(Token("_ERROR", "", tokens[at].start, tokens[at].start))
        depth = 0
        while tokens[at].kind != "$END":
            kind = tokens[at].kind
            if depth == 0 and kind in ("_SEP", "RBRACE"):
                break
            depth += (kind == "LBRACE") - (kind == "RBRACE")
            at += 1
        return at

    def _report(self, token: Token) -> None:
        span = Span(self._source, token.start, token.end)
        if span.line in self._bad_lines or (token.kind == "$END" and self._unclosed):
            return
        phrases = self._expected()
        found = shown(token)
        message = f"unexpected {found.removeprefix('the ')}."
        if 0 < len(phrases) <= 4:
            message = f"expected {' or '.join(phrases)}, found {found}."
        self._problems.append(Diagnostic("E001", message, span, help=_remedy(token)))

    def _expected(self) -> list[str]:
        """Say in words what could stand here instead."""
        symbols = self._tables.states[self._before[-1]]
        able = {each for each in symbols if not each.islower() and self._accepts(each)}
        phrases = []
        for symbol, phrase, group in _GROUPS:
            if symbol in able:
                phrases.append(phrase)
                able -= group
        return sorted({*phrases, *(_PHRASES[each] for each in able if each in _PHRASES)})

    def _accepts(self, symbol: str) -> bool:
        """Whether the machine could shift `symbol` now: a dry run of its reductions."""
        states = self._before.copy()
        while True:
            action = self._tables.states[states[-1]].get(symbol)
            if action is None or action >= 0:
                return action is not None
            rule = self._tables.rules[-1 - action]
            del states[len(states) - rule.length :]
            states.append(self._tables.states[states[-1]][rule.origin])
            if symbol == "$END" and states[-1] == self._tables.end:
                return True


def _remedy(token: Token) -> str:
    if token.kind == "_STRIDE":
        return "'/2' after a space is a stride; a division is written 'a / 2' or 'a/2'."
    if token.kind in ("PLUS", "MINUS", "TIMES", "DIVIDE", "FLOOR_DIVIDE"):
        return "arithmetic may stand after '=' and in the parentheses of a call."
    if token.kind == "EQUAL":
        return "a name is defined with ':='."
    if token.kind in ("NUMBER", "SIZE"):
        return "values come before the options: 'conv 3x3 64 pad=1'."
    return ""
