"""Two plans of one network beside each other: where they differ, and what each costs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from netc.api.calls import checked_calls
from netc.api.choices import PlanChoices
from netc.api.figures import (
    bytes_text,
    html_table,
    seconds_text,
    shape_text,
    table,
    terminal_columns,
)
from netc.api.listener import Listener
from netc.api.pictures import page_facts, plan_facts
from netc.api.plan_words import costs_of
from netc.api.request import Parameters, Request, request
from netc.api.values import path_text, usage
from netc.api.writable import check_writable
from netc.export.describe import describe
from netc.export.page import PlanCase
from netc.export.write import check_diff, write_diff
from netc.layers import LayerCost
from netc.passes.pipeline import Compiled, lower_network
from netc.passes.plan_memory import plan_alone
from netc.planner.compare import ComparedPlan, described
from netc.syntax import Network

_HEADER = ("layer", "kind", "split", "sent", "compute", "exchange")
_WHOLE = ("plan", "devices", "step", "not computing", "sent", "memory")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two plans."""

    asked: Request
    plan: ComparedPlan
    """What it costs."""
    layers: Mapping[str, LayerCost]
    """By name what each layer costs."""
    rounds: Mapping[str, int]
    """By name in how many rounds each layer is run."""
    compiled: Compiled

    @classmethod
    def of(cls, asked: Request, name: str, compiled: Compiled | None = None) -> Side:
        """The plan that is asked for, priced. Raises PlanError where it cannot be carried out."""
        compiled = compiled or lower_network(asked.network, asked.options)
        plan = described(compiled, asked.options, name)
        costs = {cost.layer: cost for cost in costs_of(asked, compiled)}
        told = describe(compiled.plan, asked.network).layers
        return cls(asked, plan, costs, {each.name: each.rounds for each in told}, compiled)

    def split_of(self, layer: str) -> str:
        """How a layer is split, and in how many rounds it is run."""
        rounds = self.rounds.get(layer, 1)
        return ",".join(self.layers[layer].split) + (f" in {rounds} rounds" if rounds > 1 else "")

    def case(self, long: bool) -> PlanCase:
        """The plan as pages take it; other splits are priced also where that takes `long`."""
        program = plan_alone(self.compiled.program, self.asked.options.target.alignment_bytes)
        facts = page_facts(plan_facts(self.asked, self.compiled, program), self.asked,
                           self.compiled, long)  # fmt: skip
        return PlanCase(self.compiled.plan, self.asked.network, facts)


@checked_calls
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PlanDifference:
    """Two plans of a network; a table of the layers that differ, and one of what each costs."""

    first: Side
    second: Side

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that are split otherwise, or run in other rounds."""
        one, other = self.first, self.second
        return tuple(name for name in one.layers if one.split_of(name) != other.split_of(name))

    @property
    def heading(self) -> str:
        """One line on what is compared."""
        one, other = self.first.asked.options, self.second.asked.options
        cluster = _both(f"'{one.cluster.name}'", f"'{other.cluster.name}'")
        batch, precision = _both(one.batch, other.batch), _both(one.precision, other.precision)
        differ = f"{len(self.layers)} of {len(self.first.layers)} layers differ"
        return f"{self.first.asked.network.name} on {cluster}, batch {batch}, {precision}: {differ}"

    def table(self, columns: int | None = None) -> str:
        """A row a layer that differs, as wide as so many columns."""
        return table(_HEADER, self._rows(), 3, ("kind",), columns)

    def costs(self, columns: int | None = None) -> str:
        """A row a plan: what a step of it takes, as wide as so many columns."""
        return table(_WHOLE, map(_whole, (self.first, self.second)), columns=columns)

    def save(self, path: str | os.PathLike[str], *, alternatives: bool = False) -> None:
        """Write X.html, a page of both; other splits are priced also where that takes long, with
        `alternatives`.

        Raises UsageError (E056) for another suffix, or where the system refuses.
        """
        file = Path(path_text("path", path))
        check_diff(file)
        check_writable(file)
        write_diff(file, *(side.case(alternatives) for side in (self.first, self.second)))

    def __repr__(self) -> str:
        """Both tables, as wide as the terminal."""
        layers = f"{self.table(terminal_columns())}\n\n" if self.layers else ""
        return f"{self.heading}\n\n{layers}{self.costs(terminal_columns())}"

    def _repr_html_(self) -> str:
        layers = html_table(self.heading, _HEADER, self._rows(), 3)
        return layers + html_table("", _WHOLE, map(_whole, (self.first, self.second)))

    def _rows(self) -> list[tuple[str, ...]]:
        one, other = self.first, self.second
        pairs = ((name, one.layers[name], other.layers[name]) for name in self.layers)
        return [
            (name, a.kind, f"{one.split_of(name)} | {other.split_of(name)}",
             f"{bytes_text(a.sent_bytes)} | {bytes_text(b.sent_bytes)}",
             f"{seconds_text(a.seconds)} | {seconds_text(b.seconds)}",
             f"{seconds_text(a.exchange_seconds)} | {seconds_text(b.exchange_seconds)}")
            for name, a, b in pairs
        ]  # fmt: skip


def difference(
    network: Network,
    parameters: Parameters,
    choices: PlanChoices,
    strategies: tuple[str, str],
    listener: Listener,
) -> PlanDifference:
    """The plans of a network by two strategies. Raises NetError where one cannot be made."""
    first, second = (
        Side.of(request(network, parameters, replace(choices, strategy=name), listener), name)
        for name in strategies
    )
    return PlanDifference(first, second)


def of_plans(first: Side, second: Side) -> PlanDifference:
    """Two plans that were made; UsageError (E051) where they are of different networks."""
    one, other = first.asked.network, second.asked.network
    if (one.inputs, one.layers) != (other.inputs, other.layers):
        message = f"the plans are of different networks: '{one.name}' and '{other.name}'."
        raise usage(message, "compare plans of one network, with the same parameters.")
    return PlanDifference(first, second)


def _both(first: object, second: object) -> str:
    return str(first) if first == second else f"{first} | {second}"


def _whole(side: Side) -> tuple[str, ...]:
    plan = side.plan
    return (
        plan.name, shape_text(side.asked.options.mesh.shape), seconds_text(plan.seconds),
        seconds_text(plan.exposed_seconds), bytes_text(plan.sent_bytes),
        bytes_text(plan.peak_bytes),
    )  # fmt: skip
