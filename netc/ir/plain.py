"""Values of a program file: plain ones, of the type and within the bounds that each field has."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from netc.ir.types import Affine, Index

Reader = Callable[[Any], Any]
"""Turns what JSON says into a field's value; TextError where that is none."""
DEPTH = 8
"""Lists and objects in each other."""
LARGEST = 2**48
"""Of every count: elements, bytes, numbers of devices and instructions."""
WIDEST = 2**64
"""Of whole numbers whose meaning only kernels know, such as keys of random numbers."""
LONGEST = 4096
"""Characters of a text."""
RANK = 4
VARYING = "+"
"""The name of a number that differs among the devices of a class: its base and steps."""


class TextError(ValueError):
    """A text is not the printed form of a value."""


def loads(text: str) -> Any:
    """What JSON says; TextError where it is no JSON, or has numbers that are not finite."""
    try:
        return _DECODER.decode(text)
    except TextError:
        raise
    except (ValueError, RecursionError):
        raise TextError("this cannot be read") from None


def _no_number(text: str) -> None:
    raise TextError(f"{text} is not a number")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def plain(value: Any, depth: int = DEPTH) -> Any:
    """Any plain value; lists come back as tuples."""
    if isinstance(value, dict) and VARYING in value:
        return index(value)
    if isinstance(value, list | dict):
        if not depth:
            raise TextError("values nest too deeply")
        if isinstance(value, list):
            return tuple([plain(each, depth - 1) for each in value])
        return {text(name): plain(each, depth - 1) for name, each in value.items()}
    if type(value) is str:
        return text(value)
    if type(value) is int and not -WIDEST < value < WIDEST:
        raise TextError("a number is out of range")
    return number(value) if type(value) is float else value


def text(value: Any) -> str:
    """A text that may be shown."""
    if type(value) is not str or len(value) > LONGEST or not value.isprintable():
        raise TextError("not a text")
    return value


def name(value: Any) -> str:
    """A text that something is called by."""
    if not (found := text(value)):
        raise TextError("not a name")
    return found


def count(value: Any) -> int:
    """A whole number from 0 up."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise TextError("not a number from 0 up")
    return value


def or_none(value: Any) -> int:
    """A whole number from 0 up, or -1 where there is none."""
    return -1 if type(value) is int and value == -1 else count(value)


def seconds(value: Any) -> float:
    """A duration."""
    if number(value) < 0:
        raise TextError("not a duration")
    return number(value)


def share(value: Any) -> float:
    """A part of a whole, at most all of it."""
    if not 0.0 <= number(value) <= 1.0 + 1e-9:
        raise TextError("not a share")
    return number(value)


def number(value: Any) -> float:
    """A finite number."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise TextError("not a finite number")
    return value  # type: ignore[no-any-return]


def sequence(value: Any) -> list[Any]:
    """A list."""
    if type(value) is not list:
        raise TextError("not a list")
    return value


def counts(value: Any) -> tuple[int, ...]:
    """A list of whole numbers from 0 up."""
    return tuple([count(each) for each in sequence(value)])


def operands(value: Any) -> tuple[int, ...]:
    """A list of whole numbers: what was read from 0 up, what was made before from -1 down."""
    found: list[int] = sequence(value)
    if not all(type(each) is int and -LONGEST <= each <= LARGEST for each in found):
        raise TextError("not operands")
    return tuple(found)


def extents(value: Any) -> tuple[int, ...]:
    """One number for each dimension of a tensor."""
    if len(found := counts(value)) > RANK:
        raise TextError("more dimensions than tensors have")
    return found


def index(value: Any) -> Index:
    """A whole number from 0 up, or how it differs among devices."""
    if type(value) is not dict:
        return count(value)
    if list(value) != [VARYING]:
        raise TextError("not a number from 0 up")
    base, *steps = [_signed(each) for each in sequence(value[VARYING])] or [0]
    if not any(steps):
        raise TextError("a number that differs nowhere")
    return Affine(base, tuple(steps))


def _signed(value: Any) -> int:
    if type(value) is not int or abs(value) > LARGEST:
        raise TextError("not a whole number")
    return value


def indices(value: Any) -> tuple[Index, ...]:
    """Where a block begins along each dimension of a tensor."""
    found = tuple([index(each) for each in sequence(value)])
    if len(found) > RANK:
        raise TextError("more dimensions than tensors have")
    return found


def one_of(*known: str) -> Reader:
    """One of some words."""

    def read(value: Any) -> str:
        if type(value) is not str or value not in known:
            raise TextError(f"not one of {', '.join(repr(each) for each in known)}")
        return value

    return read
