"""What may be chosen of a training, by name: options of the command line, words of Python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict

from netc.api.choices import AUTO, Read, flag, number, one_of, wrong
from netc.api.values import path_text, wrong_use
from netc.errors import Diagnostic, UsageError
from netc.numbers import COUNT, NATURAL, NON_NEGATIVE

ON_NAN: tuple[Literal["stop", "rollback"], ...] = ("stop", "rollback")
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
"""The names of four arrays that are given without names."""
HELD_OUT = ARRAYS[2:]
"""The names of two."""


@dataclass(frozen=True, slots=True)
class ArrayData:
    """A data set of arrays in memory."""

    arrays: Mapping[str, Any]
    """By the names that `npz` has for them."""
    like: str | None = None
    """The data set as whose bytes theirs are scaled; None for the recipe's."""


Data = str | ArrayData
"""A data set as `--data` has it, or arrays."""


@dataclass(frozen=True, slots=True)
class WeightChoices:
    """Which weights are taken, and in what they may differ from a network's."""

    path: str | None = None
    """A file, or a folder for its newest checkpoint; None takes what else there is."""
    allow_missing: Sequence[str] = ()
    """Patterns of weights that the file may lack, or have in another shape."""
    allow_unexpected: Sequence[str] = ()
    """Patterns of tensors that no layer has."""


@dataclass(frozen=True, slots=True)
class TrainChoices:
    """What is asked of a training; None leaves it to the recipe."""

    data: Data | None = None
    epochs: int | None = None
    steps: int | None = None
    """After which it ends, whatever the epochs."""
    lr: float | None = None
    """Of `rate_batch` images, where the recipe says so."""
    seed: int | None = None
    patience: int | None = None
    save_every: int | None = None
    on_nan: Literal["stop", "rollback"] = "stop"
    skip_bad: int = 0
    out: str | None = None
    """The folder for metrics and checkpoints; None writes nothing."""
    keep: int | None = None
    resume: str | None = None
    """A checkpoint, or a folder of some; `AUTO`, or empty for the newest in `out`."""
    replace: bool = False
    trace: str | None = None
    """The file to which some steps are traced."""
    trace_steps: int | None = None
    """How many; None is one."""
    weights: WeightChoices = field(default_factory=WeightChoices)

    def __post_init__(self) -> None:
        """Refuse what excludes each other, or does nothing (E051)."""
        problems = [*self._homeless(), *unused_patterns(self.weights)]
        if self.weights.path is not None and self.resume not in (None, AUTO):
            message = "'--weights' begins a training, '--resume' goes on with one: take one."
            problems.append(wrong_use(message))
        if self.replace and self.resume in ("", AUTO):
            message = "'--resume' goes on with the training in a folder, '--replace' removes it."
            problems.append(wrong_use(message))
        if self.trace is None and self.trace_steps is not None:
            hint = "write one, with '--trace FILE.json'."
            problems.append(wrong_use("'--trace-steps' needs a trace.", hint))
        if problems:
            raise UsageError(*problems)

    def _homeless(self) -> Iterator[Diagnostic]:
        """What is of a folder, where there is none."""
        given = {
            "--keep": self.keep is not None,
            "--save-every": self.save_every is not None,
            "--on-nan rollback": self.on_nan == "rollback",
            "--resume": self.resume in ("", AUTO),
            "--replace": self.replace,
        }
        for name, is_given in given.items() if self.out is None else ():
            if is_given:
                message = f"'{name}' is of checkpoints, and without a folder there are none."
                yield wrong_use(message, "name it, with '--out DIR'.")


def unused_patterns(weights: WeightChoices) -> Iterator[Diagnostic]:
    """Patterns of weights where no file has any (E051)."""
    if weights.path is None and (weights.allow_missing or weights.allow_unexpected):
        yield wrong_use("'--allow-missing' and '--allow-unexpected' need '--weights'.")


class TrainWords(TypedDict, total=False):
    """What may be said of a training, by name: as the options of `netc run`, with underscores."""

    data: str | os.PathLike[str] | Sequence[Any] | Mapping[str, Any]
    epochs: int
    steps: int
    lr: float
    seed: int
    patience: int
    save_every: int
    on_nan: Literal["stop", "rollback"]
    skip_bad: int
    out: str | os.PathLike[str]
    keep: int
    resume: bool | str | os.PathLike[str]
    replace: bool
    trace: str | os.PathLike[str]
    trace_steps: int
    weights: str | os.PathLike[str]
    allow_missing: Sequence[str]
    allow_unexpected: Sequence[str]


def train_choices(words: Mapping[str, Any]) -> TrainChoices:
    """The choices that are given by name. What is None is as if it were not given.

    Raises UsageError (E051) for wrong values, and for what excludes each other.
    """
    given = {name: _READ[name](name, value) for name, value in words.items() if value is not None}
    names = {"path": "weights", "allow_missing": "allow_missing",
             "allow_unexpected": "allow_unexpected"}  # fmt: skip
    weights = {key: given.pop(name) for key, name in names.items() if name in given}
    return TrainChoices(**given, weights=WeightChoices(**weights))


def read_data(name: str, value: object) -> Data:
    """A data set: as `--data` has it, or as arrays."""
    if isinstance(value, str | os.PathLike):
        return value if isinstance(value, str) else path_text(name, value)
    if isinstance(value, Mapping):
        return ArrayData({str(key): each for key, each in value.items()})
    if isinstance(value, Sequence) and len(value) == len(ARRAYS):
        return ArrayData(dict(zip(ARRAYS, value, strict=True)))
    wanted = f"a data set by its name, a folder, or arrays ({', '.join(ARRAYS)})"
    raise wrong(name, wanted, value)


def read_held_out(name: str, value: object) -> Data:
    """The same for an evaluation, which two arrays are enough for."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == len(HELD_OUT):
        return ArrayData(dict(zip(HELD_OUT, value, strict=True)))
    return read_data(name, value)


def patterns(name: str, value: object) -> tuple[str, ...]:
    """Patterns of names."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        raise wrong(name, "patterns, such as ['fc8.*']", value)
    return tuple(value)


def weights_file(name: str, value: object) -> str:
    """A file of weights; who has them as arrays is told where to give them."""
    hint = "a network has arrays, 'network.with_weights(trained.weights())', and trains with them."
    return path_text(name, value, hint)


def _resume(name: str, value: object) -> str | None:
    if isinstance(value, bool):
        return "" if value else None
    return path_text(name, value)


_READ: dict[str, Read] = {
    "data": read_data,
    "epochs": number(COUNT),
    "steps": number(COUNT),
    "lr": number(NON_NEGATIVE),
    "seed": number(NATURAL),
    "patience": number(COUNT),
    "save_every": number(COUNT),
    "on_nan": one_of(ON_NAN),
    "skip_bad": number(NATURAL),
    "out": path_text,
    "keep": number(COUNT),
    "resume": _resume,
    "replace": flag,
    "trace": path_text,
    "trace_steps": number(COUNT),
    "weights": weights_file,
    "allow_missing": patterns,
    "allow_unexpected": patterns,
}
"""By name how a value is read."""
TRAIN_NAMES = tuple(_READ)
"""The names of `TrainWords`."""
assert {each.name for each in fields(TrainChoices)} <= set(TRAIN_NAMES)
