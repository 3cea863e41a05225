"""`--set train.PATH=VALUE`: a recipe's values from the command line.

They are parsed as lines of a `train` block, and put into its tree in place of what the file says.
What a word takes is decided where that tree is read (`netc.syntax.recipe`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from netc.errors import (
    ERROR_LIMIT,
    Diagnostic,
    Source,
    Span,
    SyntaxProblem,
    UsageError,
    clip,
    did_you_mean,
)
from netc.syntax import ast
from netc.syntax.network import Call, WholeRecipe
from netc.syntax.parser import parse_source
from netc.syntax.recipe import (
    CALLS,
    OPTIMIZER,
    OPTIMIZERS,
    SETTINGS,
    VALUES,
    WEIGHTS,
    field_of,
    positional,
    unknown_setting,
    unknown_word,
)

PLACE = "--set"
"""What messages call the place of such a value."""
_ROOT = "train"
_KNOWN = (*SETTINGS, OPTIMIZER)
_PART = re.compile(r"[A-Za-z_]\w*", re.A)
_EXAMPLES = "for example --set train.sgd.lr=0.02 or --set 'train.schedule=cosine(warmup=1)'."


class Override(NamedTuple):
    """One value, and what it is put in place of."""

    path: tuple[ast.Word, ...]
    """The words behind `train`: those of a setting, of what that calls, of an option."""
    setting: ast.Setting
    """A line that is the first word, then the others as values, then the option; or the whole line,
    where the path is one word. Nothing follows its first word where that is to be left out."""


def parse_overrides(texts: Sequence[str]) -> tuple[Override, ...]:
    """Return what the texts say, one `train.PATH=VALUE` each.

    Raise `UsageError`: E026 for what is not of that form, E030 for an unknown setting, E031 for one
    that is not set so, and what the parser says of values.
    """
    source, start = Source(PLACE, "\n".join(texts)), 0
    overrides: list[Override] = []
    problems: list[Diagnostic] = []
    for text in texts:
        try:
            path = _path(source, start, text)
            overrides.append(Override(path, _parsed(source, start, text, path)))
        except UsageError as problem:
            problems += problem.diagnostics
        start += len(text) + 1
    if problems:
        raise UsageError(*problems[:ERROR_LIMIT])
    return tuple(overrides)


def _parsed(source: Source, start: int, text: str, path: tuple[ast.Word, ...]) -> ast.Setting:
    """Return the line of a block that a text stands for, with its places in `source`."""
    value, end = text.partition("=")[2], start + len(text)
    words = " ".join(each.text for each in path)
    line = f"{_ROOT}{{{words}{'=' if len(path) > 1 else ' '}{value}"
    assert len(line) == len(text), "every place in one is the same place in the other"
    before = re.sub("[^\n]", " ", source.text[:start])
    try:
        statements = parse_source(Source(PLACE, f"{before}{line}\n}}")).statements
    except SyntaxProblem as problem:
        raise UsageError(*(_shown(each, source, end) for each in problem.diagnostics)) from None
    settings = [each for train in statements if isinstance(train, ast.Train) for each in train[0]]
    if len(statements) != 1 or len(settings) != 1:
        raise _malformed(text, "one setting", "give '--set' once for each.")
    (setting,) = settings
    if len(path) > 1 and len(setting.options) != 1:
        raise _malformed(text, "one value", "give '--set' once for each.")
    moved: ast.Setting = _moved(setting, source)
    return moved


def _shown(problem: Diagnostic, source: Source, end: int) -> Diagnostic:
    """Return what the parser says, in what a person wrote: that ends before the brace."""
    assert problem.span is not None
    if problem.span.start < end:
        return replace(problem, span=_moved(problem.span, source))
    message = "the value is not whole: something is missing at its end."
    return Diagnostic(problem.code, message, Span(source, end, end + 1))


def _path(source: Source, start: int, text: str) -> tuple[ast.Word, ...]:
    """Return the words of a path; raise `UsageError` for a path that cannot be set."""
    path, equals, _ = text.partition("=")
    root, *parts = path.split(".")
    if root != _ROOT and text.isprintable():
        near = did_you_mean(path, [_ROOT, *(f"{_ROOT}.{word}" for word in _KNOWN)])
        raise _malformed(text, "of the form train.NAME=VALUE", near + _EXAMPLES)
    if not (equals and parts and all(map(_PART.fullmatch, parts)) and text.isprintable()):
        raise _malformed(text, "of the form train.NAME=VALUE", _EXAMPLES)
    words, at = [], start + len(root) + 1
    for part in parts:
        words.append(ast.Word(part, Span(source, at, at + len(part))))
        at += len(part) + 1
    first = words[0]
    if first.text not in _KNOWN:
        raise UsageError(unknown_setting(first, _KNOWN))
    if len(words) == 1 and first.text in OPTIMIZERS:
        hint = f"an optimizer as a whole is taken by {_whole(first)}."
        raise _wrong("E031", f"'{first.text}' has options, each of which can be set.", first, hint)
    if len(words) > 1 and first.text in VALUES:
        raise _wrong("E031", f"'{first.text}' takes one value, and has no options.", words[1], "")
    if len(words) > 1 and first.text == WEIGHTS.name:
        hint = f"for example --set '{_ROOT}.{first.text}=\"*.bias\" decay=0', which adds a line."
        raise _wrong("E031", f"'{first.text}' is set as a whole line.", first, hint)
    return tuple(words)


def with_overrides(train: ast.Train | None, overrides: Sequence[Override]) -> ast.Train | None:
    """Return the block with the values in place of its own, one after the other.

    Raise `UsageError` (E030) for what a value cannot be put into.
    """
    settings = train.settings if train else ()
    for each in overrides:
        settings = _put(settings, each) if len(each.path) == 1 else _put_option(settings, each)
    return train._replace(settings=settings) if train else _block(settings, overrides)


def _block(settings: tuple[ast.Setting, ...], overrides: Sequence[Override]) -> ast.Train | None:
    return ast.Train(settings, overrides[0].setting.span) if overrides else None


def _put(settings: tuple[ast.Setting, ...], override: Override) -> tuple[ast.Setting, ...]:
    """The lines with a whole one in place of that of the same setting; rules add up."""
    setting = override.setting
    field, empty = setting.word.text, not (setting.values or setting.options)
    if field == OPTIMIZER and not empty:
        setting = _optimizer(setting)
    adds = field == WEIGHTS.name and not empty
    kept = tuple(each for each in settings if adds or field_of(each.word.text) != field)
    return kept if empty else (*kept, setting)


def _optimizer(setting: ast.Setting) -> ast.Setting:
    """The line of an optimizer that is written as a call, `adamw(lr=0.001)`, or by its word."""
    value = setting.values[0] if setting.values else None
    word = value.name if isinstance(value, ast.Call) else value
    if len(setting.values) != 1 or setting.options or not isinstance(word, ast.Word | ast.Name):
        message = "an optimizer is its word, with options in parentheses."
        hint = f"for example {_whole(ast.Word('adamw', setting.span))}."
        raise _wrong("E031", message, setting, hint)
    name = ast.Word(*word)
    if name.text not in OPTIMIZERS:
        raise UsageError(unknown_word(name, OPTIMIZER, OPTIMIZERS))
    arguments = value.arguments if isinstance(value, ast.Call) else ()
    values = tuple(each for each in arguments if not isinstance(each, ast.Option))
    options = tuple(each for each in arguments if isinstance(each, ast.Option))
    return ast.Setting(name, values, options, setting.span)


def _put_option(settings: tuple[ast.Setting, ...], override: Override) -> tuple[ast.Setting, ...]:
    """The lines with one option in place of that of the same name, or as a further one."""
    first = override.path[0]
    field = field_of(first.text)
    lines = [each for each in settings if field_of(each.word.text) == field] or _default(first)
    if not lines:
        message = f"the recipe has no '{field}' whose options could be set."
        raise _wrong("E030", message, first, f"set it as a whole: --set '{_ROOT}.{field}=...'.")
    kept = tuple(each for each in settings if field_of(each.word.text) != field)
    return (*kept, *(_changed(line, override) for line in lines))


def _default(word: ast.Word) -> list[ast.Setting]:
    """The line that stands for what the file does not say, if anything can."""
    if word.text not in (*CALLS, *OPTIMIZERS, OPTIMIZER):
        return [ast.Setting(word, (), (), word.span)]
    call = getattr(WholeRecipe(), field_of(word.text), None)
    if not isinstance(call, Call):
        return []
    told = tuple(
        ast.Option(ast.Word(name, word.span), ast.Literal(value, word.span), word.span)
        for name, value in call.kwargs.items()
        if value is not None
    )
    name = ast.Word(call.name, word.span)
    if call.name in OPTIMIZERS:
        return [ast.Setting(name, (), told, word.span)]
    return [ast.Setting(word, (ast.Call(name, told, word.span),), (), word.span)]


def _changed(line: ast.Setting, override: Override) -> ast.Setting:
    first, *within = override.path[:-1]
    (option,) = override.setting.options
    if first.text in OPTIMIZERS and line.word.text != first.text:
        message = f"the optimizer is '{line.word.text}', not '{first.text}'."
        hint = f"another is taken by {_whole(first)}."
        raise _wrong("E030", message, first, hint)
    calls = [each for each in line.values if isinstance(each, ast.Call)]
    if len(within) > bool(calls):
        raise _wrong("E030", f"'{within[-1].text}' has no options here.", within[-1], _EXAMPLES)
    if not calls:
        kept = (each for each in line.options if each.name.text != option.name.text)
        return line._replace(options=(*kept, option))
    called = _called(calls, override, within)
    values = (
        _with_option(first.text, each, option) if each in called else each for each in line.values
    )
    return line._replace(values=tuple(values))


def _called(calls: list[ast.Call], override: Override, within: list[ast.Word]) -> list[ast.Call]:
    """Those of the calls in a line that a path means."""
    first, option = override.path[0].text, override.path[-1]
    names = [each.name.text for each in calls]
    known = f"there {'are' if len(names) > 1 else 'is'} {', '.join(dict.fromkeys(names))}."
    if not within:
        if len(calls) == 1:
            return calls
        hint = f"for example --set {_ROOT}.{first}.{names[0]}.{option.text}=...; {known}"
        message = f"'{first}' has several words: say whose '{clip(option.text)}' is set."
        raise _wrong("E030", message, option, hint)
    (word,) = within
    found = [each for each in calls if each.name.text == word.text]
    if not found:
        message = f"the recipe's '{first}' has no '{clip(word.text)}'."
        raise _wrong("E030", message, word, did_you_mean(word.text, names) + known)
    return found


def _with_option(setting: str, call: ast.Call, option: ast.Option) -> ast.Call:
    """The call with an option; what it gives by position stays so."""
    names = iter(positional(setting, call.name.text))
    arguments: list[ast.Expression | ast.Option] = []
    replaced = False
    for each in call.arguments:
        named = isinstance(each, ast.Option)
        name = each.name.text if isinstance(each, ast.Option) else next(names, None)
        if name != option.name.text:
            arguments.append(each)
            continue
        arguments.append(option if named else option.value)
        replaced = True
    return call._replace(arguments=(*arguments, *(() if replaced else (option,))))


def _moved(node: Any, source: Source) -> Any:
    """Return what was parsed with its places in another source."""
    if isinstance(node, Span):
        return replace(node, source=source)
    if not isinstance(node, tuple):
        return node
    parts = [_moved(each, source) for each in node]
    return type(node)(*parts) if hasattr(node, "_fields") else tuple(parts)


def _whole(optimizer: ast.Word) -> str:
    return f"--set '{_ROOT}.{OPTIMIZER}={optimizer.text}(lr=0.01)'"


def _wrong(code: str, message: str, at: ast.Word | ast.Setting, hint: str) -> UsageError:
    return UsageError(Diagnostic(code, message, at.span, help=hint))


def _malformed(text: str, form: str, hint: str) -> UsageError:
    return UsageError(Diagnostic("E026", f"'{PLACE} {clip(text, 80)}' is not {form}.", help=hint))
