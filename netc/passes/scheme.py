"""The scheme by which layers split by the batch exchange with those behind them."""

from __future__ import annotations

from collections.abc import Mapping

from netc.errors import Diagnostic, PlanError
from netc.ir.graph import Graph
from netc.ir.optimizers import Chosen
from netc.ir.plan import Split
from netc.passes.options import Options, usual_scheme
from netc.passes.split_rounds import has_boundary


def scheme_of(
    graph: Graph, splits: Mapping[str, Split], options: Options
) -> tuple[str, tuple[str, ...]]:
    """The scheme in force, with a note where there is nothing to exchange by the one asked for."""
    if not graph.trains:
        return "", ()
    if options.fc_update == "round":
        _check_every_round(options.optimizer)
    if options.mesh.size == 1 or not has_boundary(graph, splits):
        if options.fc_update == "round":
            message = "'--fc-update round' needs layers split by the batch that feed others."
            hint = "take '--strategy hybrid' on more than one device."
            raise PlanError(Diagnostic("E043", message, help=hint))
        if options.scheme is None:
            return "", ()
        where = "no layer split by the batch feeds one split otherwise"
        return "", (f"scheme {options.scheme} has nothing to do: {where}.",)
    return options.scheme or usual_scheme(options.fc_update), ()


def _check_every_round(optimizer: Chosen) -> None:
    """Refuse what is done with the gradients of a whole step where each round's move weights."""
    why = {
        "clip": "the norm of one round's gradients is not that of the step's, which 'clip' limits.",
        "accumulate": "gradients that move weights after each round are not added up over batches.",
    }
    asked = {"clip": optimizer.clip is not None, "accumulate": optimizer.accumulate > 1}
    for setting in (name for name, is_asked in asked.items() if is_asked):
        hint = f"leave '{setting}' out of the recipe, or take '--fc-update step'."
        raise PlanError(Diagnostic("E043", why[setting], help=hint))
