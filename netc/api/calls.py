"""How the interface's functions are called: what one does not take is a diagnostic, by one rule.

What is missing stays Python's own TypeError, which names it. A call that is right costs nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, get_args

from netc.api.values import usage
from netc.errors import UsageError, clip, did_you_mean

_CALLED = {
    **dict.fromkeys(("x_train", "y_train", "x_test", "y_test", "validation_data"), "data"),
    "dtype": "precision", "gpus": "devices", "learning_rate": "lr",
}  # fmt: skip
"""Words that other tools have, and what netc calls that."""
C = TypeVar("C")
T = TypeVar("T")
P = ParamSpec("P")
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def checked_call(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which refuses words that it does not take, and values that have to be named
    (UsageError, E051).
    """
    gathers = any(each.kind is each.VAR_KEYWORD for each in _parameters(function))

    @wraps(function)
    def call(*values: P.args, **words: P.kwargs) -> T:
        # What gathers words takes any; others are called first, and judged where that fails.
        if gathers and (problem := _problem(function, values, words)):
            raise problem
        try:
            return function(*values, **words)
        except TypeError:
            problem = _problem(function, values, words)
            if problem is None:
                raise
        raise problem

    return call


def checked_calls(class_: type[C]) -> type[C]:
    """The class, whose public methods are each a `checked_call`."""
    for name, value in list(vars(class_).items()):
        if isinstance(value, FunctionType) and not name.startswith("_"):
            setattr(class_, name, checked_call(value))
    return class_


def words_of_call(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """The words that a function takes by name, those of a typed dictionary too; None where it takes
    any.
    """
    return _words(inspect.unwrap(function))


def _problem(
    function: Callable[..., Any], values: Sequence[Any], words: Mapping[str, Any]
) -> UsageError | None:
    """What is wrong with a call; None where nothing is, or a value is missing."""
    known, name = words_of_call(function), function.__name__
    for word in words:
        if known is not None and word not in known:
            return usage(f"'{name}' takes no '{clip(word)}'.", _hint(function, word, known))
    first = [each for each in _parameters(function) if each.kind in _BY_PLACE]
    missing = (each for each in first[len(values) :] if each.default is each.empty)
    for each in missing:
        if each.kind is each.POSITIONAL_ONLY and each.name in words:
            return usage(f"'{each.name}' of '{name}' is given first, without its name.")
    listed = any(each.kind is each.VAR_POSITIONAL for each in _parameters(function))
    if len(values) > len(first) and not listed:
        bound = first[:1] if [each.name for each in first[:1]] == ["self"] else []
        most = len(first) - len(bound)
        named = f"{most or 'no'} value{'s' * (most != 1)}"
        message = f"'{name}' takes {named} without a name, not {len(values) - len(bound)}."
        return usage(message, _hint(function, "", known or ()))
    return None


def _hint(function: Callable[..., Any], word: str, known: Sequence[str]) -> str:
    near = did_you_mean(word, known, _CALLED)
    if known:
        return f"{near}by name it takes: {', '.join(known)}."
    return f"help(netc.{function.__qualname__}) says more."


@cache
def _words(function: Callable[..., Any]) -> tuple[str, ...] | None:
    found: list[str] = []
    for each in _parameters(function):
        if each.kind in _BY_NAME and each.name != "self":
            found.append(each.name)
        elif each.kind is each.VAR_KEYWORD:
            typed = get_args(eval(each.annotation, function.__globals__))
            if not typed:
                return None
            found += typed[0].__annotations__
    return tuple(found)


@cache
def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(function).parameters.values())
