"""Weights from a file, under netc's own names or another tool's, wanted whole and in shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import DataError, Diagnostic, UsageError, did_you_mean
from netc.ir.optimizers import AVERAGE

from .checkpoint import load

Tensors = dict[str, NDArray[Any]]

_COUNTER = ".num_batches_tracked"
"""PyTorch's batch norm counts its batches; nothing here depends on it."""
_WRAPPED = re.compile(r"(?:module\.|_orig_mod\.)+")
"""What PyTorch's DataParallel and compile put in front of every name."""
_MOST_LAYERS = 3
"""Layers of other shapes that a remedy lists; where more are, it is another network."""
_SHOWN = 20
"""Names a message lists before it says how many more there are."""


def read_weights(
    path: Path,
    wanted: Mapping[str, tuple[int, ...]],
    foreign: Mapping[str, str],
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _: None,
    averages: Collection[str] | None = None,
) -> Tensors:
    """The tensors of a safetensors file for the weights `wanted`, by their names there.

    `foreign` gives each weight's name in another tool. The file may have either names: what fits
    more of them counts. A prefix of PyTorch's wrappers that all tensors have is no part of their
    names, which `tell` gets to hear. The state of an optimizer in a checkpoint of netc and
    PyTorch's counters of batches are left aside. Of the moving `averages` that are asked for, by
    their names, those that the file has come beside the weights; `tell` hears where it has none,
    or some that nobody asks for. A weight that a pattern of `allow_missing` matches
    by one of its names is left out of the result where the file has no tensor of its shape for it;
    `allow_unexpected` lets tensors pass that no weight has. Patterns are those of a shell.

    Raises DataError: as `load`, and E080, E081, E082, all at once, where tensors are missing,
    unexpected or of another shape or kind, E086 where they have numbers that are not finite;
    UsageError (E051) where a pattern of `allow_missing`
    matches no weight.
    """
    optional = optional_of({name: (name, foreign[name]) for name in wanted}, allow_missing)
    tensors, _ = load(path)
    bare, prefix = _unwrapped(tensors)
    if prefix and max(_fits(bare, wanted, foreign)) > max(_fits(tensors, wanted, foreign)):
        tensors = bare
        tell(f"all names in '{path}' begin with '{prefix}', which is left off.")
    own, other = _fits(tensors, wanted, foreign)
    names = {name: foreign[name] if other > own else name for name in wanted}
    fit = _Fit(path, tensors, wanted, names, optional)
    problems = [*fit.missing(), *fit.unexpected(allow_unexpected), *fit.misshapen()]
    if problems:
        raise DataError(*problems)
    found = {name: tensors[names[name]] for name in wanted if fit.has(name)}
    if averages is not None:
        found |= _averages(path, tensors, wanted, averages, tell)
    there = {names.get(name, name): tensor for name, tensor in found.items()}
    if problems := [*not_finite(f"'{path}'", there)]:
        raise DataError(*problems)
    return found


def _averages(
    path: Path, tensors: Tensors, wanted: Mapping[str, tuple[int, ...]], asked: Collection[str],
    tell: Callable[[str], None],
) -> Tensors:  # fmt: skip
    """The moving averages of weights in a file, of those that are asked for."""
    named = ((name + AVERAGE, shape) for name, shape in wanted.items())
    there = {n: tensors[n] for n, shape in named if n in tensors and tensors[n].shape == shape}
    if there and not asked:
        tell(f"'{path}' has moving averages of weights; without 'ema' in the recipe they are left "
             "aside.")  # fmt: skip
    if asked and not there:
        tell(f"'{path}' has no moving averages; the weights themselves stand for them.")
    return {name: tensor for name, tensor in there.items() if name in asked}


@dataclass(frozen=True, slots=True)
class _Fit:
    """A file's tensors beside the weights of a network."""

    path: Path
    tensors: Tensors
    wanted: Mapping[str, tuple[int, ...]]
    names: Mapping[str, str]
    """Each weight's name in the file."""
    optional: Container[str]
    """Weights that need no tensor."""

    def has(self, name: str) -> bool:
        """Whether the file has a tensor of the weight's shape."""
        tensor = self.tensors.get(self.names[name])
        return tensor is not None and tensor.shape == self.wanted[name]

    def missing(self) -> Iterator[Diagnostic]:
        """E080 where weights have no tensor."""
        yield from lacking(f"'{self.path}'", self.tensors, self.names, self.optional)

    def unexpected(self, allowed: Sequence[str]) -> Iterator[Diagnostic]:
        """E081 where tensors belong to no weight."""
        known = set(self.names.values())
        state = tuple(f"{name}." for name in self.wanted)
        extra = [
            name
            for name in sorted(self.tensors)
            if name not in known
            and not name.endswith(_COUNTER)
            and not name.startswith(state)
            and not matches((name,), allowed)
        ]
        hint = "'--allow-unexpected PATTERN' leaves tensors aside."
        yield from _report(f"'{self.path}'", "E081", "has, unlike the network,", extra, hint)

    def misshapen(self) -> Iterator[Diagnostic]:
        """E082 where a tensor is of another shape, or holds no real numbers."""
        wrong, layers = [], []
        for name, there in self.names.items():
            tensor = self.tensors.get(there)
            if tensor is None or (name in self.optional and not self.has(name)):
                continue
            if not self.has(name):
                wrong.append(f"{there} is {_by(tensor.shape)}, not {_by(self.wanted[name])}")
                layers.append(there.rpartition(".")[0])
            elif not np.issubdtype(tensor.dtype, np.floating):
                wrong.append(f"{there} holds {tensor.dtype}")
        what, hint = "does not fit the network in", _remedy(layers)
        yield from _report(f"'{self.path}'", "E082", what, wrong, hint)


