"""How `netc run` begins: anew, with given weights, or where an earlier run stood."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from netc.cli.session import find_weights, given_weights
from netc.errors import NetError
from netc.ir.program import Bundle
from netc_runtime.io.checkpoint import latest
from netc_runtime.io.problems import data_error
from netc_runtime.io.weights import Tensors
from netc_runtime.launch.ranks import Ranks
from netc_runtime.train.folder import KEPT_CHECKPOINTS, METRICS, Folder
from netc_runtime.train.resume import Saved, newest_whole, read_saved
from netc_runtime.train.trainer import Trainer

AUTO = "auto"
"""In place of what to resume from: what is there."""
Damaged = Mapping[Path, NetError]
"""Checkpoints that cannot be read, and what is wrong with each."""


@dataclass(frozen=True, slots=True)
class GivenWeights:
    """Weights of a file to begin with."""

    file: Path
    tensors: Tensors


def start(
    options: argparse.Namespace, bundle: Bundle, out: Path
) -> tuple[Saved | GivenWeights | None, Damaged]:
    """What a training goes on from, or the weights that it begins with, None for fresh ones; and
    checkpoints that it would rather have gone on from, which are damaged.
    """
    if options.resume == AUTO:
        saved, damaged = newest_whole(out)
        if saved is not None:
            return saved, damaged
    elif options.resume is not None:
        path = Path(options.resume or out)
        file = latest(path) if path.is_dir() or not options.resume else path
        if file is None:
            message = f"there is no checkpoint in '{path}' to resume from."
            # Where a run ended before its first checkpoint, another one would be refused.
            begun = (out / METRICS).exists()
            anew = "take '--replace' in place of '--resume'" if begun else "leave '--resume' out"
            hint = f"{anew} to begin anew, or name what to go on with: '--resume PATH'."
            raise data_error("E068", message, hint)
        return read_saved(file), {}
    if options.weights is None:
        return None, {}
    file = find_weights(options.weights, out)
    return GivenWeights(file, given_weights(options, bundle, file)), {}


def begin(
    trainer: Trainer, ranks: Ranks, start: Saved | GivenWeights | None
) -> Saved | GivenWeights | None:
    """Fresh weights, those of a file, or a whole state: what the first process has, for all."""
    tensors = ranks.share_tensors({} if start is None else start.tensors)
    start = ranks.share(None if start is None else replace(start, tensors={}))
    if isinstance(start, Saved):
        trainer.resume(replace(start, tensors=tensors))
    else:
        trainer.initialize(tensors)
    return start


def folder_of(
    options: argparse.Namespace, out: Path, resumed: Path | None, damaged: Damaged
) -> Folder:
    """The folder of a training, locked. Raises DataError as `Folder`."""
    keep, again = options.keep or KEPT_CHECKPOINTS, options.resume == AUTO
    return Folder(out, resumed, options.replace, keep, tuple(damaged), again)
