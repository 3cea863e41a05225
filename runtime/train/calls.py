"""Calls as a recipe writes them, `imagefolder("data", size=224)`, checked and then made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from netc.errors import clip, did_you_mean
from netc.numbers import Number

from ..io.problems import data_error

T = TypeVar("T")


def call(
    kind: str,
    known: Mapping[str, Callable[..., T]],
    name: str,
    args: Sequence[object],
    kwargs: Mapping[str, object],
) -> T:
    """`known[name](*args, **kwargs)`; DataError (E060) for an unknown name or wrong arguments."""
    if name not in known:
        listed = f"known are: {', '.join(known)}"
        help = did_you_mean(name, known) + listed
        raise data_error("E060", f"there is no {kind} '{name}'.", help)
    try:
        inspect.signature(known[name]).bind(*args, **kwargs)
    except TypeError as problem:
        message = f"{kind} '{name}' has wrong arguments: {problem}."
        raise data_error("E060", message, f"write {_usage(name, known[name])}") from problem
    return known[name](*args, **kwargs)


def whole(what: str, value: object, least: int, most: int) -> int:
    """`value`, or E060 where it is no whole number from `least` to `most`."""
    if type(value) is not int or value < least:
        message = f"{what} is {_shown(value)}, not a whole number of at least {least}."
        raise data_error("E060", message)
    if value > most:
        raise data_error("E060", f"{what} is {_shown(value)}, more than {most:,}.")
    return value


def truth(what: str, value: object) -> bool:
    """`value`, or E060 where it is neither true nor false."""
    if isinstance(value, bool):
        return value
    raise data_error("E060", f"{what} is {_shown(value)}, neither true nor false.")


def number(what: str, value: object, kind: Number) -> float:
    """`value`, or E060 where it is no number of that kind."""
    if kind.accepts(value):
        return value
    raise data_error("E060", f"{what} is {_shown(value)}, not {kind.description}.")


def text(what: str, value: object) -> str:
    """`value`, or E060 where it is no text, or empty."""
    if isinstance(value, str) and value:
        return value
    raise data_error("E060", f'{what} is {_shown(value)}, not a text such as "data/mnist".')


def _shown(value: object) -> str:
    """A value as it was written, cut short where it is long."""
    try:
        return clip(repr(value))
    except ValueError:  # Python writes no whole number of more than some thousand digits
        return "a number of thousands of digits"


def _usage(name: str, function: Callable[..., object]) -> str:
    """`imagefolder(directory, size=224)`, for the remedy."""
    parameters = inspect.signature(function).parameters.values()
    shown = [str(p.replace(annotation=p.empty, kind=p.POSITIONAL_OR_KEYWORD)) for p in parameters]
    return f"{name}({', '.join(shown)})"
