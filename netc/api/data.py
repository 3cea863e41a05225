"""Data sets as callers and the recipe name them, and the names of classes."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from netc.api.arrays import array_of
from netc.api.train_choices import ArrayData, Data
from netc.api.values import usage
from netc.errors import DataError, Diagnostic, UsageError, clip, did_you_mean, escaped
from netc.ir.datasets import DATA_SETS, SYNTHETIC
from netc.ir.facts import RecipeCall
from netc.ir.program import Bundle
from netc.text import Unreadable, json_text, read_text
from netc_runtime.io.checkpoint import classes_in, meta_of
from netc_runtime.io.problems import data_error, unreadable
from netc_runtime.session import image_inputs
from netc_runtime.train.arrays import CLASSES, Origin, array_set, needed
from netc_runtime.train.datasets import Dataset, byte_scale, open_dataset
from netc_runtime.train.images import Shape, Wanted
from netc_runtime.train.recognise import recognised
from netc_runtime.train.skipping import Skipping

ARRAYS_NAME = "npz"
"""The word for arrays, of a file or in memory."""
MISSING = "E061"
"""What is said of a file or folder that is not there."""


def data_call(given: str | None, bundle: Bundle) -> RecipeCall | None:
    """The data set that is given, or else the recipe's; None where there is neither."""
    return recipe_or(given, bundle.facts.data)


def recipe_or(given: str | None, recipe: RecipeCall | None) -> RecipeCall | None:
    """What is given, by its name, or else what a recipe says."""
    return recipe if given is None else named_data(given)


def images_like(given: Data | None, bundle: Bundle) -> str | None:
    """The data set, by its word, as which bytes and pictures are scaled for what was trained on the
    data that are given, or else on the recipe's; None where there is neither.
    """
    if isinstance(given, ArrayData):
        return given.like
    call = data_call(given, bundle)
    return None if call is None else call.name


def lasting_data(given: Data) -> Data:
    """The same data; of a file or folder that is named, what it was seen to be is said with it, so
    that nobody has to look again.
    """
    return call_text(named_data(given)) if isinstance(given, str) else given


def arrays_like(data: Data | None, before: Data | None, bundle: Bundle) -> Data | None:
    """The data; arrays are scaled as those that the weights were trained on before, or else the
    recipe's, and are a data set of their own where that has no bytes.
    """
    if not isinstance(data, ArrayData):
        return data
    word = images_like(before, bundle)
    return replace(data, like=ARRAYS_NAME if word in (None, SYNTHETIC) else word)


def open_data(given: Data | None, bundle: Bundle, training: bool = True) -> Dataset:
    """The data set that is given, or the recipe's, checked against the network.

    Without `training` it may lack training images. Raises DataError where there is none, or as
    `open_dataset`.
    """
    facts = bundle.facts
    inputs = {port.name: image_shape(port.shape[1:]) for port in image_inputs(bundle)}
    return open_named(given, facts.data, facts.image, facts.classes, inputs, training)


def image_shape(shape: Sequence[int]) -> Shape:
    """(C, H, W), of three numbers."""
    channels, height, width = shape
    return channels, height, width


def open_named(
    given: Data | None,
    recipe: RecipeCall | None,
    image: Shape,
    classes: int,
    inputs: Mapping[str, Shape],
    training: bool = True,
) -> Dataset:
    """The same for a network that takes images (C, H, W) in its first input, by what its recipe
    says.
    """
    if isinstance(given, ArrayData):
        own = replace(given, like=given.like or (recipe and recipe.name))
        return _of_arrays(own, Wanted(image, classes, training, _several(inputs)))
    call = recipe_or(given, recipe)
    if call is None:
        help = f"name one in a train block, or with '--data': {_choices()}."
        raise data_error("E060", "the network names no data set.", help)
    try:
        return open_dataset(*call, image, classes, inputs, training)
    except DataError as error:
        if given is not None or error.diagnostics[0].code != MISSING:
            raise
        raise _missing(error, call) from None


def _several(inputs: Mapping[str, Shape]) -> tuple[tuple[str, Shape], ...]:
    return tuple(inputs.items()) if len(inputs) > 1 else ()


def _of_arrays(data: ArrayData, wanted: Wanted) -> Dataset:
    """The data set of arrays in memory. Raises DataError as `array_set`, UsageError (E051) where
    some are missing or unknown.
    """
    given, names = data.arrays, needed(wanted)
    known = {*needed(replace(wanted, training=True)), CLASSES}
    problems = [f"the arrays lack '{name}'." for name in names if name not in given]
    problems += [f"there is no use for an array '{clip(n)}'." for n in given if n not in known]
    if problems:
        raise usage(" ".join(problems), f"arrays are: {', '.join(sorted(known))}.")
    arrays = {name: array_of(name, each) for name, each in given.items()}
    of_use = {name: each for name, each in arrays.items() if name in {*names, CLASSES}}
    return array_set(Origin(), of_use, wanted, partial(byte_scale, data.like))


