"""What may be chosen of a plan, by name: options of the command line, words of Python.

Nothing heavy is imported here: the help of the command line tells of it, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypedDict

from netc.api.values import path_text, shown, usage, value_text
from netc.errors import UsageError, did_you_mean
from netc.numbers import COUNT, DEVICES, MEASURE, Number

AUTO = "auto"
"""A strategy: what a search finds. A batch: the largest that fits."""
INFERENCE = "inference"
"""In place of training, what is planned for."""
SCHEMES = ("a", "b", "c")
FC_UPDATES = ("step", "round")
UPDATES = ("replicated", "sharded")
PRECISIONS = ("fp32", "tf32", "bf16", "fp64")
KERNELS = ("auto", "fast", "reference", "native", "vendor")
GOALS = ("training", INFERENCE)
TARGETS = ("cpu", "cuda")
Names = Literal["netc", "torch"]
NAMES: tuple[Names, ...] = ("netc", "torch")
"""Whose names weights have."""
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]i?)B?", re.IGNORECASE)
SIZE = "a size such as 16GiB or 500MB"


@dataclass(frozen=True, slots=True)
class PlanChoices:
    """What is asked of a plan; None leaves it to the recipe, the strategy file or the machine."""

    devices: int | None = None
    """In a row."""
    mesh: str | None = None
    """Devices on two axes: "2x2"."""
    strategy: str | None = None
    """Its name, or its file."""
    batch: int | str | None = None
    """Images of a step, over all devices; `AUTO` is the largest that fits."""
    memory: float | None = None
    """Bytes of a device."""
    search_labels: str | None = None
    """By what a search may split: "n,k"."""
    no_share: bool = False
    """Whether a search may split equal blocks differently."""
    exact_memory: bool = False
    """Whether a search for what fits carries sets of seconds and bytes."""
    pin: tuple[str, ...] = ()
    """The split of some layers, "fc*=k" each."""
    scheme: str | None = None
    fc_update: str | None = None
    updates: str | None = None
    recompute: str | None = None
    """Layers, "relu*,bn*", or a word of `netc.planner.recompute`."""
    precision: str | None = None
    kernels: str | None = None
    cluster: str | None = None
    """The machine to plan for: its name, or its file."""
    goal: str = GOALS[0]
    backend: str | None = None
    """What to compile for; "null" where nothing is to be computed."""
    share_gpus: bool = False
    runs: bool = False
    """Whether it is to be run here: then it is compiled for what is here."""


class ComparedWords(TypedDict, total=False):
    """What may be said of a plan whose devices and strategy are said otherwise, by name."""

    batch: int | Literal["auto"]
    memory: float | str
    search_labels: str | Sequence[str]
    no_share: bool
    exact_memory: bool
    pin: Mapping[str, str | tuple[str, ...]] | Sequence[str]
    scheme: Literal["a", "b", "c"]
    fc_update: Literal["step", "round"]
    updates: Literal["replicated", "sharded"]
    recompute: str | Sequence[str]
    precision: Literal["fp32", "tf32", "bf16", "fp64"]
    kernels: Literal["auto", "fast", "reference", "native", "vendor"]
    cluster: str | os.PathLike[str]
    goal: Literal["training", "inference"]
    backend: Literal["cpu", "cuda"]


class DiffWords(ComparedWords, total=False):
    """What may be said of a plan whose strategy is said otherwise, by name."""

    devices: int
    mesh: str | tuple[int, ...]


class PlanWords(DiffWords, total=False):
    """What may be said of a plan, by name: as the options of `netc plan`, with underscores."""

    strategy: str | os.PathLike[str]
    share_gpus: bool


def read_size(text: str) -> float:
    """Bytes: of 16GiB, 16GB or 512MiB; ValueError for other texts."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or not MEASURE.accepts(float(found[1])):
        raise ValueError(text)
    unit = found[2].lower()
    base = 1024 if unit.endswith("i") else 1000
    return float(found[1]) * float(base) ** ("kmgt".index(unit[0]) + 1)


def plan_choices(words: Mapping[str, Any]) -> PlanChoices:
    """The choices that are given by name. What is None is as if it were not given.

    Raises UsageError (E051) for wrong values.
    """
    given = {name: _READ[name](name, value) for name, value in words.items() if value is not None}
    # What is planned for this machine can be run on it.
    here = not given.keys() & {"cluster", "backend"}
    return replace(PlanChoices(**given), runs=here)


def option(name: str) -> str:
    """A name as the command line has it."""
    return f"--{name.replace('_', '-')}"


