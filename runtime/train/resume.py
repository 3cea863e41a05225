"""Going on with a training: what its checkpoint says beside what the run has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netc.errors import DataError, escaped
from netc.ir.optimizers import BESIDE
from netc.ir.program import Bundle

from ..io.checkpoint import Position, Rollbacks, checkpoints, classes_in, load, settings_in
from ..io.problems import DamagedError, data_error
from ..session import Session
from .datasets import Dataset
from .folder import BEST
from .told import call_text

Array = NDArray[Any]
NO_OTHER = "'--replace' in place of '--resume' removes all, and begins anew."


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint that was read."""

    file: Path
    tensors: Mapping[str, Array]
    meta: Mapping[str, str]
    position: Position


def read_saved(file: Path) -> Saved:
    """A checkpoint, whole. Raises DataError: E061 where it is missing, E068 where it is none."""
    tensors, meta = load(file)
    return Saved(file, tensors, meta, Position.from_meta(meta, file))


def newest_whole(folder: Path) -> tuple[Saved | None, dict[Path, DamagedError]]:
    """The newest checkpoint of a folder that is whole, None where it has none at all; and what is
    wrong with those after it, newest first.

    Raises DataError as `read_saved`, and where all of them are damaged: DamagedError (E068).
    """
    damaged: dict[Path, DamagedError] = {}
    for file in reversed(checkpoints(folder)):
        try:
            return read_saved(file), damaged
        except DamagedError as problem:
            damaged[file] = problem
    if damaged:
        first, *_ = damaged.values()
        raise DamagedError(replace(first.diagnostics[0], help=escaped(_left(folder))))
    return None, {}


def _left(folder: Path) -> str:
    """What can be done where all checkpoints of a folder are damaged, but for the best one."""
    best = folder / BEST
    try:
        step = read_saved(best).position.step
    except DataError:
        return f"no other checkpoint is there; {NO_OTHER}"
    way = f"'--resume {best} --out FOLDER' goes on from it in another folder"
    return f"of all checkpoints '{BEST}' alone is whole, of step {step:,}: {way}; {NO_OTHER}"


def why_lost(folder: Path, step: int) -> str:
    """Why the best checkpoint of a folder, of a step, is none any more; empty where it is there."""
    best = folder / BEST
    if not best.exists():
        return escaped(f"'{best}' is missing")
    try:
        found = read_saved(best).position.step
    except DataError as problem:
        return problem.diagnostics[0].message.rstrip(".")
    return "" if found == step else escaped(f"'{best}' is of step {found}, not {step}")