def lacking(
    called: str, tensors: Container[str], names: Mapping[str, str], optional: Container[str]
) -> Iterator[Diagnostic]:
    """E080 where what is `called` so has no tensor for weights that need one, by their `names`
    there.
    """
    found = [
        there for name, there in names.items() if there not in tensors and name not in optional
    ]
    hint = "'--allow-missing PATTERN' leaves weights at their initial values."
    yield from _report(called, "E080", "lacks", found, hint)


def not_finite(called: str, tensors: Mapping[str, NDArray[Any]]) -> Iterator[Diagnostic]:
    """E086 where tensors of what is `called` so have numbers that are not finite: nothing can be
    computed with them.
    """
    bad = {name: many for name, each in tensors.items() if (many := _count_not_finite(each))}
    found = [f"{name}: {many:,} of {tensors[name].size:,}" for name, many in bad.items()]
    hint = "they come from a training that exploded: take weights from before that."
    yield from _report(called, "E086", "has numbers that are not finite in", found, hint)


def _count_not_finite(tensor: NDArray[Any]) -> int:
    # Extremes tell without a copy of the size of the tensor, and most tensors are all right.
    if not tensor.size or (np.isfinite(tensor.min()) and np.isfinite(tensor.max())):
        return 0
    return int(tensor.size - np.isfinite(tensor).sum())


def optional_of(names: Mapping[str, Sequence[str]], allow_missing: Sequence[str]) -> set[str]:
    """The weights that patterns let be missing, by any of their names. Raises UsageError (E051)
    where a pattern matches none.
    """
    # All by one tool's names, then all by the other's.
    every = [*chain.from_iterable(zip(*names.values(), strict=True))]
    _check_patterns(allow_missing, every)
    return {weight for weight, own in names.items() if matches(own, allow_missing)}


def _report(
    called: str, code: str, what: str, found: Sequence[str], hint: str
) -> Iterator[Diagnostic]:
    if not found:
        return
    many = f"{len(found):,} tensor{'s' * (len(found) > 1)}"
    notes = list(found[:_SHOWN])
    if len(found) > _SHOWN:
        notes.append(f"... and {len(found) - _SHOWN:,} more")
    yield Diagnostic(code, f"{called} {what} {many}.", notes=tuple(notes), help=hint)


def _fits(
    tensors: Container[str], wanted: Iterable[str], foreign: Mapping[str, str]
) -> tuple[int, int]:
    """How many weights a file has under netc's names, and under another tool's."""
    return sum(n in tensors for n in wanted), sum(n in tensors for n in foreign.values())


def own_names(tensors: Mapping[str, Any], foreign: Mapping[str, str]) -> dict[str, Any]:
    """Tensors by netc's names; `foreign` gives each weight's name in another tool, and if more are
    called so, what they are called in netc is put in its place, and PyTorch's counters are left
    aside.
    """
    own, other = _fits(tensors, foreign, foreign)
    if other <= own:
        return dict(tensors)
    ours = {there: name for name, there in foreign.items()}
    counted = (name for name in tensors if not name.endswith(_COUNTER))
    return {ours.get(name, name): tensors[name] for name in counted}


def _unwrapped(tensors: Tensors) -> tuple[Tensors, str]:
    """The tensors without the prefix that wrappers gave them all, and that prefix."""
    found = {match[0] if (match := _WRAPPED.match(name)) else "" for name in tensors}
    prefix = found.pop() if len(found) == 1 else ""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, prefix


def _remedy(layers: Sequence[str]) -> str:
    """What to do about weights of another shape, by the layers that they are in."""
    named = dict.fromkeys(layers)
    if not 0 < len(named) <= _MOST_LAYERS:
        return "the file is of another network." if named else ""
    options = " ".join(f"--allow-missing '{layer}.*'" for layer in named)
    return f"to begin with initial values there, as for other classes: {options}"


def _check_patterns(patterns: Iterable[str], names: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            message = f"'--allow-missing {pattern}' matches no weight of the network."
            raise UsageError(Diagnostic("E051", message, help=did_you_mean(pattern, names)))


def matches(names: Iterable[str], patterns: Iterable[str]) -> bool:
    """Whether a pattern, of a shell, matches one of the names."""
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
