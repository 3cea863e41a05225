"""Going back to the last checkpoint where a training's numbers are none any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..io.checkpoint import Rollbacks, step_of
from ..launch.ranks import Ranks
from ..session import Session
from .resume import read_saved
from .saving import ExplodedError

MOST_ROLLBACKS = 3
"""Of one training, those of earlier runs among them."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a session was brought back to."""

    step: int
    rollbacks: Rollbacks


def go_back(session: Session, ranks: Ranks, path: Path | None, step: int) -> Restored | None:
    """Bring back the state of the checkpoint `path`, which the first process reads for all, after
    `step` steps; None where there is no checkpoint.

    Steps that are undone count as steps, and not as updates of the weights. Raises DataError where
    the file cannot be read.
    """
    saved = None if ranks.rank or path is None else read_saved(path)
    told = None if saved is None else (saved.position.step, Rollbacks.from_meta(saved.meta))
    told = ranks.share(told)
    if told is None:
        return None
    session.restore(ranks.share_tensors({} if saved is None else saved.tensors))
    back, before = told
    return Restored(back, Rollbacks(before.count, before.undone + step - back))


def advised(
    problem: ExplodedError, path: Path | None, keeps: bool, goes_back: bool, count: int
) -> ExplodedError:
    """The problem with which a training ends, and what helps. `path` is its checkpoint, if it has
    one, and `keeps` any; it `goes_back` by itself, if it was told to, and did so `count` times.
    """
    first, *rest = problem.diagnostics
    notes = first.notes
    if count:
        note = f"it went back to a checkpoint {count} times before, each time to half the rate."
        notes = (*notes, note)
    help = "take a smaller learning rate, in the recipe or with '--lr'"
    if path is None and keeps:
        help += "; nothing is saved, and '--replace' begins anew in this folder"
    elif path is not None:
        help += f"; '--resume' goes on from step {step_of(path)}"
        if not goes_back:
            help += "; with '--on-nan rollback' it does so by itself, at half the rate"
    return ExplodedError(replace(first, help=f"{help}.", notes=notes), *rest)
