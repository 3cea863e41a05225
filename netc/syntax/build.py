"""The parser's actions: one method a rule of the grammar, children to tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from lark import Transformer
from lark.visitors import v_args

from netc.errors import Span, SyntaxProblem
from netc.syntax import ast
from netc.syntax.literals import parse_number, parse_size
from netc.syntax.tokens import Reading, Token

_OPERATORS = ("OR", "AND", "NOT", "COMPARISON", "PLUS", "MINUS", "TIMES", "DIVIDE", "FLOOR_DIVIDE")
_KEPT = frozenset(("NAME", "REFERENCE", "NUMBER", "SIZE", "STRING", "COMBINE", *_OPERATORS))
"""Kinds of tokens that say something beside the rule that they stand in."""


class TreePart(NamedTuple):
    """What was made of a rule, and the text of all of it, with words and signs that are dropped."""

    node: Any
    reading: Reading
    start_pos: int
    end_pos: int


def _spanned(
    make: Callable[[list[Any], Span], Any], rule: str, children: list[TreePart | Token], meta: None
) -> TreePart:
    """Make a node of the children that say something, with the place of all."""
    first, last = children[0], children[-1]
    kept = [
        each.node if isinstance(each, TreePart) else each
        for each in children
        if isinstance(each, TreePart) or each.type in _KEPT
    ]
    reading, start, end = first.reading, first.start_pos, last.end_pos
    return TreePart(make(kept, reading.span(start, end)), reading, start, end)


def _whole(
    make: Callable[[list[Any]], Any], rule: str, children: list[TreePart | Token], meta: None
) -> Any:
    """Make what the parser returns; of an empty text there are no children."""
    return make([each.node for each in children if isinstance(each, TreePart)])


@v_args(wrapper=_spanned)
class Build(Transformer[Token, ast.Body]):
    """Makes the tree's nodes. Children are nodes, tokens and tuples, in the grammar's order.

    It has no state, so that one parser with its actions serves all sources.
    """

    @v_args(wrapper=_whole)
    def start(self, children: list[Any]) -> ast.Body:
        """Return the statements."""
        return tuple(children)

    def body(self, children: list[Any], span: Span) -> tuple[Any, ...]:
        """Return the children: statements, or parameters."""
        return tuple(children)

    parameters = body

    def broken(self, children: list[Any], span: Span) -> None:
        """Stand for a statement with an error: the tree is not used then."""

    def net(self, children: list[Any], span: Span) -> ast.Net:
        """Return `net name(parameters)`."""
        name, *parameters = children
        return ast.Net(_word(name), parameters[0] if parameters else (), span)

    def input(self, children: list[Any], span: Span) -> ast.Input:
        """Return `input name shape`."""
        return ast.Input(_word(children[0]), tuple(children[1:]), span)

    def include(self, children: list[Any], span: Span) -> ast.Include:
        """Return `include "path"`."""
        return ast.Include(children[0].value[1:-1], span)

    def block(self, children: list[Any], span: Span) -> ast.Block:
        """Return `block name(parameters) { body }`."""
        name, *parameters, body = children
        return ast.Block(_word(name), parameters[0] if parameters else (), body, span)

    def parameter(self, children: list[Any], span: Span) -> ast.Parameter:
        """Return `name` or `name = default`."""
        name, *default = children
        return ast.Parameter(_word(name), default[0] if default else None)

    def train(self, children: list[Any], span: Span) -> ast.Train:
        """Return `train { settings }`."""
        return ast.Train(tuple(children), span)

    def setting(self, children: list[Any], span: Span) -> ast.Setting:
        """Return one line of `train`."""
        word, *rest = children
        options = tuple(each for each in rest if isinstance(each, ast.Option))
        values = tuple(rest[: len(rest) - len(options)])
        return ast.Setting(_word(word), values, options, span)

    def chain(self, children: list[Any], span: Span) -> ast.Chain:
        """Return `label := element | element`."""
        label = children[0] if isinstance(children[0], ast.Word) else None
        elements = children if label is None else children[1:]
        return ast.Chain(label, tuple(elements), span)

    def label(self, children: list[Any], span: Span) -> ast.Word:
        """Return the name before `:=`."""
        return _word(children[0])

    def layer(self, children: list[Any], span: Span) -> ast.Layer:
        """Return `kind values options`."""
        kind, *rest = children
        options = tuple(each for each in rest if isinstance(each, ast.Option | ast.Stride))
        values = tuple(each for each in rest if not isinstance(each, ast.Option | ast.Stride))
        return ast.Layer(_word(kind), values, options, span)

    def stride(self, children: list[Any], span: Span) -> ast.Stride:
        """Return `/value`."""
        return ast.Stride(children[0], span)

    def option(self, children: list[Any], span: Span) -> ast.Option:
        """Return `name = value`."""
        return ast.Option(_word(children[0]), children[1], span)

    def call(self, children: list[Any], span: Span) -> ast.Call:
        """Return `name(arguments)`."""
        return ast.Call(_word(children[0]), tuple(children[1:]), span)

    def group(self, children: list[Any], span: Span) -> ast.Group:
        """Return `{ body }`."""
        return ast.Group(children[0], span)

    def repeat(self, children: list[Any], span: Span) -> ast.Repeat:
        """Return `repeat times { body }`."""
        return ast.Repeat(children[0], children[1], span)

    def combine(self, children: list[Any], span: Span) -> ast.Combine:
        """Return `add { body }` or `concat { body }`."""
        return ast.Combine(_word(children[0]), children[1], span)

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
        return ast.Reference(ast.Word(children[0].value[1:], span), span)

    def number(self, children: list[Any], span: Span) -> ast.Literal:
        """Return a number, with its unit."""
        return _literal(children[0], parse_number, span)

    def size(self, children: list[Any], span: Span) -> ast.Literal:
        """Return a size such as 3x3."""
        return _literal(children[0], parse_size, span)

    def string(self, children: list[Any], span: Span) -> ast.Literal:
        """Return a string, without its quotes."""
        return ast.Literal(children[0].value[1:-1], span)

    def name(self, children: list[Any], span: Span) -> ast.Name:
        """Return a name in an expression."""
        return ast.Name(children[0].value, span)

    def enclosed(self, children: list[Any], span: Span) -> ast.Expression:
        """Return what stands in parentheses; they belong to what it stands in."""
        expression: ast.Expression = children[0]
        return expression

    def prefixed(self, children: list[Any], span: Span) -> ast.Prefixed:
        """Return `-x` or `not x`."""
        return ast.Prefixed(children[0].value, children[1], span)

    def operation(self, children: list[Any], span: Span) -> ast.Operation:
        """Return operands joined by operators of one precedence."""
        operators = (token.value for token in children[1::2])
        return ast.Operation(children[0], tuple(zip(operators, children[2::2], strict=True)), span)

    expression = conjunction = comparison = sum = product = operation


def _word(token: Token) -> ast.Word:
    return ast.Word(token.value, token.reading.span(token.start_pos, token.end_pos))


def _literal(token: Token, parse: Callable[[str, Span], ast.Scalar], span: Span) -> ast.Literal:
    """Return the value of a number or size; one that is none is a problem of the source."""
    try:
        return ast.Literal(parse(token.value, span), span)
    except SyntaxProblem as problem:
        token.reading.problems += problem.diagnostics
        return ast.Literal(0, span)
