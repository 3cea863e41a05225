"""The `train` block: settings, and the words they know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netc.errors import Diagnostic, Span, SyntaxProblem, clip, did_you_mean
from netc.ir import augmentations, datasets, optimizers, schedules
from netc.ir.datasets import DataArgument
from netc.numbers import NamedNumber
from netc.syntax import ast
from netc.syntax.domains import (
    BELOW_ONE,
    BOOLEAN,
    COUNT,
    EPOCHS,
    NAME_PATTERN,
    NATURAL,
    NON_NEGATIVE,
    POSITIVE,
    RATE_FACTOR,
    TEXT,
    Domain,
    domain_of,
)
from netc.syntax.evaluate import evaluate
from netc.syntax.network import Call, NamedValues, Recipe
from netc.syntax.signature import Argument, Option, Signature, evaluate_arguments, wrong_value


def _words(*signatures: Signature) -> dict[str, Signature]:
    return {each.name: each for each in signatures}


def _told(argument: DataArgument) -> Option:
    kinds = {"path": TEXT, "truth": BOOLEAN}
    domain = kinds[argument.kind] if isinstance(argument.kind, str) else domain_of(argument.kind)
    return Option(argument.name, domain, required=argument.required)


DATA = _words(
    *(
        Signature(
            word, tuple(map(_told, each.arguments)), sum(a.kind == "path" for a in each.arguments)
        )
        for word, each in datasets.DATA_SETS.items()
    )
)
"""The data sets."""


def _options(arguments: Sequence[NamedNumber]) -> tuple[Option, ...]:
    return tuple(
        Option(each.name, domain_of(each.kind), each.default, required=each.default is None)
        for each in arguments
    )


SCHEDULES = _words(
    *(
        Signature(word, _options(each.arguments), len(each.arguments))
        for word, each in schedules.SCHEDULES.items()
    )
)
"""How the learning rate changes."""

AUGMENTATIONS = _words(
    *(
        Signature(
            word,
            _options(each.arguments),
            sum(argument.default is None for argument in each.arguments),
        )
        for word, each in augmentations.AUGMENTATIONS.items()
    )
)
"""What is done to the examples."""


OPTIMIZERS = _words(
    *(Signature(word, _options(each.arguments)) for word, each in optimizers.OPTIMIZERS.items())
)
"""How the weights are updated."""

WEIGHTS = Signature(
    "weights",
    (
        Option("pattern", NAME_PATTERN, required=True),
        Option("decay", NON_NEGATIVE, None),
        Option("rate", RATE_FACTOR, 1.0),
        Option("frozen", BOOLEAN, False),
    ),
    1,
)
"""What moves some weights otherwise than the rest."""

CALLS = {
    "data": ("data set", DATA),
    "schedule": ("schedule", SCHEDULES),
    "augment": ("augmentation", AUGMENTATIONS),
}
"""Settings that are words with arguments: what those are called, and which there are."""
VALUES = {
    "batch": COUNT,
    "rate_batch": COUNT,
    "epochs": EPOCHS,
    "seed": NATURAL,
    "clip": POSITIVE,
    "ema": BELOW_ONE,
    "accumulate": COUNT,
}
"""Settings of one value."""
SETTINGS = (*CALLS, *VALUES, *OPTIMIZERS, WEIGHTS.name)
"""The first words of the lines of `train`."""
_OTHERS = ", ".join(sorted(optimizers.OPTIMIZERS.keys() - {"adamw"}))
OPTIMIZER = "optimizer"
"""What the field of `Recipe` is called that a line of any of `OPTIMIZERS` fills."""

_UNNAMED = frozenset(("path", "pixels", "pattern"))
"""Arguments that `Call.args` holds; all others are in `Call.kwargs`."""


def build_recipe(
    train: ast.Train, parameters: Mapping[str, ast.Scalar]
) -> tuple[Recipe, list[Diagnostic]]:
    """Return the recipe that `train` says, and what is wrong with it.

    The problems are those of expressions (E011, E017), of options (E012 to E014), unknown words
    (E030), settings of the wrong form (E031) and settings given twice (E032).
    """
    fields: dict[str, Any] = {}
    spans: dict[str, Span] = {}
    problems: list[Diagnostic] = []
    for setting in train.settings:
        try:
            field, value = _read(setting, parameters)
            if field == WEIGHTS.name:
                value = (*fields.get(field, ()), value)
            else:
                _check_new(field, setting, spans)
            fields[field], spans[field] = value, setting.span
        except SyntaxProblem as problem:
            problems += problem.diagnostics
    return Recipe(**fields, spans=tuple(spans.items())), problems


def _check_new(field: str, setting: ast.Setting, spans: Mapping[str, Span]) -> None:
    if field in spans:
        message = f"'{setting.word.text}' is given twice."
        if field == OPTIMIZER:
            message = f"'{setting.word.text}' is a second optimizer."
        note = f"first at {spans[field].place}"
        raise SyntaxProblem(Diagnostic("E032", message, setting.word.span, notes=(note,)))


def _read(setting: ast.Setting, parameters: Mapping[str, ast.Scalar]) -> tuple[str, Any]:
    """Return the recipe's field and the value that one line gives it."""
    word = setting.word.text
    if word in CALLS:
        calls = _read_calls(setting, parameters)
        return word, calls if word == "augment" else calls[0]
    if word in VALUES:
        return word, _read_value(setting, VALUES[word], parameters)
    if word in OPTIMIZERS:
        return OPTIMIZER, _read_optimizer(setting, parameters)
    if word == WEIGHTS.name:
        return word, _read_weights(setting, parameters)
    raise SyntaxProblem(unknown_setting(setting.word, SETTINGS))


