"""The values an option may have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netc import numbers
from netc.numbers import Number
from netc.syntax.ast import Quantity, Scalar
from netc.syntax.network import Value


@dataclass(frozen=True, slots=True)
class Domain:
    """The values an option may have."""

    description: str
    """In words, after `must be`."""
    convert: Callable[[Scalar], Value]
    """Return the normalized value, or raise `ValueError`."""


def domain_of(kind: Number) -> Domain:
    """The numbers of a kind, those of epochs written as 30ep too."""
    return {numbers.DISTANCE: DISTANCE, numbers.DURATION: DURATION}.get(kind) or _number(kind)


def _number(kind: Number) -> Domain:
    def convert(value: Scalar) -> int | float:
        if not kind.accepts(value):
            raise ValueError
        return value if kind.whole else float(value)

    return Domain(kind.description, convert)


def _pair(side: Number, *words: str) -> Callable[[Scalar], Value]:
    def convert(value: Scalar) -> Value:
        if isinstance(value, str) and value in words:
            return value
        both = value if isinstance(value, tuple) else (value, value)
        if len(both) != 2 or not all(map(side.accepts, both)):
            raise ValueError
        height, width = both
        assert isinstance(height, int) and isinstance(width, int), "sides are whole numbers"
        return height, width

    return convert


def _padding(*words: str) -> Callable[[Scalar], Value]:
    """Top, bottom, left and right; two numbers where both ends of a dimension are alike."""
    alike = _pair(numbers.NATURAL, *words)

    def convert(value: Scalar) -> Value:
        if not isinstance(value, tuple) or len(value) != 4:
            return alike(value)
        if not all(map(numbers.NATURAL.accepts, value)):
            raise ValueError
        top, bottom, left, right = value
        return (top, left) if (top, left) == (bottom, right) else value

    return convert


def _boolean(value: Scalar) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _epochs(value: Scalar) -> Value:
    return COUNT.convert(value.number if isinstance(value, Quantity) else value)


def _span_of_epochs(kind: Number) -> Callable[[Scalar], Value]:
    def convert(value: Scalar) -> Value:
        number = value.number if isinstance(value, Quantity) else value
        return number if numbers.COUNT.accepts(number) else _number(kind).convert(number)

    return convert


def _text(value: Scalar) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


COUNT = _number(numbers.COUNT)
NATURAL = _number(numbers.NATURAL)
PAIR = Domain("a size such as 3 or 3x1, 1 or more", _pair(numbers.COUNT))
PAIR_OR_GLOBAL = Domain(
    "a size such as 3 or 3x1, 1 or more, or global", _pair(numbers.COUNT, "global")
)
PADDING = Domain("a size such as 1, 1x0 or 0x1x0x1, 0 or more", _padding())
PADDING_OR_SAME = Domain("a size such as 1, 1x0 or 0x1x0x1, 0 or more, or same", _padding("same"))
BOOLEAN = Domain("true or false", _boolean)
REAL = _number(numbers.REAL)
NON_NEGATIVE = _number(numbers.NON_NEGATIVE)
POSITIVE = _number(numbers.POSITIVE)
BELOW_ONE = _number(numbers.BELOW_ONE)
FRACTION = _number(numbers.FRACTION)
FACTOR = _number(numbers.FACTOR)
EPOCHS = Domain("a whole number of epochs, 1 or more, such as 30ep", _epochs)
DISTANCE = Domain(numbers.DISTANCE.description, _span_of_epochs(numbers.DISTANCE))
DURATION = Domain(numbers.DURATION.description, _span_of_epochs(numbers.DURATION))
RATE_FACTOR = _number(numbers.RATE_FACTOR)
NAME_PATTERN = Domain("a pattern of weights' names in double quotes", _text)
TEXT = Domain("a path in double quotes", _text)
