"""The values an option may have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from netc.syntax.ast import Quantity, Scalar
from netc.syntax.network import Value


@dataclass(frozen=True, slots=True)
class Domain:
    """The values an option may have."""

    description: str
    """In words, after `must be`."""
    convert: Callable[[Scalar], Value]
    """Return the normalized value, or raise `ValueError`."""


def _whole(least: int) -> Callable[[Scalar], int]:
    def convert(value: Scalar) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError
        return value

    return convert


def _pair(least: int, *words: str) -> Callable[[Scalar], Value]:
    def convert(value: Scalar) -> Value:
        if isinstance(value, str) and value in words:
            return value
        both = value if isinstance(value, tuple) else (value, value)
        if len(both) != 2:
            raise ValueError
        height, width = map(_whole(least), both)
        return height, width

    return convert


def _real(accept: Callable[[float], bool]) -> Callable[[Scalar], float]:
    def convert(value: Scalar) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        if not (math.isfinite(value) and accept(value)):
            raise ValueError
        return float(value)

    return convert


def _boolean(value: Scalar) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _epochs(value: Scalar) -> int:
    if isinstance(value, Quantity):
        value = value.number
    return _whole(1)(value)


def _span_of_epochs(value: Scalar) -> int | float:
    number = value.number if isinstance(value, Quantity) else value
    if isinstance(number, int) and not isinstance(number, bool):
        return _whole(1)(number)
    return _real(lambda value: value > 0)(number)


def _text(value: Scalar) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


COUNT = Domain("a whole number, 1 or more", _whole(1))
NATURAL = Domain("a whole number, 0 or more", _whole(0))
PAIR = Domain("a size such as 3 or 3x1, 1 or more", _pair(1))
PAIR_OR_GLOBAL = Domain("a size such as 3 or 3x1, 1 or more, or global", _pair(1, "global"))
PADDING = Domain("a size such as 1 or 1x0, 0 or more", _pair(0))
PADDING_OR_SAME = Domain("a size such as 1 or 1x0, 0 or more, or same", _pair(0, "same"))
BOOLEAN = Domain("true or false", _boolean)
REAL = Domain("a number", _real(lambda value: True))
NON_NEGATIVE = Domain("a number, 0 or more", _real(lambda value: value >= 0))
POSITIVE = Domain("a number above 0", _real(lambda value: value > 0))
BELOW_ONE = Domain("a number from 0 to below 1", _real(lambda value: 0 <= value < 1))
FRACTION = Domain("a number from 0 to 1", _real(lambda value: 0 <= value <= 1))
EPOCHS = Domain("a whole number of epochs, 1 or more, such as 30ep", _epochs)
DISTANCE = Domain("a number of epochs above 0, such as 30ep", _span_of_epochs)
TEXT = Domain("a path in double quotes", _text)
