"""Expressions: arithmetic, comparisons and conditions on parameters."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

from netc.errors import Diagnostic, Span, SyntaxProblem, clip, did_you_mean, listed
from netc.numbers import LARGEST
from netc.syntax import ast
from netc.syntax.ast import Quantity, Scalar
from netc.syntax.literals import WORDS, out_of_range

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def evaluate(expression: ast.Expression, parameters: Mapping[str, Scalar]) -> Scalar:
    """Return the value of `expression`; raise `SyntaxProblem` (E011, E017, E027)."""
    match expression:
        case ast.Literal(value=value):
            return value
        case ast.Name():
            return _look_up(expression, parameters)
        case ast.Prefixed(operator="not"):
            return not _condition(expression.operand, "'not'", parameters)
        case ast.Prefixed():
            operand = _number(evaluate(expression.operand, parameters), expression, "-")
            return -operand
        case ast.Operation(rest=((("and" | "or"), _), *_)):
            return _connect(expression, parameters)
        case ast.Operation():
            return _fold(expression, parameters)


def evaluate_condition(expression: ast.Expression, parameters: Mapping[str, Scalar]) -> bool:
    """Return the value of the condition of an `if`; raise `SyntaxProblem` (E011, E017)."""
    return _condition(expression, "'if'", parameters)


def show(value: object) -> str:
    """Return `value` as it is written in a `.net` file."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return "x".join(str(each) for each in value)
        case Quantity():
            return f"{value.number}{value.unit}"
        case str():
            return value if WORDS.get(value) == value else f'"{value}"'
        case _:
            return repr(value)


def _look_up(name: ast.Name, parameters: Mapping[str, Scalar]) -> Scalar:
    if name.text in WORDS:
        return WORDS[name.text]
    if name.text in parameters:
        return parameters[name.text]
    known = listed(parameters)
    here = f"the parameters here are {known}." if known else "there are no parameters here."
    hint = did_you_mean(name.text, parameters) + here
    message = f"there is no parameter '{clip(name.text)}'."
    raise SyntaxProblem(Diagnostic("E011", message, name.span, help=hint))


def _condition(expression: ast.Expression, user: str, parameters: Mapping[str, Scalar]) -> bool:
    value = evaluate(expression, parameters)
    if not isinstance(value, bool):
        raise _wrong(f"{user} takes true or false, not {clip(show(value))}.", expression.span)
    return value


def _connect(operation: ast.Operation, parameters: Mapping[str, Scalar]) -> bool:
    """Apply `and` or `or`: the first operand that decides ends it."""
    word = operation.rest[0][0]
    for operand in (operation.first, *(each for _, each in operation.rest)):
        if _condition(operand, f"'{word}'", parameters) == (word == "or"):
            return word == "or"
    return word == "and"


def _fold(operation: ast.Operation, parameters: Mapping[str, Scalar]) -> Scalar:
    """Apply arithmetic or one comparison from left to right."""
    value = evaluate(operation.first, parameters)
    for symbol, operand in operation.rest:
        other = evaluate(operand, parameters)
        if symbol in ("==", "!="):
            equal = isinstance(value, bool) == isinstance(other, bool) and value == other
            value = equal == (symbol == "==")
            continue
        left, right = _number(value, operation, symbol), _number(other, operation, symbol)
        if symbol in _ORDER:
            value = _ORDER[symbol](left, right)
        else:
            value = _compute(symbol, left, right, operation.span)
    return value


def _number(value: Scalar, expression: ast.Expression, symbol: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = f"'{symbol}' takes plain numbers, not {clip(show(value))}."
        raise _wrong(message, expression.span)
    return value


def _compute(symbol: str, left: int | float, right: int | float, span: Span) -> int | float:
    if symbol in ("/", "//") and right == 0:
        raise _wrong(f"{left} {symbol} 0: division by zero.", span)
    if symbol == "/" and isinstance(left, int) and isinstance(right, int):
        return _divide(left, right, span)
    result: int | float = _ARITHMETIC[symbol](left, right)
    if not math.isfinite(result) or abs(result) > LARGEST:
        raise out_of_range(f"{left} {symbol} {right}", span)
    return result


def _divide(left: int, right: int, span: Span) -> int:
    quotient, remainder = divmod(left, right)
    if remainder:
        message = f"{left} / {right} leaves {remainder}: '/' of whole numbers must be exact."
        remedy = f"'{left} // {right}' rounds down, to {quotient}."
        raise SyntaxProblem(Diagnostic("E017", message, span, help=remedy))
    return quotient


def _wrong(message: str, span: Span) -> SyntaxProblem:
    return SyntaxProblem(Diagnostic("E017", message, span))
