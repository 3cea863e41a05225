"""What a word takes, and how the arguments written are matched with it.

Layers, blocks and the words of the recipe all take arguments by position or by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from netc.errors import (
    ERROR_LIMIT,
    Diagnostic,
    Span,
    SyntaxProblem,
    clip,
    did_you_mean,
    listed,
)
from netc.numbers import LARGEST_SIZE
from netc.syntax import ast
from netc.syntax.ast import Scalar, Word
from netc.syntax.domains import Domain
from netc.syntax.evaluate import evaluate, show
from netc.syntax.literals import out_of_range
from netc.syntax.network import NamedValues, Value


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument, evaluated."""

    name: Word | None
    """Its name, if it was given by name."""
    value: Scalar
    """Its value."""
    span: Span
    """Its place."""


@dataclass(frozen=True, slots=True)
class Form:
    """The arguments a word takes."""

    owner: str
    """The word."""
    noun: Literal["option", "parameter"]
    """What its arguments are called."""
    names: tuple[str, ...]
    """All arguments."""
    positional: int
    """How many of them, from the first, may be given by position."""
    required: frozenset[str]
    """Those that have no default."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a layer or of a word of the recipe."""

    name: str
    """Its name."""
    domain: Domain
    """Its values."""
    default: Value = None
    """Its value when not given."""
    required: bool = False
    """Whether it must be given."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A word and its options."""

    name: str
    """The word."""
    options: tuple[Option, ...] = ()
    """Its options, those by position first."""
    positional: int = 0
    """How many of them may be given by position."""

    @property
    def form(self) -> Form:
        """The arguments it takes, without their domains."""
        names = tuple(each.name for each in self.options)
        required = frozenset(each.name for each in self.options if each.required)
        return Form(self.name, "option", names, self.positional, required)

    def bind(self, arguments: Sequence[Argument], span: Span) -> NamedValues:
        """Return every option's value; raise `SyntaxProblem` (E012, E013, E014)."""
        given, problems = pair(self.form, arguments, span)
        values: list[tuple[str, Value]] = []
        for option in self.options:
            argument = given.get(option.name)
            value = option.default
            if argument is not None:
                value, wrong = _convert(self.name, option, argument)
                problems += wrong
            values.append((option.name, value))
        if problems:
            raise SyntaxProblem(*problems)
        return NamedValues(tuple(values))


def evaluate_arguments(
    arguments: tuple[ast.Expression | ast.Option | ast.Stride, ...],
    parameters: Mapping[str, Scalar],
) -> list[Argument]:
    """Return the arguments with their values; raise `SyntaxProblem` with all problems."""
    evaluated: list[Argument] = []
    problems: list[Diagnostic] = []
    for each in arguments:
        try:
            evaluated.append(_evaluate_argument(each, parameters))
        except SyntaxProblem as problem:
            problems += problem.diagnostics
        if len(problems) >= ERROR_LIMIT:
            break
    if problems:
        raise SyntaxProblem(*problems)
    return evaluated


def _evaluate_argument(
    argument: ast.Expression | ast.Option | ast.Stride, parameters: Mapping[str, Scalar]
) -> Argument:
    match argument:
        case ast.Option(name=name, value=value):
            return Argument(name, evaluate(value, parameters), argument.span)
        case ast.Stride(value=value):
            name = Word("stride", argument.span)
            return Argument(name, evaluate(value, parameters), argument.span)
        case _:
            return Argument(None, evaluate(argument, parameters), argument.span)


def pair(
    form: Form, arguments: Sequence[Argument], span: Span
) -> tuple[dict[str, Argument], list[Diagnostic]]:
    """Match `arguments` with the names of `form`; report what does not match (E012, E013)."""
    given: dict[str, Argument] = {}
    problems: list[Diagnostic] = []
    by_position = iter(form.names[: form.positional])
    for argument in arguments:
        name = argument.name.text if argument.name else next(by_position, None)
        if len(problems) >= ERROR_LIMIT:
            break
        if name is None:
            problems.append(_too_many(form, argument.span))
            break
        if name not in form.names:
            assert argument.name is not None
            problems.append(unknown_option(form, argument.name))
        elif name in given:
            message = f"'{form.owner}' is given '{name}' twice."
            problems.append(Diagnostic("E013", message, argument.span))
        given[name] = argument
    missing = [name for name in form.names if name in form.required and name not in given]
    if missing and not problems:
        problems.append(_missing(form, missing, span))
    return given, problems


def unknown_option(form: Form, name: Word) -> Diagnostic:
    """Return the diagnostic for a name that `form` does not have (E012)."""
    message = f"'{form.owner}' has no {form.noun} '{clip(name.text)}'."
    hint = did_you_mean(name.text, form.names) + _takes(form)
    return Diagnostic("E012", message, name.span, help=hint)


def _takes(form: Form) -> str:
    return f"'{form.owner}' takes: {listed(form.names) or f'no {form.noun}s'}."


def _too_many(form: Form, span: Span) -> Diagnostic:
    expected = {0: "no values", 1: "one value"}.get(form.positional, f"{form.positional} values")
    names = clip(", ".join(form.names[: form.positional]), 80)
    message = f"'{form.owner}' takes {expected}{f' ({names})' if names else ''}; this is one more."
    return Diagnostic("E013", message, span, help=_takes(form) if form.names else "")


def _missing(form: Form, missing: list[str], span: Span) -> Diagnostic:
    names = " and ".join(f"'{name}'" for name in missing)
    return Diagnostic("E013", f"'{form.owner}' needs {names}.", span, help=_takes(form))


def _convert(owner: str, option: Option, argument: Argument) -> tuple[Value, list[Diagnostic]]:
    try:
        value = option.domain.convert(argument.value)
    except ValueError:
        return None, [wrong_value(f"'{option.name}' of '{owner}'", option.domain, argument)]
    sides = value if isinstance(value, tuple) else (value,)
    if any(isinstance(side, int) and side > LARGEST_SIZE for side in sides):
        return None, [*out_of_range(show(argument.value), argument.span).diagnostics]
    return value, []


def wrong_value(what: str, domain: Domain, argument: Argument) -> Diagnostic:
    """Return the diagnostic for a value outside `domain` (E014)."""
    message = f"{what} must be {domain.description}, not {clip(show(argument.value))}."
    return Diagnostic("E014", message, argument.span)
