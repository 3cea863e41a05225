"""Whatever the interface offers says of a wrong word which it takes: by one rule."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import FunctionType
from typing import Any
from unittest.mock import MagicMock

import pytest

import netc
import netc.api
from netc.api.calls import checked_call, words_of_call

ANY_WORD = {"load", "parse"}
"""Functions that take parameters of networks by name."""
CLASSES: dict[str, type] = {
    name: value
    for module in iter_modules(netc.api.__path__)
    for name, value in vars(import_module(f"netc.api.{module.name}")).items()
    if isinstance(value, type) and value.__module__.startswith("netc.api")
}


def functions() -> Iterator[Callable[..., Any]]:
    """All that are offered, and the methods of what they return, and so on."""
    offered = [getattr(netc, name) for name in netc.__all__]
    seen: set[object] = set()
    while offered:
        found = offered.pop()
        if found in seen or not found.__module__.startswith("netc.api"):
            continue
        seen.add(found)
        if isinstance(found, FunctionType):
            yield found
            returned = str(inspect.unwrap(found).__annotations__.get("return", ""))
            offered += [CLASSES[n] for n in re.findall(r"\w+", returned) if n in CLASSES]
        elif not issubclass(found, dict):
            own = [each for part in found.__mro__ for each in vars(part).items()]
            offered += [v for n, v in own if isinstance(v, FunctionType) and not n.startswith("_")]


ALL = sorted(functions(), key=lambda each: each.__qualname__)


def test_there_are_functions() -> None:
    names = {each.__qualname__ for each in ALL}
    assert len(names) > 50
    assert {"Model.plan", "OpenProgram.step", "load_trace", "PlanDifference.save"} <= names
    assert {each.__name__ for each in ALL if words_of_call(each) is None} == ANY_WORD


@pytest.mark.parametrize("function", ALL, ids=lambda each: each.__qualname__)
def test_a_wrong_word_is_a_diagnostic(function: Callable[..., Any]) -> None:
    known = words_of_call(function)
    if known is None:
        return
    for word in known:
        with pytest.raises(netc.UsageError) as caught:
            function(**{f"{word}x": None})
        assert f"'{function.__name__}' takes no '{word}x'." in str(caught.value)
        assert "did you mean" in str(caught.value)
    with pytest.raises(netc.UsageError, match="takes no 'nothing'"):
        function(nothing=None)


@pytest.mark.parametrize("function", ALL, ids=lambda each: each.__qualname__)
def test_values_without_names(function: Callable[..., Any]) -> None:
    kinds = [each.kind for each in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return
    with pytest.raises(netc.UsageError, match="without a name, not"):
        function(*[MagicMock()] * 20)


@checked_call
def called(first: int, /, second: int, third: int = 3, *, fourth: int = 4) -> int:
    """What tests call."""
    return first + second + third + len(str(fourth)[None])  # type: ignore[index]


def test_pythons_own_errors_stay() -> None:
    for work, said in (
        (lambda: called(1), "missing 1 required positional argument: 'second'"),  # type: ignore[call-arg]
        (lambda: called(1, 2, second=3), "multiple values for argument 'second'"),  # type: ignore[misc]
        (lambda: called(1, 2), "string indices must be integers"),
    ):
        with pytest.raises(TypeError, match=re.escape(said)):
            work()


def test_what_is_given_first() -> None:
    with pytest.raises(netc.UsageError, match="'network' of 'load' is given first, without its"):
        netc.load(network="digits")  # type: ignore[call-arg]


def test_a_word_of_load_may_be_meant() -> None:
    with pytest.raises(netc.UsageError, match="did you mean 'settings'"):
        netc.load("digits", setings={"train.epochs": 3})
