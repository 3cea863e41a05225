"""What pictures and pages of a plan say."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from netc.api.choices import AUTO
from netc.api.request import Request
from netc.export import PlanFacts
from netc.ir.clock import simulate
from netc.ir.facts import REPLICATED
from netc.ir.program import Program
from netc.layers import layer_costs, memory_use
from netc.passes.pipeline import Compiled
from netc.planner.why import CHEAP_PAIRS, alternatives, pairs

LEFT_OUT = (
    "what other splits would cost is left out, which takes long to price here: "
    "'--alternatives' adds it."
)


def plan_facts(asked: Request, compiled: Compiled, program: Program) -> PlanFacts:
    """What every picture says; `program` is the one planned for, with its memory planned."""
    cluster = asked.options.cluster
    costs = layer_costs(asked.network, compiled.graph, compiled.plan, program, cluster)
    return PlanFacts(
        strategy=f"{AUTO}: {asked.taken}" if asked.taken else Path(asked.strategy).stem,
        scheme=compiled.scheme,
        updates=asked.options.updates or REPLICATED,
        goal=asked.options.goal,
        cluster=cluster.name,
        notes=compiled.notes,
        memory_bytes=tuple(use.peak for use in memory_use(program)),
        step_seconds=simulate(program).seconds,
        program=program,
        costs={cost.layer: asdict(cost) for cost in costs},
    )


def page_facts(
    facts: PlanFacts, asked: Request, compiled: Compiled, long: bool = False
) -> PlanFacts:
    """The same with what only a page shows: other splits, which are priced where that takes some
    seconds, or `long`.
    """
    mesh, cluster = asked.options.mesh, asked.options.cluster
    if not long and pairs(compiled.graph, mesh) > CHEAP_PAIRS:
        return replace(facts, notes=(*facts.notes, LEFT_OUT))
    others = alternatives(compiled.graph, mesh, cluster, compiled.splits)
    rows = {layer: [asdict(each) for each in own] for layer, own in others.items()}
    return replace(facts, alternatives=rows)
