"""Numbers with units, sizes, and the values of `-D name=value`."""

from __future__ import annotations

import re

from netc.errors import Diagnostic, Span, SyntaxProblem, clip, did_you_mean
from netc.numbers import LARGEST, LARGEST_REAL
from netc.syntax.ast import Quantity, Scalar

FACTORS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
UNITS = {"ep": "epochs", **dict.fromkeys(FACTORS, "bytes")}
WORDS: dict[str, Scalar] = {"true": True, "false": False, "same": "same", "global": "global"}
"""Names that stand for themselves."""

_NUMBER = re.compile(
    r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)([A-Za-z_]\w*)?", re.A
)
_SIZE = re.compile(r"\d+(x\d+)+", re.A)


def parse_number(text: str, span: Span | None) -> Scalar:
    """Return the number `text`, its unit applied; raise `SyntaxProblem` at `span` (E027)."""
    match = _NUMBER.fullmatch(text)
    assert match is not None
    digits, unit = match.groups()
    number = float(digits) if re.search("[.eE]", digits) else _whole(digits, span)
    if isinstance(number, float) and not number <= LARGEST_REAL:
        raise out_of_range(text, span)
    if unit is None:
        return number
    if unit not in UNITS:
        raise SyntaxProblem(_unknown_unit(unit, span))
    return Quantity(number, unit) if unit not in FACTORS else _scale(number, unit, span)


def parse_size(text: str, span: Span | None) -> tuple[int, ...]:
    """Return the size `text`, for example `3x224x224`; raise `SyntaxProblem` at `span` (E027)."""
    return tuple(_whole(part, span) for part in text.split("x"))


def parse_define(text: str) -> Scalar:
    """Return the value of `-D name=text`: a number, a size, true or false, else the text itself.

    Raise `SyntaxProblem` without a place: E027 for a number out of range, E026 for text that no
    string can hold.
    """
    if '"' in text or not text.isprintable():
        message = f"'{clip(text)}' cannot stand in a string."
        raise SyntaxProblem(Diagnostic("E026", message))
    if _SIZE.fullmatch(text):
        return parse_size(text, None)
    if _NUMBER.fullmatch(text):
        return parse_number(text, None)
    if _NUMBER.fullmatch(text.removeprefix("-")):
        number = parse_number(text.removeprefix("-"), None)
        return -number if isinstance(number, int | float) else text
    return WORDS.get(text, text)


def out_of_range(text: str, span: Span | None) -> SyntaxProblem:
    """Return the problem of a number that is too large to compute with."""
    return SyntaxProblem(Diagnostic("E027", f"the number {clip(text)} is out of range.", span))


def _whole(digits: str, span: Span | None) -> int:
    if len(digits) > 40 or int(digits) > LARGEST:
        raise out_of_range(digits, span)
    return int(digits)


def _scale(number: int | float, unit: str, span: Span | None) -> int:
    scaled = number * FACTORS[unit]
    if scaled > LARGEST:
        raise out_of_range(f"{number}{unit}", span)
    return int(scaled)


def _unknown_unit(unit: str, span: Span | None) -> Diagnostic:
    known = ", ".join(f"{name} ({meaning})" for name, meaning in UNITS.items())
    help_text = f"{did_you_mean(unit, UNITS)}the units are {known}."
    return Diagnostic("E027", f"there is no unit '{clip(unit)}'.", span, help=help_text)
