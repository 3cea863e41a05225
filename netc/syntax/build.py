"""The parser's actions: one method a rule of the grammar, children to tree."""

from __future__ import annotations

from typing import Any

from netc.errors import Diagnostic, Source, Span, SyntaxProblem
from netc.syntax import ast
from netc.syntax.literals import parse_number, parse_size
from netc.syntax.tokens import Token


class Build:
    """Makes the tree's nodes. Children are nodes, tokens and tuples, in the grammar's order."""

    def __init__(self, source: Source, problems: list[Diagnostic]) -> None:
        """Report numbers that are none to `problems`."""
        self._source = source
        self._problems = problems

    def start(self, children: list[Any], span: Span) -> tuple[Any, ...]:
        """Return the children: statements, or parameters."""
        return tuple(children)

    body = parameters = start

    def broken(self, children: list[Any], span: Span) -> None:
        """Stand for a statement with an error: the tree is not used then."""

    def net(self, children: list[Any], span: Span) -> ast.Net:
        """Return `net name(parameters)`."""
        name, *parameters = children
        return ast.Net(self._word(name), parameters[0] if parameters else (), span)

    def input(self, children: list[Any], span: Span) -> ast.Input:
        """Return `input name shape`."""
        return ast.Input(self._word(children[0]), tuple(children[1:]), span)

    def include(self, children: list[Any], span: Span) -> ast.Include:
        """Return `include "path"`."""
        return ast.Include(children[0].text[1:-1], span)

    def block(self, children: list[Any], span: Span) -> ast.Block:
        """Return `block name(parameters) { body }`."""
        name, *parameters, body = children
        return ast.Block(self._word(name), parameters[0] if parameters else (), body, span)

    def parameter(self, children: list[Any], span: Span) -> ast.Parameter:
        """Return `name` or `name = default`."""
        name, *default = children
        return ast.Parameter(self._word(name), default[0] if default else None)

    def train(self, children: list[Any], span: Span) -> ast.Train:
        """Return `train { settings }`."""
        return ast.Train(tuple(children), span)

    def setting(self, children: list[Any], span: Span) -> ast.Setting:
        """Return one line of `train`."""
        word, *rest = children
        options = tuple(each for each in rest if isinstance(each, ast.Option))
        values = tuple(rest[: len(rest) - len(options)])
        return ast.Setting(self._word(word), values, options, span)

    def chain(self, children: list[Any], span: Span) -> ast.Chain:
        """Return `label := element | element`."""
        label = children[0] if isinstance(children[0], ast.Word) else None
        elements = children if label is None else children[1:]
        return ast.Chain(label, tuple(elements), span)

    def label(self, children: list[Any], span: Span) -> ast.Word:
        """Return the name before `:=`."""
        return self._word(children[0])

    def layer(self, children: list[Any], span: Span) -> ast.Layer:
        """Return `kind values options`."""
        kind, *rest = children
        options = tuple(each for each in rest if isinstance(each, ast.Option | ast.Stride))
        values = tuple(each for each in rest if not isinstance(each, ast.Option | ast.Stride))
        return ast.Layer(self._word(kind), values, options, span)

    def stride(self, children: list[Any], span: Span) -> ast.Stride:
        """Return `/value`."""
        return ast.Stride(children[0], span)

    def option(self, children: list[Any], span: Span) -> ast.Option:
        """Return `name = value`."""
        return ast.Option(self._word(children[0]), children[1], span)

    def call(self, children: list[Any], span: Span) -> ast.Call:
        """Return `name(arguments)`."""
        return ast.Call(self._word(children[0]), tuple(children[1:]), span)

    def group(self, children: list[Any], span: Span) -> ast.Group:
        """Return `{ body }`."""
        return ast.Group(children[0], span)

    def repeat(self, children: list[Any], span: Span) -> ast.Repeat:
        """Return `repeat times { body }`."""
        return ast.Repeat(children[0], children[1], span)

    def combine(self, children: list[Any], span: Span) -> ast.Combine:
        """Return `add { body }` or `concat { body }`."""
        return ast.Combine(self._word(children[0]), children[1], span)

    def condition(self, children: list[Any], span: Span) -> ast.Condition:
        """Return `if condition { body } else { body }`."""
        arms = tuple(each for each in children if isinstance(each, ast.Arm))
        otherwise = children[-1] if len(children) > len(arms) else None
        return ast.Condition(arms, otherwise, span)

    def arm(self, children: list[Any], span: Span) -> ast.Arm:
        """Return a condition with its body."""
        return ast.Arm(children[0], children[1])

    def reference(self, children: list[Any], span: Span) -> ast.Reference:
        """Return `$name`."""
        return ast.Reference(ast.Word(children[0].text[1:], span), span)

    def number(self, children: list[Any], span: Span) -> ast.Literal:
        """Return a number, with its unit."""
        try:
            return ast.Literal(parse_number(children[0].text, span), span)
        except SyntaxProblem as problem:
            self._problems += problem.diagnostics
            return ast.Literal(0, span)

    def size(self, children: list[Any], span: Span) -> ast.Literal:
        """Return a size such as 3x3."""
        try:
            return ast.Literal(parse_size(children[0].text, span), span)
        except SyntaxProblem as problem:
            self._problems += problem.diagnostics
            return ast.Literal((0, 0), span)

    def string(self, children: list[Any], span: Span) -> ast.Literal:
        """Return a string, without its quotes."""
        return ast.Literal(children[0].text[1:-1], span)

    def name(self, children: list[Any], span: Span) -> ast.Name:
        """Return a name in an expression."""
        return ast.Name(children[0].text, span)

    def prefixed(self, children: list[Any], span: Span) -> ast.Prefixed:
        """Return `-x` or `not x`."""
        return ast.Prefixed(children[0].text, children[1], span)

    def operation(self, children: list[Any], span: Span) -> ast.Operation:
        """Return operands joined by operators of one precedence."""
        operators = (token.text for token in children[1::2])
        return ast.Operation(children[0], tuple(zip(operators, children[2::2], strict=True)), span)

    expression = conjunction = comparison = sum = product = operation

    def _word(self, token: Token) -> ast.Word:
        return ast.Word(token.text, Span(self._source, token.start, token.end))