def unknown_setting(word: ast.Word, known: Sequence[str]) -> Diagnostic:
    """Return the diagnostic for a first word that `train` does not have (E030)."""
    message = f"'train' has no setting '{clip(word.text)}'."
    hint = f"{did_you_mean(word.text, known)}it takes: {', '.join(sorted(known))}."
    if word.text == OPTIMIZER and OPTIMIZER not in known:
        hint = f"the optimizer's own word begins the line: 'adamw lr=0.001', or {_OTHERS}."
    return Diagnostic("E030", message, word.span, help=hint)


def field_of(word: str) -> str:
    """Return the field of `Recipe` that a line with that first word fills."""
    return OPTIMIZER if word in OPTIMIZERS else word


def positional(setting: str, called: str) -> tuple[str, ...]:
    """Return the arguments by position of what a setting calls; none of an unknown word."""
    _, known = CALLS.get(setting, ("", {}))
    form = known[called].form if called in known else None
    return form.names[: form.positional] if form else ()


def _read_value(
    setting: ast.Setting, domain: Domain, parameters: Mapping[str, ast.Scalar]
) -> object:
    if len(setting.values) != 1 or setting.options or isinstance(setting.values[0], ast.Call):
        message = f"'{setting.word.text}' takes one value."
        raise SyntaxProblem(Diagnostic("E031", message, setting.span))
    expression = setting.values[0]
    argument = Argument(None, evaluate(expression, parameters), expression.span)
    try:
        return domain.convert(argument.value)
    except ValueError:
        raise SyntaxProblem(wrong_value(f"'{setting.word.text}'", domain, argument)) from None


def _read_optimizer(setting: ast.Setting, parameters: Mapping[str, ast.Scalar]) -> Call:
    word = setting.word.text
    if setting.values:
        message = f"'{word}' takes options only."
        hint = f"for example '{word} lr=0.01'."
        raise SyntaxProblem(Diagnostic("E031", message, setting.values[0].span, help=hint))
    arguments = evaluate_arguments(setting.options, parameters)
    options = OPTIMIZERS[word].bind(arguments, setting.span)
    return Call(word, (), options, setting.span)


def _read_weights(setting: ast.Setting, parameters: Mapping[str, ast.Scalar]) -> Call:
    if len(setting.values) != 1 or isinstance(setting.values[0], ast.Call) or not setting.options:
        message = "'weights' takes a pattern of names, and what is otherwise for them."
        hint = "for example 'weights \"*.bias\" decay=0'."
        raise SyntaxProblem(Diagnostic("E031", message, setting.span, help=hint))
    pattern = setting.values[0]
    arguments = evaluate_arguments(setting.options, parameters)
    first = Argument(None, evaluate(pattern, parameters), pattern.span)
    return _called(WEIGHTS, (first, *arguments), setting.span)


def _read_calls(setting: ast.Setting, parameters: Mapping[str, ast.Scalar]) -> tuple[Call, ...]:
    word = setting.word.text
    noun, known = CALLS[word]
    calls = [each for each in setting.values if isinstance(each, ast.Call)]
    whole = len(calls) == len(setting.values) and not setting.options
    if not whole or not calls or (len(calls) > 1 and word != "augment"):
        count = "one or more, each" if word == "augment" else "one"
        message = f"'{word}' takes {count} of: {_forms(known)}."
        raise SyntaxProblem(Diagnostic("E031", message, setting.span))
    read = tuple(_read_call(each, noun, known, parameters) for each in calls)
    words = [call.name for call in read]
    for position, call in enumerate(read if word == "augment" else ()):
        if message := augmentations.misfit(words[:position], call.name, call.kwargs):
            raise SyntaxProblem(Diagnostic("E014", message, call.span))
    return read


def _forms(known: Mapping[str, Signature]) -> str:
    return ", ".join(f"{each.name}({', '.join(each.form.names)})" for each in known.values())


def _read_call(
    call: ast.Call,
    noun: str,
    known: Mapping[str, Signature],
    parameters: Mapping[str, ast.Scalar],
) -> Call:
    word = call.name.text
    if word not in known:
        raise SyntaxProblem(unknown_word(call.name, noun, known))
    return _called(
        known[word], evaluate_arguments(call.arguments, parameters), call.span, told=True
    )


def unknown_word(word: ast.Word, noun: str, known: Mapping[str, Signature]) -> Diagnostic:
    """Return the diagnostic for a word that is none of the known ones (E030)."""
    message = f"there is no {noun} '{clip(word.text)}'."
    hint = f"{did_you_mean(word.text, known)}known are: {_forms(known)}."
    return Diagnostic("E030", message, word.span, help=hint)


def _called(
    signature: Signature, arguments: Sequence[Argument], span: Span, told: bool = False
) -> Call:
    """With `told`, without what was not given and has no default."""
    bound = signature.bind(arguments, span).pairs
    pairs = [each for each in bound if each[1] is not None or not told]
    args = tuple(value for name, value in pairs if name in _UNNAMED)
    kwargs = NamedValues(tuple(each for each in pairs if each[0] not in _UNNAMED))
    return Call(signature.name, args, kwargs, span)
