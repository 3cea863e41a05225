"""What a search did, as JSON."""

from __future__ import annotations

from netc.api.search import Found
from netc.cli.output import json_line


def tell(found: Found) -> None:
    """Every search with its bound, every plan with its price, and the choice."""
    for each in found.searches:
        json_line(event="search", mesh=list(each.mesh.shape), hidden=each.hidden,
                  seconds=each.seconds, bound=each.bound, gap=each.gap,
                  memory_bytes=each.memory_bytes, exact_memory=each.exact_memory,
                  kept=each.kept, thinned=each.thinned)  # fmt: skip
    for plan in found.candidates:
        json_line(event="candidate", name=plan.name, mesh=list(plan.mesh.shape), scheme=plan.scheme,
                  updates=plan.updates, step_seconds=plan.seconds,
                  predicted_seconds=plan.predicted, measured=plan.measured,
                  fits=plan.fits, chosen=plan is found.best,
                  recompute=list(plan.recompute),
                  splits={layer: list(split) for layer, split in plan.splits.items()})  # fmt: skip
    json_line(event="auto", name=found.best.name, reason=found.reason,
              step_seconds=found.best.seconds)  # fmt: skip