def wrong(name: str, description: str, value: object, hint: str = "") -> Exception:
    """The error for a value of another kind, as the command line words it."""
    return usage(f"{option(name)}: must be {description}, not {shown(value)}.", hint)


_CALLED = {
    "gpu": "cuda", "float32": "fp32", "float64": "fp64", "double": "fp64",
    "bfloat16": "bf16", "float16": "bf16", "fp16": "bf16", "half": "bf16", "pytorch": "torch",
}  # fmt: skip
"""Choices that other tools have, and what is nearest to them."""
Read = Callable[[str, Any], Any]
"""From a name and the value that is given for it to the value that is meant."""


def number(kind: Number) -> Read:
    """Read numbers of a kind, NumPy's too."""

    def read(name: str, value: object) -> int | float:
        plain = value.item() if type(value).__module__ == "numpy" else value  # type: ignore[attr-defined]
        if not kind.accepts(plain):
            raise wrong(name, kind.description, value)
        return plain if kind.whole else float(plain)

    return read


def one_of(known: Sequence[str]) -> Read:
    """Read one of some words."""

    def read(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in known:
            near = did_you_mean(value, known, _CALLED) if isinstance(value, str) else ""
            hint = f"{near}choices are: {', '.join(known)}."
            raise usage(f"{option(name)}: there is no choice {shown(value)}.", hint)
        return value

    return read


def flag(name: str, value: object) -> bool:
    """Read a truth value."""
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)
    return value


def counts_of(name: str, values: object) -> list[int]:
    """Numbers of devices, sorted."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise wrong(name, "numbers such as [1, 2, 4]", values)
    found = sorted({int(number(DEVICES)(name, each)) for each in values})
    if not found:
        raise wrong(name, "numbers such as [1, 2, 4]", values)
    return found


def words_of(name: str, values: object) -> list[str]:
    """Words, or paths, of which there is one at least."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise wrong(name, "words such as ['data', 'hybrid']", values)
    found = [path_text(name, each) for each in values]
    if not found:
        raise wrong(name, "words such as ['data', 'hybrid']", values)
    return found


def _named(description: str) -> Read:
    """Read the name of something, or its file."""

    def read(name: str, value: object) -> str:
        if not isinstance(value, str | os.PathLike):
            raise wrong(name, description, value)
        return path_text(name, value)

    return read


def _words(name: str, value: object) -> str:
    """Several words, or a text of them with commas."""
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        raise wrong(name, "words, or a text of them with commas", value)
    return ",".join(value)


def _mesh(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, Sequence) or not value:
        raise wrong(name, "of the form 2x2", value)
    return "x".join(value_text(name, each) for each in value)


def _batch(name: str, value: object) -> int | float | str:
    return AUTO if value == AUTO else number(COUNT)(name, value)


def _memory(name: str, value: object) -> float:
    try:
        return read_size(value) if isinstance(value, str) else float(number(MEASURE)(name, value))
    except (ValueError, UsageError):
        raise wrong(name, f"a number of bytes above 0, or {SIZE}", value) from None


def _split(split: object) -> object:
    """A split as it is written; `NetworkPlan.splits` has one label for each axis of the mesh."""
    return ",".join(map(str, split)) if isinstance(split, tuple) else split


def _pins(name: str, value: object) -> tuple[str, ...]:
    given: object = value
    if isinstance(value, Mapping):
        given = [f"{pattern}={_split(split)}" for pattern, split in value.items()]
    many = isinstance(given, Sequence) and not isinstance(given, str)
    if not isinstance(given, Sequence) or not many or not all(isinstance(p, str) for p in given):
        raise wrong(name, "splits by patterns, such as {'fc*': 'k'}", value)
    return tuple(given)


_READ: dict[str, Read] = {
    "devices": number(DEVICES),
    "mesh": _mesh,
    "strategy": _named("a strategy's name, or its file"),
    "batch": _batch,
    "memory": _memory,
    "search_labels": _words,
    "no_share": flag,
    "exact_memory": flag,
    "pin": _pins,
    "scheme": one_of(SCHEMES),
    "fc_update": one_of(FC_UPDATES),
    "updates": one_of(UPDATES),
    "recompute": _words,
    "precision": one_of(PRECISIONS),
    "kernels": one_of(KERNELS),
    "cluster": _named("a machine's name, or its file"),
    "goal": one_of(GOALS),
    "backend": one_of(TARGETS),
    "share_gpus": flag,
}
"""By name how a value is read."""
PLAN_NAMES = tuple(_READ)
"""The names of `PlanWords`."""
assert set(PLAN_NAMES) == {each.name for each in fields(PlanChoices)} - {"runs"}
