"""Going back to the last checkpoint where a training's numbers are none any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..io.checkpoint import Rollbacks
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


def too_often(problem: ExplodedError, count: int) -> ExplodedError:
    """What is raised when a training went back so often, and its numbers are none again."""
    if not count:
        return problem
    first, *rest = problem.diagnostics
    note = f"it went back to a checkpoint {count} times before, each time to half the rate."
    return ExplodedError(replace(first, notes=(*first.notes, note)), *rest)