def skipping(bad: int, dataset: Dataset) -> Dataset:
    """The data set, of which so many images need not be readable."""
    return Skipping(dataset, bad) if bad else dataset


def _missing(error: DataError, call: RecipeCall) -> DataError:
    """Where what the recipe names is not there, what else may be named."""
    first, *rest = error.diagnostics
    where = f"the network's recipe names {call_text(call)}; paths start at the current folder."
    help = f"{first.help}; or name other data with '--data': {_choices()}."
    return DataError(replace(first, notes=(*first.notes, escaped(where)), help=help), *rest)


def _choices() -> str:
    """All data sets, as they are given to `--data`."""
    tried = DATA_SETS[SYNTHETIC]
    others = (f"'{each.example}'" for word, each in DATA_SETS.items() if word != SYNTHETIC)
    return f"'{tried.example}', {tried.about}; or {', '.join(others)}"


def call_text(call: RecipeCall) -> str:
    """As a recipe writes it."""
    values = [*map(json_text, call.args), *(f"{k}={json_text(v)}" for k, v in call.kwargs.items())]
    return f"{call.name}({', '.join(values)})"


def class_names(
    given: Data | None, bundle: Bundle, weights: Path, file: str | None = None
) -> tuple[str, ...]:
    """What the classes are called: by the file asked for, the weights' file, the data set, or 0 up.

    They are escaped, fit to be shown. Raises DataError where the file asked for cannot be read
    (E061) or has another number (E067).
    """
    count = bundle.facts.classes
    if file is not None:
        return _names_in(Path(file), count)
    names = classes_in(meta_of(weights))
    if names is None or len(names) != count:
        names = _names_of_data(given, bundle)
    return tuple(map(escaped, names or map(str, range(count))))


def _names_in(path: Path, count: int) -> tuple[str, ...]:
    try:
        lines = read_text(path).rstrip().split("\n")
    except Unreadable as error:
        raise unreadable(path, error, error.help) from None
    names = tuple(escaped(line.strip()) for line in lines)
    help = "write one name a line, in the order of the classes."
    if "" in names:
        raise data_error("E067", f"line {names.index('') + 1} of '{path}' is empty.", help)
    if len(names) != count:
        message = f"'{path}' names {len(names):,} classes; the network tells {count:,} apart."
        raise data_error("E067", message, help)
    return names


def _names_of_data(given: Data | None, bundle: Bundle) -> tuple[str, ...]:
    """Those of the data set where it is there; nothing else is wanted of it."""
    try:
        return open_data(given, bundle, training=False).classes
    except DataError:
        return ()


def named_data(text: str) -> RecipeCall:
    """What `--data` names: a call as in a recipe, or a file or folder.

    Raises UsageError (E051) where it is no call, and DataError as `recognised`.
    """
    call = _parse(text)
    if call is not None and (call.name in DATA_SETS or not os.path.exists(text)):
        return call
    if "(" not in text or os.path.exists(text):
        return _at(text)
    message = f"'--data {clip(text, 80)}' is not a data set."
    hint = (
        "write it as in a recipe, for example --data 'idx(\"folder\")', or name a file or folder."
    )
    raise UsageError(Diagnostic("E051", message, help=hint))


def _at(path: str) -> RecipeCall:
    """The data set at a path; where there is nothing, it may be a word that is mistyped."""
    if not os.path.exists(path):
        message = f"there is no data set, file or folder '{path}'."
        raise data_error(
            "E061", message, f"{did_you_mean(path, DATA_SETS)}known are: {_choices()}."
        )
    return recognised(path)


def _parse(text: str) -> RecipeCall | None:
    """A data set as written in a recipe, name("folder", option=value); a known name alone."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if isinstance(tree, ast.Name) and tree.id in DATA_SETS:
            return RecipeCall(tree.id, (), {})
        if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            args = tuple(map(_value, tree.args))
            named = {k.arg: _value(k.value) for k in tree.keywords if k.arg}
            if len(named) == len(tree.keywords):
                return RecipeCall(tree.func.id, args, named)
    except (SyntaxError, ValueError, KeyError, TypeError, RecursionError, MemoryError):
        pass
    return None


def _value(node: ast.expr) -> object:
    """A text, a number, or true and false as a recipe has them."""
    words = {"true": True, "false": False}
    return words[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)
