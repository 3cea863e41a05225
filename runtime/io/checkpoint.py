"""Checkpoints: global tensors under their source names, and where in the training they were taken.

A checkpoint says nothing of devices or splits, so it outlives a strategy. It is one safetensors
file, `step-00000120.safetensors`, written whole or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from . import tensors as _tensors
from .problems import data_error, unreadable, unwritable

FORMAT_VERSION = 1
"""The version written; a file of a later one is refused."""

_VERSION_KEY = "netc_checkpoint"
_CLASSES_KEY = "classes"
_MOST_CLASSES_BYTES = 1 << 20
"""The format's header ends at 100 MB, and every reader takes it whole."""
_NAME = re.compile(r"step-(\d+)\.safetensors")


@dataclass(frozen=True, slots=True)
class Position:
    """Where in which training a checkpoint was taken."""

    step: int
    """Steps done, from the start of the training."""
    epoch: int
    """The epoch, from 0, that the next step belongs to."""
    network: str
    """The network's name."""
    seed: int
    """The seed of the training."""

    def as_meta(self) -> dict[str, str]:
        """These fields as the text that `save` takes."""
        return {
            "step": str(self.step),
            "epoch": str(self.epoch),
            "network": self.network,
            "seed": str(self.seed),
        }

    @classmethod
    def from_meta(cls, meta: Mapping[str, str], path: Path | str) -> Position:
        """The position that `load(path)` found; DataError (E068) where it is missing or wrong."""
        try:
            step, epoch, seed = (int(meta[key]) for key in ("step", "epoch", "seed"))
            return cls(step, epoch, meta["network"], seed)
        except (KeyError, ValueError) as problem:
            raise data_error(
                "E068",
                f"'{path}' does not say where its training stood: {_what_lacks(problem)}.",
                "its weights can be read, but only a checkpoint of netc can be resumed",
            ) from problem


def classes_meta(classes: Sequence[str]) -> dict[str, str]:
    """The classes' names as the text that `save` takes; nothing where they take over 1 MiB."""
    text = json.dumps(list(classes))
    return {_CLASSES_KEY: text} if len(text) <= _MOST_CLASSES_BYTES else {}


def classes_of(path: Path | str) -> tuple[str, ...] | None:
    """The names of the classes that a checkpoint was trained for, in order; None without them.

    Tensors are not read. Raises DataError as `load`.
    """
    try:
        names = json.loads(_tensors.read_meta(Path(path)).get(_CLASSES_KEY, "null"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def save(path: Path | str, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, str]) -> None:
    """Writes `tensors` and `meta` (and the format's version) to `path`, whole or not at all.

    Equal contents give equal bytes. Raises DataError (E069) where the system refuses.
    """
    _tensors.write(Path(path), tensors, {**meta, _VERSION_KEY: str(FORMAT_VERSION)})


def load(path: Path | str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors and metadata of a checkpoint, or of any other safetensors file.

    Raises DataError: E061 where the file is missing, E068 where it is malformed, a pickle, or of a
    later version.
    """
    tensors, meta = _tensors.read(Path(path))
    version = meta.pop(_VERSION_KEY, str(FORMAT_VERSION))
    if version != str(FORMAT_VERSION):
        raise data_error(
            "E068",
            f"checkpoint '{path}' has format {version}; this netc reads format {FORMAT_VERSION}.",
            "use the version of netc that wrote it, or a later one",
        )
    return tensors, meta


def checkpoint_name(step: int) -> str:
    """The file's name after `step` steps; names sort as steps do."""
    return f"step-{step:08d}.safetensors"


def latest(directory: Path | str) -> Path | None:
    """The checkpoint of the highest step in `directory`; None where there is none."""
    found = _checkpoints(Path(directory))
    return found[-1] if found else None


def prune(directory: Path | str, keep: int) -> None:
    """Removes all but the `keep` checkpoints of the highest steps, and what crashed writes left.

    Call it after a save, not during one. Raises DataError (E069) where the system refuses.
    """
    assert keep >= 1, "the last checkpoint is never removed"
    directory = Path(directory)
    for path in [*_checkpoints(directory)[:-keep], *directory.glob("step-*.safetensors.tmp")]:
        try:
            path.unlink(missing_ok=True)
        except OSError as problem:
            raise unwritable(path, problem) from problem


def _checkpoints(directory: Path) -> list[Path]:
    """By ascending step; other files are not ours and are left alone."""
    if not directory.is_dir():
        return []
    try:
        names = [_NAME.fullmatch(path.name) for path in directory.iterdir()]
    except OSError as problem:
        raise unreadable(directory, problem) from problem
    found = sorted((int(name[1]), name[0]) for name in names if name)
    return [directory / name for _, name in found]


def _what_lacks(problem: Exception) -> str:
    if isinstance(problem, KeyError):
        return f"it lacks '{problem.args[0]}'"
    return str(problem)
