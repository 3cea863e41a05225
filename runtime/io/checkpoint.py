"""Checkpoints: global tensors under their source names, and where in the training they were taken.

Its tensors know nothing of devices or splits, so it outlives a strategy. It is one safetensors
file, `step-00000120.safetensors`, written whole or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netc.errors import DataError

from . import tensors as _tensors
from .problems import data_error, unreadable

FORMAT_VERSION = 2
"""The version written; a file of a later one is refused. Version 1 has no place within the epoch:
its weights can be read, but its training cannot go on."""

_VERSION_KEY = "netc_checkpoint"
_CLASSES_KEY, _SETTINGS_KEY, _RUN_KEY, _BEST_KEY = "classes", "settings", "run", "best"
_ROLLBACKS_KEY, _MOST_ROLLBACKS = "rollbacks", 99
_EVALUATION_KEY, _DUE = "evaluation", "due"
ROLLBACK_FACTOR = 0.5
"""Of the learning rate, each time."""
_MOST_CLASSES_BYTES = 1 << 20
"""The format's header ends at 100 MB, and every reader takes it whole."""
_NAME = re.compile(r"step-(\d{8,19})\.safetensors", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """Where in which training a checkpoint was taken."""

    step: int
    """Steps made, from the start of the training; `Rollbacks` says how many were undone."""
    epoch: int
    """The epoch, from 0, that the next step belongs to."""
    place: int
    """Steps of that epoch that are done."""
    batch: int
    """Images of a step."""
    images: int
    """Training images of the data set."""
    network: str
    """The network's name."""
    seed: int
    """The seed of the training."""

    def as_meta(self) -> dict[str, str]:
        """These fields as the text that `save` takes."""
        return {name: str(value) for name, value in asdict(self).items()}

    @classmethod
    def from_meta(cls, meta: Mapping[str, str], path: Path | str) -> Position:
        """The position that `load(path)` found; DataError (E068) where it is missing or wrong."""
        try:
            numbers = {name: _number(meta, name) for name in _NUMBERS}
            found = cls(**numbers, network=meta["network"])
        except KeyError as problem:
            raise _no_position(path, f"it lacks '{problem.args[0]}'") from None
        except ValueError as problem:
            raise _no_position(path, str(problem)) from None
        if not 0 < found.batch <= found.images or found.place >= found.images // found.batch:
            fact = f"step {found.place} of an epoch of {found.images} images in batches"
            raise _no_position(path, f"{fact} of {found.batch}")
        return found


_NUMBERS = ("step", "epoch", "place", "batch", "images", "seed")
_MOST = 2**63 - 1


def _number(meta: Mapping[str, str], name: str) -> int:
    text = meta[name]
    # Longer texts cost more the longer they are.
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
    if not 0 <= number <= _MOST:
        raise ValueError(f"'{name}' is '{text[:40]}', which is no number from 0 to 2^63 - 1")
    return number


def _no_position(path: Path | str, problem: str) -> DataError:
    return data_error(
        "E068",
        f"'{path}' does not say where its training stood: {problem}.",
        "begin a new training with its weights, by '--weights'; only a whole checkpoint of this "
        "version of netc can be resumed",
    )


@dataclass(frozen=True, slots=True)
class Best:
    """What was best by accuracy so far, of all that a training evaluated."""

    step: int = 0
    accuracy: float = -1.0
    """As a fraction, over the held-out images; below 0 before the first evaluation."""

    def as_meta(self) -> dict[str, str]:
        """As the text that `save` takes."""
        return {_BEST_KEY: json.dumps([self.step, self.accuracy])}

    @classmethod
    def from_meta(cls, meta: Mapping[str, str]) -> Best:
        """What a checkpoint knows of it; nothing where that is not told, or makes no sense."""
        match _json(meta.get(_BEST_KEY, "null")):
            case [int(step), float(accuracy)] if 0 <= step <= _MOST and 0 <= accuracy <= 1:
                return cls(step, accuracy)
        return cls()


@dataclass(frozen=True, slots=True)
class Rollbacks:
    """How often a training went back to a checkpoint, as its numbers were none."""

    count: int = 0
    undone: int = 0
    """Steps that count as such, and whose updates of the weights were undone."""

    @property
    def factor(self) -> float:
        """By which the learning rate is multiplied."""
        return ROLLBACK_FACTOR**self.count

    def as_meta(self) -> dict[str, str]:
        """As the text that `save` takes; nothing where it never went back."""
        return {_ROLLBACKS_KEY: json.dumps([self.count, self.undone])} if self.count else {}

    @classmethod
    def from_meta(cls, meta: Mapping[str, str]) -> Rollbacks:
        """What a checkpoint knows of it; none where that is not told, or makes no sense."""
        match _json(meta.get(_ROLLBACKS_KEY, "null")):
            case [int(count), int(undone)] if 0 < count <= _MOST_ROLLBACKS and 0 <= undone <= _MOST:
                return cls(count, undone)
        return cls()


def due_meta(due: bool) -> dict[str, str]:
    """Whether an epoch ended that was not evaluated yet, as the text that `save` takes."""
    return {_EVALUATION_KEY: _DUE} if due else {}


def is_due(meta: Mapping[str, str]) -> bool:
    """Whether a training that goes on from a checkpoint has to evaluate it first."""
    return meta.get(_EVALUATION_KEY) == _DUE


def settings_meta(settings: Mapping[str, str]) -> dict[str, str]:
    """What a training was told, by name, as the text that `save` takes."""
    return {_SETTINGS_KEY: json.dumps(dict(sorted(settings.items())))}


def settings_in(meta: Mapping[str, str]) -> dict[str, str]:
    """What the training of a checkpoint was told, by name; nothing where it is not known."""
    return _texts(meta, _SETTINGS_KEY)


def run_meta(run: Mapping[str, str]) -> dict[str, str]:
    """How the run that saves was called, by name, as the text that `save` takes. It is for people,
    and to find network and data again; resuming compares nothing of it.
    """
    return {_RUN_KEY: json.dumps(dict(sorted(run.items())))}


def run_in(meta: Mapping[str, str]) -> dict[str, str]:
    """How the run that saved a checkpoint was called, by name; nothing where it is not known."""
    return _texts(meta, _RUN_KEY)


def _texts(meta: Mapping[str, str], key: str) -> dict[str, str]:
    found = _json(meta.get(key, "null"))
    known = found if isinstance(found, dict) else {}
    return {name: value for name, value in known.items() if isinstance(value, str)}


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def classes_meta(classes: Sequence[str]) -> dict[str, str]:
    """The classes' names as the text that `save` takes; nothing where they take over 1 MiB."""
    text = json.dumps(list(classes))
    return {_CLASSES_KEY: text} if len(text) <= _MOST_CLASSES_BYTES else {}


def classes_in(meta: Mapping[str, str]) -> tuple[str, ...] | None:
    """The names of the classes that a checkpoint was trained for, in order; None without them."""
    names = _json(meta.get(_CLASSES_KEY, "null"))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def meta_of(path: Path | str) -> dict[str, str]:
    """What a checkpoint says of itself. Tensors are not read. Raises DataError as `load`."""
    return _checked(_tensors.read_meta(Path(path)), path)


def save(path: Path | str, tensors: Mapping[str, NDArray[Any]], meta: Mapping[str, str]) -> None:
    """Writes `tensors` and `meta` (and the format's version, and a checksum of the tensors) to
    `path`, whole or not at all.

    Equal contents give equal bytes. Raises DataError (E069) where the system refuses.
    """
    meta = {**meta, _VERSION_KEY: str(FORMAT_VERSION)}
    _tensors.write(Path(path), tensors, meta, checked=True)


def load(
    path: Path | str, names: Collection[str] | None = None
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors, all or those of `names`, and metadata of a checkpoint, or of any other
    safetensors file.

    Raises DataError: E061 where the file is missing, E068 where it is malformed, a pickle, or of a
    later version, or where its checksum, if it has one, is another.
    """
    tensors, meta = _tensors.read(Path(path), names)
    return tensors, _checked(meta, path)


def _checked(meta: dict[str, str], path: Path | str) -> dict[str, str]:
    version = meta.pop(_VERSION_KEY, str(FORMAT_VERSION))
    if version not in map(str, range(1, FORMAT_VERSION + 1)):
        raise data_error(
            "E068",
            f"checkpoint '{path}' has format {version[:20]}; this netc reads formats up to "
            f"{FORMAT_VERSION}.",
            "use the version of netc that wrote it, or a later one",
        )
    return meta


def checkpoint_name(step: int) -> str:
    """The file's name after `step` steps; names sort as steps do."""
    return f"step-{step:08d}.safetensors"


def step_of(path: Path) -> int:
    """The steps that a file is called by, as `checkpoint_name` does."""
    name = _NAME.fullmatch(path.name)
    assert name is not None, "a checkpoint's name"
    return int(name[1])


def latest(directory: Path | str) -> Path | None:
    """The checkpoint of the highest step in `directory`; None where there is none."""
    found = checkpoints(directory)
    return found[-1] if found else None


def checkpoints(directory: Path | str) -> list[Path]:
    """Those of a directory, by ascending step; other files are not ours and are left alone."""
    directory = Path(directory)
    if not directory.is_dir():
        return []
    try:
        names = [_NAME.fullmatch(path.name) for path in directory.iterdir()]
    except OSError as problem:
        raise unreadable(directory, problem) from problem
    found = sorted((int(name[1]), name[0]) for name in names if name)
    return [directory / name for _, name in found]


def unfinished(directory: Path) -> list[Path]:
    """What writing a checkpoint left behind where the process was killed."""
    suffix = _tensors.TEMPORARY
    return [p for p in directory.glob(f"step-*{suffix}") if _NAME.fullmatch(p.name[: -len(suffix)])]
