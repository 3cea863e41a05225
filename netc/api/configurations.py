"""What a calibration measures: networks on some devices by a strategy, or by a plan found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from netc.api.build import build
from netc.api.choices import PlanChoices
from netc.api.elsewhere import measure, once
from netc.api.figures import seconds_text
from netc.api.held import placed
from netc.api.listener import Listener
from netc.api.model import Model
from netc.api.profile import measured_profile
from netc.api.request import Request, request
from netc.api.search import meshes_of, title
from netc.cost import Cluster, MeasuredLaunch, MeasuredPlan, at_devices, at_precision
from netc.errors import NetError, PlanError
from netc.ir.facts import REPLICATED, SHARDED
from netc.ir.types import named_mesh
from netc.passes.options import task
from netc.planner.auto import chosen_options, find_plan
from netc.planner.choice import Candidate

BEST_PLANS = 3
"""So many of the plans that a search ranks first are measured."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A network on some devices by a strategy, measured."""

    asked: Request
    launches: dict[str, list[MeasuredLaunch]]
    """By their texts, as often as they are in a step."""
    plan: MeasuredPlan
    """What all of it took, by which plan."""

    @property
    def seconds(self) -> float:
        """Of a usual step."""
        return self.plan.seconds

    @property
    def strategy(self) -> str:
        """The plan in words."""
        plan = self.plan
        how = plan.updates if plan.updates == SHARDED else None
        return title(
            Candidate(plan.name, named_mesh(plan.mesh), dict(plan.splits), plan.scheme, how)
        )

    @property
    def task(self) -> str:
        """What its step computes."""
        return task(self.asked.network, self.asked.options)

    @property
    def devices(self) -> int:
        """How many."""
        return self.asked.options.mesh.size

    @property
    def setting(self) -> str:
        """Where its launches hold."""
        return self.asked.options.setting

    @property
    def name(self) -> str:
        """Network and batch."""
        return f"{self.asked.network.name} {self.asked.options.batch}"

    @property
    def text(self) -> str:
        """One line."""
        devices = f"{self.devices} device{'s' * (self.devices > 1)}"
        return f"{self.name}, {devices}, {self.strategy}: {seconds_text(self.seconds)} a step"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A configuration that cannot be measured, and why."""

    network: str
    devices: int
    strategy: str
    problem: NetError

    @property
    def reason(self) -> str:
        """The first thing that is wrong."""
        return self.problem.diagnostics[0].message

    @property
    def text(self) -> str:
        """A sentence."""
        what = f"{self.network} on {self.devices} by '{self.strategy}'"
        return f"{what} is not measured: {self.reason.rstrip('.')}."


@dataclass(frozen=True, slots=True)
class Measuring:
    """By what steps are measured, and who is told."""

    choices: PlanChoices
    """Of each plan but for its devices and strategy."""
    steps: int
    """So many are timed."""
    told: Callable[[Configuration | Skipped], None]

    def asked(self, model: Model, devices: int, strategy: str) -> Request:
        """A fixed strategy."""
        chosen = replace(self.choices, devices=devices, strategy=strategy)
        return request(model.network, model.parameters, chosen, Listener())

    def measured(self, model: Model, devices: int, strategy: str) -> Iterator[Configuration]:
        """One configuration; none where it cannot be carried out."""
        try:
            asked = self.asked(model, devices, strategy)
            yield self._profiled(asked, strategy)
        except NetError as problem:
            self.told(Skipped(_called(model), devices, strategy, problem))

    def best_plans(self, model: Model, devices: int, cluster: Cluster) -> Iterator[Configuration]:
        """The plans that a search ranks first on the machine as it was measured so far, measured;
        not those that were.
        """
        asked = self.asked(model, devices, "data")
        seen = at_precision(at_devices(cluster, devices), asked.options.precision)
        chosen = replace(asked.options, cluster=seen)
        try:
            found = find_plan(asked.network, chosen, meshes_of(devices, chosen))
        except PlanError as problem:
            self.told(Skipped(_called(model), devices, "auto", problem))
            return
        for candidate in found.candidates[:BEST_PLANS]:
            if not candidate.measured and candidate.fits is not False:
                taken = replace(asked, options=chosen_options(chosen, candidate))
                try:
                    yield self._profiled(taken, candidate.name)
                except NetError as problem:
                    self.told(Skipped(_called(model), devices, candidate.name, problem))

    def _profiled(self, asked: Request, name: str) -> Configuration:
        """What a profile says of it, in a process of its own, which gives everything back."""
        bundle, compiled = build(asked, Listener())
        choice = placed(bundle, self.choices.share_gpus and asked.options.mesh.size > 1)
        found = measured_profile(bundle, choice, once(measure, bundle, choice, self.steps))
        launches: dict[str, list[MeasuredLaunch]] = defaultdict(list)
        for each in found.launches:
            one = MeasuredLaunch(each.seconds, each.flops, each.moved_bytes)
            launches[each.call].append(one)
        splits, shape = tuple(compiled.splits.items()), asked.options.mesh.shape
        updates = asked.options.updates or REPLICATED
        plan = MeasuredPlan(name, found.seconds, shape, compiled.scheme, updates, splits)
        made = Configuration(asked, launches, plan)
        self.told(made)
        return made


def _called(model: Model) -> str:
    return model.file or model.name
