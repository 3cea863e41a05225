"""How a training begins: anew, with given weights, or where an earlier one stood."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from netc.api.choices import AUTO
from netc.api.listener import Told
from netc.api.running import find_weights, given_weights
from netc.api.train_choices import TrainChoices
from netc.errors import NetError
from netc.ir.program import Bundle
from netc_runtime.io.checkpoint import latest
from netc_runtime.io.problems import data_error
from netc_runtime.io.weights import Tensors
from netc_runtime.launch.ranks import Ranks
from netc_runtime.train.folder import KEPT_CHECKPOINTS, METRICS, Folder
from netc_runtime.train.resume import Saved, newest_whole, read_saved
from netc_runtime.train.trainer import Trainer

Damaged = Mapping[Path, NetError]
"""Checkpoints that cannot be read, and what is wrong with each."""


@dataclass(frozen=True, slots=True)
class GivenWeights:
    """Weights to begin with."""

    file: Path | None
    """None where they are of no file."""
    tensors: Tensors


def start(
    choices: TrainChoices, bundle: Bundle, told: Told, tensors: Tensors | None = None
) -> tuple[Saved | GivenWeights | None, Damaged]:
    """What a training goes on from, or the weights that it begins with, None for fresh ones; and
    checkpoints that it would rather have gone on from, which are damaged. `tensors` are weights
    where nothing else is chosen.
    """
    out = Path(choices.out or "")
    if choices.resume == AUTO:
        saved, damaged = newest_whole(out)
        if saved is not None:
            return saved, damaged
    elif choices.resume is not None:
        return read_saved(_resumed(choices.resume, out)), {}
    if choices.weights.path is None:
        return None if tensors is None else GivenWeights(None, tensors), {}
    file = find_weights(choices.weights.path, out)
    return GivenWeights(file, given_weights(choices.weights, bundle, file, told)), {}


def _resumed(named: str, out: Path) -> Path:
    """The checkpoint to go on from; DataError (E068) where there is none."""
    path = Path(named or out)
    file = latest(path) if path.is_dir() or not named else path
    if file is not None:
        return file
    message = f"there is no checkpoint in '{path}' to resume from."
    # Where a run ended before its first checkpoint, another one would be refused.
    begun = (out / METRICS).exists()
    anew = "take '--replace' in place of '--resume'" if begun else "leave '--resume' out"
    hint = f"{anew} to begin anew, or name what to go on with: '--resume PATH'."
    raise data_error("E068", message, hint)


def begin(
    trainer: Trainer, ranks: Ranks, start: Saved | GivenWeights | None
) -> Saved | GivenWeights | None:
    """Fresh weights, those given, or a whole state: what the first process has, for all."""
    tensors = ranks.share_tensors({} if start is None else start.tensors)
    start = ranks.share(None if start is None else replace(start, tensors={}))
    if isinstance(start, Saved):
        trainer.resume(replace(start, tensors=tensors))
    else:
        trainer.initialize(tensors)
    return start


def folder_of(choices: TrainChoices, resumed: Path | None, damaged: Damaged) -> Folder | None:
    """The folder of a training, locked; None where nothing is kept; raises as `Folder`."""
    if choices.out is None:
        return None
    keep, again = choices.keep or KEPT_CHECKPOINTS, choices.resume == AUTO
    return Folder(Path(choices.out), resumed, choices.replace, keep, tuple(damaged), again)
