"""Two plans of one network beside each other."""

from __future__ import annotations

from dataclasses import dataclass

from netc.api.pictures import page_facts, plan_facts
from netc.api.plan_words import costs_of
from netc.api.request import Request
from netc.export.page import PlanCase
from netc.passes.pipeline import Compiled, lower_network
from netc.passes.plan_memory import plan_alone
from netc.planner.compare import ComparedPlan, described
from netc.report import LayerCost


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two plans."""

    asked: Request
    plan: ComparedPlan
    layers: dict[str, LayerCost]
    compiled: Compiled

    @classmethod
    def of(cls, asked: Request, name: str) -> Side:
        """The plan that is asked for, priced. Raises PlanError where it cannot be carried out."""
        compiled = lower_network(asked.network, asked.options)
        plan = described(compiled, asked.options, name)
        return cls(asked, plan, {c.layer: c for c in costs_of(asked, compiled)}, compiled)

    def case(self, long: bool) -> PlanCase:
        """The plan as pages take it; other splits are priced also where that takes `long`."""
        program = plan_alone(self.compiled.program, self.asked.options.target.alignment_bytes)
        facts = page_facts(plan_facts(self.asked, self.compiled, program), self.asked,
                           self.compiled, long)  # fmt: skip
        return PlanCase(self.compiled.plan, self.asked.network, facts)