def continued(saved: Saved, dataset: Dataset, batch: int, seed: int, session: Session) -> int:
    """The steps of the schedule that are done, in steps of `batch` images.

    Raises DataError (E068) where the checkpoint is another network's, another training's, or of
    other classes, or where its place within an epoch is none of this run's.
    """
    position, file, network = saved.position, saved.file, session.bundle.facts.network
    if (position.network, position.seed) != (network, seed):
        found = f"network '{position.network}' with seed {position.seed}"
        message = f"'{file}' is of {found}, this training is of '{network}' with seed {seed}."
        raise data_error("E068", message, "'--weights' begins a new training with its weights.")
    _check_added(saved, session.bundle.facts.accumulate)
    check_state(session.bundle, saved.tensors, saved.meta, file)
    check_classes(saved.meta, dataset.classes, file)
    return position.epoch * (dataset.train_size // batch) + _place(saved, dataset, batch)


def _check_added(saved: Saved, accumulate: int) -> None:
    """Raise DataError (E068) where gradients were added up of another number of batches, and some
    that have moved no weight yet would be lost, or be taken for those of other batches.
    """
    told = settings_in(saved.meta).get("accumulate", "1")
    step = saved.position.step - Rollbacks.from_meta(saved.meta).undone
    # Longer texts cost more the longer they are.
    before = int(told) if told.isascii() and told.isdecimal() and 0 < len(told) < 20 else 1
    if before == accumulate or not (step % max(1, before) or step % accumulate):
        return
    message = f"'{saved.file}' was taken after {step:,} steps with 'accumulate {before}'; with "
    message += f"'accumulate {accumulate}' weights would move by other batches than these."
    hint = f"resume with 'accumulate {before}', or after a multiple of both, or take '--weights'."
    raise data_error("E068", message, hint)


def _place(saved: Saved, dataset: Dataset, batch: int) -> int:
    """Steps of `batch` images in the epoch of a checkpoint that are done."""
    position, size = saved.position, dataset.train_size
    seen = position.place * position.batch
    if not seen or (size == position.images and seen % batch == 0):
        return seen // batch
    message = f"'{saved.file}' was taken within epoch {position.epoch + 1}, after {seen:,} of "
    if size != position.images:
        message += f"{position.images:,} images; '{dataset.name}' has {size:,} now."
        hint = "resume from the end of an epoch, or with the images as they were."
    else:
        message += f"{size:,} images, which are no whole number of batches of {batch}."
        hint = f"resume with '--batch {position.batch}', or from the end of an epoch."
    raise data_error("E068", message, hint)


def changed(meta: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What a checkpoint's training was told otherwise: before and now, by name."""
    before = settings_in(meta)
    names = [*settings, *(name for name in before if name not in settings)] if before else []
    both = {
        name: (before.get(name, "its default"), settings.get(name, "its default")) for name in names
    }
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


def check_classes(meta: Mapping[str, str], classes: tuple[str, ...], file: Path) -> None:
    """Raise DataError (E068) where a checkpoint's classes are not those of a data set, in order."""
    names = classes_in(meta)
    if names is None or names == classes:
        return
    pairs = enumerate(zip_longest(names, classes))
    number, (was, now) = next(each for each in pairs if each[1][0] != each[1][1])
    said = [f"'{name}'" if name is not None else "missing" for name in (was, now)]
    message = f"class {number} of '{file}' is {said[0]}, that of the data set is {said[1]}."
    same = sorted(names) == sorted(classes)
    hint = (
        "give the data set's classes the order they had."
        if same
        else "name the data set's classes as they were, in the same order."
    )
    raise data_error("E068", message, hint)


def check_state(
    bundle: Bundle, tensors: Mapping[str, Array], meta: Mapping[str, str], file: Path
) -> None:
    """Raise DataError unless a checkpoint holds exactly the state of a bundle, but for what recipes
    keep beside weights: what it lacks of that begins anew, other is left aside.
    """
    wanted = {port.name: port.shape for port in bundle.train.state}
    differs = [name for name in (*wanted, *tensors) if (name in wanted) != (name in tensors)]
    differs = [name for name in differs if not name.endswith(BESIDE)]
    problems = [f"'{name}' is {'missing' if name in wanted else 'unknown'}" for name in differs]
    shapes = [
        f"'{name}' is {tensors[name].shape}, not {shape}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if not problems and not shapes:
        return
    weights = bundle.facts.torch_names
    if not shapes and all(name.rpartition(".")[0] in weights for name in differs):
        raise _other_state(bundle, meta, file, problems)
    shown = _some([*problems, *shapes])
    raise data_error("E068", f"'{file}' does not fit this network: {shown}.")


def _some(problems: list[str]) -> str:
    return "; ".join(problems[:5]) + ("; ..." if len(problems) > 5 else "")


def _other_state(
    bundle: Bundle, meta: Mapping[str, str], file: Path, problems: list[str]
) -> DataError:
    """The error for a checkpoint with all weights, and other optimizer's state beside them."""
    before, now = settings_in(meta).get("optimizer"), bundle.facts.optimizer
    told = f": it was trained with {before}, this training is with {call_text(*now)}"
    message = f"'{file}' has the state of another optimizer, or of other frozen weights"
    message += f"{told if before is not None else ''}. {_some(problems)}."
    hint = (
        f"'--weights {file} --out FOLDER' begins a training with its weights, and fresh state of "
        "the optimizer."
    )
    return data_error("E068", message, hint)
