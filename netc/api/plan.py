"""A plan: a network split and compiled; a table in a terminal, a picture in a notebook."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, get_args

from netc.api.build import advice, build, save_strategy
from netc.api.calls import checked_calls
from netc.api.choices import INFERENCE, flag, one_of, wrong
from netc.api.difference import PlanDifference, Side, of_plans
from netc.api.explain import ChoicesOfLayers, Explanation, layer_choices
from netc.api.figures import terminal_columns
from netc.api.listener import Listener, Notes
from netc.api.pictures import page_facts, plan_facts
from netc.api.plan_words import costs_of, footing, heading, layers_text, step_seconds
from netc.api.program import RunnableProgram
from netc.api.request import Request
from netc.api.values import path_text, usage
from netc.api.watch import TextAfter, check_pass
from netc.api.writable import check_writable
from netc.api.written import FileForm
from netc.export import PlanFacts, plan_scene, write_plan
from netc.export.svg import svg_text
from netc.export.write import DRAWN, PAGE, WRITERS, check_plan
from netc.ir.plan import Split
from netc.ir.program import Bundle, Program
from netc.ir.programs import EVAL, PROGRAMS
from netc.ir.text import graph_text, plan_text, program_text
from netc.layers import LayerCost, memory_use, sent_bytes
from netc.passes.pipeline import Compiled, compile_network
from netc.syntax import network_text
from netc.trace.read import read_trace
from netc.trace.same import check_same

EmittedValue = Literal["network", "graph", "plan", "program"]
EMITTED: tuple[EmittedValue, ...] = get_args(EmittedValue)
"""Values that print as text."""


@checked_calls
@dataclass(frozen=True, eq=False, repr=False)
class NetworkPlan(RunnableProgram):
    """A network split over devices and compiled, and what a step of that costs."""

    called: ClassVar[str] = "a plan"
    asked: Request = field(kw_only=True)
    """What was asked for."""
    compiled: Compiled = field(kw_only=True)
    """The values on the way to the program that is planned for."""

    @property
    def cluster(self) -> str:
        """The machine that it is planned for."""
        return self.asked.options.cluster.name

    @property
    def scheme(self) -> str:
        """a, b or c; empty where nothing is exchanged in rounds."""
        return self.compiled.scheme

    @property
    def splits(self) -> Mapping[str, Split]:
        """By layer the labels that it is split by, one a mesh axis."""
        return self.compiled.splits

    @cached_property
    def layers(self) -> tuple[LayerCost, ...]:
        """What each layer costs in a step."""
        return tuple(costs_of(self.asked, self.compiled))

    @cached_property
    def step_seconds(self) -> float:
        """Of a usual step, predicted."""
        return step_seconds(self.asked, self.compiled)

    @property
    def images_per_second(self) -> float:
        """Predicted, of all devices."""
        return self.batch / self.step_seconds

    @property
    def sent_bytes(self) -> tuple[int, ...]:
        """What each device sends in a step."""
        return tuple(sent for sent, _ in sent_bytes(self.compiled.plan))

    @property
    def memory_bytes(self) -> tuple[int, ...]:
        """What each device holds where it holds most."""
        return tuple(use.peak for use in memory_use(self.compiled.program))

    def _said(self) -> tuple[str, ...]:
        return (*self.told, *self.compiled.notes)

    @property
    def heading(self) -> str:
        """One line that says what was compiled."""
        return heading(self.asked, self.compiled)

    @cached_property
    def footing(self) -> str:
        """What a step costs: bytes, memory and time."""
        return footing(self.asked, self.compiled)

    def table(self, columns: int | None = None) -> str:
        """A row a layer, as wide as so many columns."""
        return layers_text(list(self.layers), columns)

    def __repr__(self) -> str:
        """The table with what a step costs, as wide as the terminal."""
        notes = "".join(f"\nnote: {each}" for each in self.notes)
        return f"{self.heading}\n{self.table(terminal_columns())}\n\n{self.footing}{notes}"

    def _repr_svg_(self) -> str:
        return svg_text(plan_scene(self.compiled.plan, self.asked.network, self.facts()))

    def explain(self) -> Explanation:
        """What every layer costs in a step, and what bounds it; `choices_of(layer)` has the splits
        that a layer could have.
        """
        notes = (*self._said(), *advice(self.asked, self.compiled))
        return Explanation(self.heading, self.layers, self.footing, notes)

    def choices_of(self, layer: str) -> ChoicesOfLayers:
        """The splits that layers of a name or pattern could have, priced, and their exchanges.

        Raises UsageError (E051) where there is no such layer.
        """
        if not isinstance(layer, str):
            raise wrong("layer", "a layer's name, or a pattern", layer)
        return layer_choices(self.compiled, self.asked.options, layer)

    def emit(self, value: EmittedValue = "program", *, program: str | None = None) -> str:
        """A value on the way to the program as text: the network, graph or plan that it was, or the
        program; of the bundle's `program` "train", "eval", "init" or "part" where one is named.

        Raises UsageError (E051) for a value or program that there is none of.
        """
        one_of(EMITTED)("value", value)
        if program is not None:
            one_of(PROGRAMS)("program", program)
        planned, named = self.bundle.facts.goal, program or self.bundle.facts.goal
        if value != "program" and named != planned:
            message = f"'--program {named}' names one of several programs, and the {value} is one."
            raise usage(message, "leave it out, or emit a program.")
        if value == "network":
            return network_text(self.asked.network)
        if value == "graph":
            return graph_text(self.compiled.graph)
        if value == "plan":
            return plan_text(self.compiled.plan)
        return program_text(_program(self.bundle, named))

    def emit_after(self, name: str, *, program: str | None = None) -> str:
        """What a pass of compilation made, as text: of the program that is planned for, or of the
        `program` that is named as in `emit`. The network is compiled for it again.

        Raises UsageError (E051) for what is no pass, or none of that program.
        """
        if not isinstance(name, str):
            raise wrong("name", "a pass, such as 'insert-comm'", name)
        if program is not None:
            one_of(PROGRAMS)("program", program)
        told = TextAfter(name, program or self.bundle.facts.goal)
        check_pass(told.name, told.program)
        compile_network(self.asked.network, self.asked.options, told)
        return told.text

    def diff(self, other: NetworkPlan) -> PlanDifference:
        """Where another plan of the same network differs, and what each costs.

        Raises UsageError (E051) for what is no plan, or of another network.
        """
        if not isinstance(other, NetworkPlan):
            raise wrong("other", "another plan", other)
        sides = (Side.of(each.asked, each.strategy, each.compiled) for each in (self, other))
        return of_plans(*sides)

    def facts(self) -> PlanFacts:
        """What pictures of it say."""
        return plan_facts(self.asked, self.compiled, self.compiled.program)

    def draw(
        self,
        path: str | os.PathLike[str],
        *,
        phases: bool = False,
        alternatives: bool = False,
        trace: str | os.PathLike[str] | None = None,
    ) -> tuple[str, ...]:
        """Write X.svg, .pdf, .png, .dot, .json, or .html, a page to look around in; notes on it.

        With `phases` a picture has forward and backward as two lanes. With `alternatives` a page
        prices other splits also where that takes long; it shows a `trace` that was measured below
        the predicted step. Raises UsageError (E051, E056) for what is not drawn so, and DataError
        for a trace of another program.
        """
        file = Path(path_text("path", path))
        flag("phases", phases)
        flag("alternatives", alternatives)
        check_drawn(file, self.asked.options.goal, phases, alternatives, trace is not None)
        check_writable(file)
        facts = replace(self.facts(), phases=phases)
        if trace is not None:
            measured = read_trace(Path(path_text("trace", trace)))
            check_same(measured, self.compiled.program)
            facts = replace(facts, trace=measured)
        if file.suffix.lower() == PAGE:
            facts = page_facts(facts, self.asked, self.compiled, alternatives)
        write_plan(file, self.compiled.plan, self.asked.network, facts)
        return facts.notes

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of files that `save` writes."""
        return (*super().suffixes, *WRITERS, ".toml")

    def _write(self, file: Path, form: FileForm) -> None:
        if form.suffix == ".toml":
            save_strategy(file, self.asked, self.compiled)
        elif form.suffix in WRITERS:
            self.draw(file)
        else:
            super()._write(file, form)


