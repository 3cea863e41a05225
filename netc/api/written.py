"""Files that are written, and names in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netc.api.choices import NAMES, Names, number, one_of
from netc.api.values import usage_all
from netc.errors import Diagnostic, UsageError
from netc.ir.optimizers import AVERAGE
from netc.numbers import COUNT
from netc_runtime.io import tensors

ONNX, WEIGHTS = ".onnx", ".safetensors"
"""Suffixes of files that other tools read."""


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a file is written."""

    suffix: str
    """In small letters."""
    names: Names = "torch"
    """Of weights."""
    batch: int | None = None
    """Images that an ONNX model takes; None is any number."""


def form_problems(suffix: str, names: object, batch: object) -> list[str]:
    """What is asked of a file that has no use for it."""
    problems = []
    if names is not None and suffix != WEIGHTS:
        problems.append("'--names' is for '--format safetensors'; other files have netc's names.")
    if batch is not None and suffix != ONNX:
        problems.append("'--batch' is for '--format onnx'; weights have no batch.")
    return problems


def file_form(
    file: Path, known: Sequence[str], what: str, names: object, batch: object, hint: str = ""
) -> FileForm:
    """How a file of `what` is written that Python asks for, whose suffix is one of those `known`.

    Raises UsageError: E056 for another suffix, with a hint of what else to do, E051 for what is
    wrong.
    """
    if (suffix := file.suffix.lower()) not in known:
        message = f"cannot write {what} as '{file.name or file}'."
        help = f"it is written as {', '.join(known)}.{hint and ' '}{hint}"
        raise UsageError(Diagnostic("E056", message, help=help))
    named = None if names is None else one_of(NAMES)("names", names)
    fixed = None if batch is None else int(number(COUNT)("batch", batch))
    if problems := form_problems(suffix, named, fixed):
        raise usage_all(problems)
    return FileForm(suffix, named or "torch", fixed)


def unwritable(path: Path, error: OSError) -> UsageError:
    """The error for a file that cannot be written."""
    return UsageError(Diagnostic("E054", f"cannot write '{path}': {error.strerror}."))


def write_text(path: Path, text: str) -> None:
    """Write a text; UsageError (E054) where the system refuses."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from None


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Weights by other names: the averages, where there are some, as the weights."""
    own = dict.fromkeys(name.removesuffix(AVERAGE) for name in values)
    best = {name: values[name + AVERAGE if name + AVERAGE in values else name] for name in own}
    return {names.get(name, name): value for name, value in best.items()}


def write_weights(path: Path, network: str, values: Mapping[str, Any]) -> None:
    """Write weights of a network as safetensors; DataError where the system refuses."""
    tensors.write(path, dict(values), {"network": network})
