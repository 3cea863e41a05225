"""Plans that are candidates, and the choice among those that fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netc.ir.facts import SHARDED
from netc.ir.plan import Split
from netc.ir.types import Mesh
from netc.strategies.fixed import FIXED

BASES = tuple(FIXED)
"""Fixed strategies that are candidates too."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One plan, priced."""

    name: str
    """Where it comes from: a fixed strategy, or the search."""
    mesh: Mesh
    splits: Mapping[str, Split]
    scheme: str
    """The exchange scheme; empty where there is nothing to exchange in rounds."""
    updates: str | None = None
    """How devices that have the same weights update them; None is as asked for, or replicated."""
    seconds: float = 0.0
    """Of a step: as it was measured on this machine, else by the clock, corrected by what that is
    off where plans of the same task were measured."""
    predicted: float = 0.0
    """Of a step, by the clock."""
    measured: bool = False
    """Whether a step of it was measured."""
    fits: bool | None = None
    """Whether its device that needs most memory has it; None where nobody asked."""
    recompute: tuple[str, ...] = ()
    """Layers computed again for the backward pass, where it would not fit otherwise."""

    @property
    def key(self) -> object:
        """What makes it another plan."""
        return self.mesh, tuple(sorted(self.splits.items())), self.scheme, self.updates

    @property
    def found(self) -> bool:
        """Whether it was searched for, or its updates are sharded unasked."""
        return self.name not in BASES or self.updates == SHARDED


@dataclass(frozen=True, slots=True)
class Search:
    """One exact search of the additive model."""

    mesh: Mesh
    hidden: float
    """The part of the gradients' exchange taken as hidden."""
    seconds: float
    """What the model says of its best plan."""
    bound: float
    """No plan of the space costs less in the model; of those that need no more than the memory,
    where that is told."""
    memory_bytes: float | None = None
    """What a device may hold by the model, where that was part of the search."""
    exact_memory: bool = False
    """Whether that was searched for by sets of seconds and bytes, not by a price of bytes."""
    kept: int = 0
    """Members of such sets kept at most for one layer's elimination; 0 where no set was needed."""
    thinned: bool = False
    """Whether sets were too large to be kept, so that a better plan may have been missed."""

    @property
    def gap(self) -> float:
        """Seconds that the plan found costs more than the bound."""
        return self.seconds - self.bound


@dataclass(frozen=True, slots=True)
class Found:
    """The plan chosen, and why."""

    best: Candidate
    candidates: tuple[Candidate, ...]
    """All that were priced, by their seconds."""
    searches: tuple[Search, ...]
    reason: str
    """Why the best one is taken, in words."""


def _best(fits: Sequence[Candidate], error: float) -> tuple[Candidate, str]:
    """The fastest, unless one that is sure, fixed or measured, is as fast within what prices may be
    off.
    """
    fastest = fits[0]
    fixed = next((c for c in fits if not c.found), None)
    sure = next((c for c in fits if not c.found or c.measured), None)
    if sure is None:
        return fastest, "no fixed strategy is possible, or fits the memory"
    if fastest is sure and fastest.found:
        return fastest, f"it was measured{_beside(fastest, fixed)}"
    if fastest is sure:
        return sure, "no plan that was searched for is faster"
    gain = 1 - fastest.seconds / sure.seconds
    if gain > error:
        return fastest, f"{100 * gain:.1f} % faster than {_called(sure)}"
    return sure, (
        f"what the search found is {100 * gain:.1f} % faster, within the {100 * error:.0f} % that "
        "prices may be off"
    )


def _called(sure: Candidate) -> str:
    best = "the best plan that was measured" if sure.found else "the best fixed strategy"
    return f"'{sure.name}', {best}"


def _beside(fastest: Candidate, fixed: Candidate | None) -> str:
    if fixed is None:
        return ""
    return f" {100 * (1 - fastest.seconds / fixed.seconds):.1f} % faster than '{fixed.name}'"


def best_of(fits: Sequence[Candidate], error: float) -> tuple[Candidate, str]:
    """The best plan, with sharded updates only where that gains more than prices may be off, where
    both were measured, or where no other fits.
    """
    with_shards = [c for c in fits if c.updates == SHARDED]
    others = [c for c in fits if c.updates != SHARDED]
    if not others:
        return with_shards[0], "plans without sharded updates do not fit the memory"
    best, reason = _best(others, error)
    for sharded in with_shards:
        gain = 1 - sharded.seconds / best.seconds
        if gain > (0.0 if sharded.measured and best.measured else error):
            return sharded, f"{100 * gain:.1f} % faster than '{best.name}' without sharded updates"
    return best, reason