def _program(bundle: Bundle, name: str) -> Program:
    """A program of a bundle; UsageError (E051) where it has none of that name."""
    found: Program | None = getattr(bundle, name)
    if found is None:
        message = f"there is no program '{name}': every step moves weights."
        raise usage(message, "'accumulate 2' in the recipe adds gradients up first.")
    return found


def check_drawn(path: Path, goal: str, phases: bool, alternatives: bool, trace: bool) -> None:
    """Raise UsageError (E051, E056) for a file that is none of a plan, or cannot show what it is to
    show.
    """
    check_plan(path)
    check_alternatives(path, alternatives)
    if trace:
        _needs_page(path, "'--trace' draws what was measured on a page")
    if phases and path.suffix.lower() not in DRAWN:
        message = "'--phases' draws forward and backward pass as two lanes, in a picture only."
        raise usage(message, f"write {', '.join(DRAWN)}.")
    if phases and goal in (EVAL, INFERENCE):
        message = "'--phases' draws the backward pass, and inference has none."
        raise usage(message, "leave out '--goal' or '--phases'.")


def check_alternatives(path: Path | None, alternatives: bool) -> None:
    """Refuse to price other splits for a page where none is written (E051)."""
    if alternatives:
        _needs_page(path, "'--alternatives' prices other splits for a page")


def _needs_page(path: Path | None, what: str) -> None:
    if path is None or path.suffix.lower() != PAGE:
        raise usage(f"{what}, and none is written.", "write one, with '-o FILE.html'.")


def plan_of(asked: Request, listener: Listener, file: str = "") -> NetworkPlan:
    """The plan that is asked for; raises NetError where it cannot be made, or does not fit."""
    bundle, compiled = build(asked, listener)
    told = tuple(listener.texts) if isinstance(listener, Notes) else ()
    return NetworkPlan(
        bundle,
        file,
        network=asked.network,
        prices=asked.cluster,
        asked=asked,
        compiled=compiled,
        told=told,
    )
