"""The plan found: the best of what the additive model offers and of fixed strategies, by the clock.

The additive model (`netc.planner.prices`) is searched exactly, but it cannot know what hides behind
what. So it is asked several times, with the exchange of gradients in full, half and hidden, on a
line of devices and on grids of them; what it answers, and the fixed strategies, become whole
programs, and the clock (`netc.ir.clock`) says what a step of each takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median

from netc.errors import Diagnostic, PlanError
from netc.ir.clock import simulate
from netc.ir.facts import REPLICATED, SHARDED
from netc.ir.graph import Graph
from netc.ir.plan import Split
from netc.ir.program import Program
from netc.ir.programs import TRAIN
from netc.ir.types import Mesh, named_mesh
from netc.numbers import memory_text
from netc.passes.build_graph import build_graph, check_groups
from netc.passes.choose_splits import Pin, choose_splits
from netc.passes.compile_cost import CompileCost
from netc.passes.differentiate import differentiate
from netc.passes.options import Options, task, usual_scheme
from netc.passes.pipeline import lower_network
from netc.passes.plan_memory import peak_bytes
from netc.passes.scheme import scheme_of
from netc.passes.split_rounds import has_boundary
from netc.planner.blocks import alike
from netc.planner.choice import BASES, Candidate, Found, Search, best_of
from netc.planner.prices import ALL_LABELS, choices_of, price
from netc.planner.recompute import NONE, WORDS, fitting
from netc.planner.space import Space
from netc.planner.terms import Terms, terms_of
from netc.strategies.labels import SCALARS, layer_letters
from netc.strategies.search import total
from netc.syntax import Network

HIDDEN = {
    0.0: "gradients' exchange in full", 0.5: "half of it hidden", 1.0: "all of it hidden",
}  # fmt: skip
"""Parts of the exchange of gradients that hide behind computation, one search for each."""
_LESS = 0.9
"""Of the room, each time that plans of less memory are searched for again."""
USUAL = ("single", "data", "hybrid")
"""Fixed strategies that are always candidates."""
HOPELESS = 1.5
"""A plan that takes so many times the best one's seconds, with the gradients' exchange all hidden
where that has none, is no candidate."""
MOST_ROUNDS = 16
"""Devices up to which rounds are tried: their programs grow with the square."""
MOST_SECONDS = 60.0
"""A plan whose program takes longer to make, about, is no candidate."""
LEANER = 3
"""So often plans of less memory are searched for, where the fastest do not fit."""
RECOMPUTED = 2
"""So many of the fastest candidates, and the leanest, are tried with values computed again, where
none fits."""
SCHEMES_OF_BEST = 2
"""So many of the best candidates on a line of devices are tried with rounds too."""

UPDATES_OF_BEST = 2
"""So many of the best candidates, and a fixed strategy, are tried with sharded updates too."""


@dataclass
class _Planner:
    network: Network
    options: Options
    meshes: Sequence[Mesh]
    labels: str
    share: bool
    """Whether equal blocks are split alike."""
    again: bool
    """Whether some of a step may be computed again, where nothing fits otherwise."""
    exact_memory: bool
    """Whether plans that fit are searched for by sets of seconds and bytes."""
    tell: Callable[[str], None]
    """Hears what is done next."""
    searches: list[Search] = field(default_factory=list)
    seen: dict[object, Candidate] = field(default_factory=dict)
    programs: dict[object, Program] = field(default_factory=dict)
    off: list[float] = field(default_factory=list)
    """Of plans that were measured, seconds over those by the clock."""
    peaks: dict[object, int] = field(default_factory=dict)
    """By plan the bytes of the device that needs most."""
    refused: list[tuple[Candidate, PlanError]] = field(default_factory=list)
    spaces: dict[Mesh, Space] = field(default_factory=dict)

    @cached_property
    def training(self) -> Graph:
        """What training begins with."""
        return self._built(TRAIN)

    @cached_property
    def whole(self) -> Graph:
        """The training graph, which has all layers."""
        return differentiate(self.training, self.options.optimizer)

    @cached_property
    def graph(self) -> Graph:
        """What is planned: the training graph, or that of inference."""
        return self.whole if self.options.goal == TRAIN else self._built(self.options.goal)

    @cached_property
    def terms(self) -> Terms:
        """What of the graph has a price, on any mesh."""
        return terms_of(self.graph, self._choices(self.meshes[0]))

    @cached_property
    def alike(self) -> dict[str, str]:
        """By layer of a block that is equal to another the layer that it is split as."""
        return alike(self.whole, self.whole.layers) if self.share else {}

    @cached_property
    def measured(self) -> tuple[Candidate, ...]:
        """The plans of this task that were measured on this machine."""
        asked = self.options.updates or REPLICATED
        known = self.options.cluster.plans.get(task(self.network, self.options), ())
        return tuple(
            Candidate(
                plan.name, named_mesh(plan.mesh), dict(plan.splits), plan.scheme,
                None if plan.updates == asked else plan.updates, plan.seconds, measured=True,
            )
            for plan in known
        )  # fmt: skip

    @property
    def memory_bytes(self) -> float:
        """Of one device."""
        return self.options.cluster.memory_bytes

    def run(self) -> Found:
        """Everything."""
        mesh, pins = self.options.mesh, self.options.pins
        is_pinned = len(pinned(self.whole, mesh, pins)) == len(layer_letters(self.whole))
        if mesh.size == 1 or is_pinned:
            splits = choose_splits(self.whole, mesh, "data", pins)
            name = "as pinned" if is_pinned else "data"
            self._price(Candidate(name, mesh, splits, self._scheme(splits)))
            nothing = "pins leave nothing to choose" if is_pinned else "one device splits nothing"
            return replace(self._choose(), reason=nothing)
        self._consider()
        line = [c for c in self._ranked() if len(c.mesh.shape) == 1]
        for candidate in line[:SCHEMES_OF_BEST]:
            for other in self._with_rounds(candidate):
                self._price(other)
        if self.seen and not self._fits(self._ranked()[0]):
            for attempt in range(LEANER):
                self._search_leaner(attempt)
                if any(map(self._fits, self._ranked())):
                    break
        if self.options.updates is None and self.graph.trains:
            self._price_sharded()
        return self._choose()

    def _built(self, program: str) -> Graph:
        options = self.options
        graph = build_graph(self.network, options.batch, options.precision, program)
        if program == options.goal:
            check_groups(graph)
        return graph

    def _consider(self) -> None:
        """Price the fixed strategies, and what the searches on a line and the best grid found."""
        first, *grids = self.meshes
        space = self._space(first)
        found = self._searched(space)
        for candidate in (*self._fixed(space), *found, *self._allowed()):
            self._price(candidate)
        tried = []
        for mesh in grids:
            own = self._searched(self._space(mesh))
            tried.append((min(s.seconds for s in self.searches if s.mesh == mesh), own))
        for candidate in min(tried, key=lambda each: each[0])[1] if tried else ():
            self._price(candidate)

    def _allowed(self) -> Iterator[Candidate]:
        """Plans that were measured, where nothing was asked that they may not do."""
        if not self.options.pins and self.labels == ALL_LABELS:
            yield from (
                plan
                for plan in self.measured
                if plan.mesh in self.meshes
                and self.options.scheme in (None, plan.scheme)
                and (plan.updates is None or self.options.updates is None)
            )

    def _space(self, mesh: Mesh) -> Space:
        self.tell(
            f"searching plans on {'x'.join(map(str, mesh.shape))} device{'s' * (mesh.size > 1)}"
        )
        priced = price(self.terms, mesh, self.options.cluster, self._choices(mesh))
        self.spaces[mesh] = Space(priced, self.alike, self.exact_memory)
        return self.spaces[mesh]

    def _fixed(self, space: Space) -> Iterator[Candidate]:
        """The fixed strategies with the pins, without those that cannot be among the best."""
        priced, mesh = space.priced, space.priced.mesh
        best = min(search.seconds for search in self.searches if search.mesh == mesh)
        tables = priced.tables(hidden=1.0)
        for name in BASES:
            splits = choose_splits(self.whole, mesh, name, self.options.pins)
            known = priced.has(splits)
            if not known and self.labels != ALL_LABELS:
                continue
            if (
                name in USUAL
                or not known
                or (total(priced.number(splits), tables) <= HOPELESS * best)
            ):
                yield Candidate(name, mesh, splits, self._scheme(splits))

    def _searched(self, space: Space) -> list[Candidate]:
        """The optima of the additive model, and others that fit the memory."""
        found = []
        for hidden, name in self._hidden().items():
            best = space.minimum(hidden)
            self.searches.append(Search(space.priced.mesh, hidden, best.cost, best.bound))
            found.append(self._candidate(space, name, best.choices))
            if space.memory_of(best.choices) > self.memory_bytes:
                found.append(self._lean(space, hidden, self.memory_bytes))
        return found

    def _hidden(self) -> dict[float, str]:
        """By part of the gradients' exchange that hides what a search is called; inference has no
        gradients.
        """
        if self.options.goal != TRAIN:
            return {0.0: "search"}
        return {hidden: f"search ({words})" for hidden, words in HIDDEN.items()}

    def _search_leaner(self, attempt: int) -> None:
        """Price plans of less memory than the fastest: the model knows less than the program."""
        fastest = self._ranked()[0]
        space, needs = self.spaces[fastest.mesh], self._peak(fastest)
        priced = space.priced
        known = priced.has(fastest.splits)
        model = space.memory_of(priced.number(fastest.splits)) if known else float(needs)
        room = self.memory_bytes - max(needs - model, 0.0)
        for hidden in self._hidden():
            self._price(self._lean(space, hidden, max(room, 0.0) * _LESS**attempt))

    def _lean(self, space: Space, hidden: float, memory_bytes: float) -> Candidate:
        """The best plan that fits in the additive model, or the leanest of all."""
        choices, search = space.within(hidden, memory_bytes)
        if search is not None:
            self.searches.append(search)
        return self._candidate(space, f"{self._hidden()[hidden]}, less memory", choices)

    def _candidate(self, space: Space, name: str, choices: Sequence[int]) -> Candidate:
        splits = self._completed(space.splits(choices))
        return Candidate(name, space.priced.mesh, splits, self._scheme(splits))

    def _choices(self, mesh: Mesh) -> dict[str, Sequence[Split]]:
        """The splits that pins leave to every layer."""
        choices: dict[str, Sequence[Split]] = dict(choices_of(self.graph, mesh, self.labels))
        if self.options.pins:
            decided = pinned(self.whole, mesh, self.options.pins)
            choices.update((layer, (decided[layer],)) for layer in choices if layer in decided)
        return choices

    def _scheme(self, splits: Mapping[str, Split]) -> str:
        """The scheme asked for where there is something to exchange in rounds, else a."""
        usual = self.options.scheme or usual_scheme(self.options.fc_update)
        return usual if self.graph.trains and has_boundary(self.graph, splits) else ""

    def _with_rounds(self, candidate: Candidate) -> Iterator[Candidate]:
        """A candidate with the schemes that work in rounds; some may be refused."""
        asked = self.options.scheme is not None or self.options.fc_update == "round"
        if asked or not candidate.scheme or candidate.mesh.size > MOST_ROUNDS:
            return
        yield from (replace(candidate, scheme=scheme) for scheme in ("b", "c"))

    def _price_sharded(self) -> None:
        """Price the best candidates and the best fixed strategy with sharded updates; the leanest
        too where none fits.
        """
        orders = [self._ranked()]
        if not any(map(self._fits, orders[0])):
            orders.append(sorted(orders[0], key=self._peak))
        for order in orders:
            fixed = [each for each in order if not each.found]
            for candidate in (*order[:UPDATES_OF_BEST], *fixed[:1]):
                self._price(replace(candidate, updates=SHARDED))

    def _price(self, candidate: Candidate) -> None:
        if candidate.key in self.seen:
            return
        self.tell(f"pricing '{candidate.name}'")
        try:
            options = replace(chosen_options(self.options, candidate), afford=self._afford)
            if options.goal != TRAIN and options.fc_update == "round":
                # The plan is for training too, which refuses rounds where there is no boundary.
                scheme_of(self.whole, candidate.splits, options)
            compiled = lower_network(self.network, options, verified=False, training=self.training)
        except PlanError as problem:
            # What no choice of splits tells, such as rounds that a layer forbids: no candidate.
            self.refused.append((candidate, problem))
            return
        took = next((p.seconds for p in self.measured if p.key == candidate.key), None)
        predicted = simulate(compiled.program).seconds
        if took is not None:
            self.off.append(took / predicted)
        seconds = predicted if took is None else took
        self.seen[candidate.key] = replace(
            candidate, seconds=seconds, predicted=predicted, measured=took is not None
        )
        self.programs[candidate.key] = compiled.program

    def _afford(self, cost: CompileCost) -> None:
        if cost.seconds > MOST_SECONDS:
            message = (
                f"pricing a plan of {cost.instructions:,} instructions takes some "
                f"{cost.seconds / 60:,.0f} minutes."
            )
            hint = "take '--scheme a', which has no rounds, fewer devices, or a fixed strategy."
            raise PlanError(Diagnostic("E053", message, help=hint))
        self.options.afford(cost)

    def _ranked(self) -> list[Candidate]:
        """Candidates from the fastest on; of equal ones, the fixed and the earlier first."""
        off = median(self.off or (1.0,))
        seen = (
            c if c.measured else replace(c, seconds=c.predicted * off) for c in self.seen.values()
        )
        return sorted(seen, key=lambda each: (each.seconds, each.found))

    def _choose(self) -> Found:
        """The fastest that fits; a searched plan only if it gains more than prices may be off."""
        ranked, tried = self._ranked(), []
        if not ranked:
            # What has to do with the exchange in rounds says more than that there is none.
            raise min(self.refused, key=lambda each: not each[0].scheme)[1]
        for candidate in ranked:
            candidate = replace(candidate, fits=self._fits(candidate))
            tried.append(candidate)
            if candidate.fits and not candidate.found:
                break
        fits = [c for c in tried if c.fits]
        if not fits:
            return self._recomputing(tried)
        best, reason = best_of(fits, self.options.cluster.error)
        if best is not tried[0] and not tried[0].fits:
            reason += "; what is faster does not fit the memory"
        return Found(best, (*tried, *ranked[len(tried) :]), tuple(self.searches), reason)

    def _completed(self, splits: dict[str, Split]) -> dict[str, Split]:
        """With layers that only training has, such as dropout, split as what they read."""
        for layer, nodes in self.whole.by_layer.items():
            if layer not in splits and layer != SCALARS:
                read = (self.whole[name].layer for node in nodes for name in node.inputs)
                splits[layer] = next(splits[source] for source in read if source in splits)
        return splits

    def _recomputing(self, candidates: Sequence[Candidate]) -> Found:
        """The fastest that fits once values are computed again, of the first candidates and the
        leanest; raises PlanError where none does.
        """
        some = (*candidates[:RECOMPUTED], min(candidates, key=self._peak)) if self.again else ()
        tried = []
        for candidate in {each.key: each for each in some}.values():
            made = fitting(self.network, chosen_options(self.options, candidate))
            self.peaks[candidate.key] = made.peak_bytes
            if made.peak_bytes <= self.memory_bytes:
                tried.append(
                    replace(
                        candidate,
                        seconds=made.seconds,
                        predicted=made.seconds,
                        fits=True,
                        recompute=made.layers,
                    )
                )
        if not tried:
            raise self._too_large(candidates)
        best = min(tried, key=lambda each: each.seconds)
        rest = (c for c in candidates if c.key != best.key)
        return Found(best, (best, *rest), tuple(self.searches), "nothing fits as it is")

    def _fits(self, candidate: Candidate) -> bool:
        return self._peak(candidate) <= self.memory_bytes

    def _peak(self, candidate: Candidate) -> int:
        if candidate.key not in self.peaks:
            program = self.programs[candidate.key]
            alignment = self.options.target.alignment_bytes
            self.peaks[candidate.key] = peak_bytes(program, alignment)
        return self.peaks[candidate.key]

    def _too_large(self, candidates: Sequence[Candidate]) -> PlanError:
        least = min(candidates, key=self._peak)
        need, have = memory_text(self._peak(least)), memory_text(self.memory_bytes)
        message = (
            f"none of the {len(candidates)} plans tried fits: the leanest, '{least.name}', needs "
            f"{need} a device, of {have}{', whatever is computed again' * self.again}."
        )
        smaller = ["a smaller batch"] if self.options.batch > 1 else []
        hint = f"take {', or '.join([*smaller, 'more devices'])}"
        hint += ", or give up a pin." if self.options.pins else "."
        return PlanError(Diagnostic("E052", message, help=hint))


def find_plan(
    network: Network,
    options: Options,
    meshes: Sequence[Mesh],
    labels: str = ALL_LABELS,
    share: bool = True,
    exact_memory: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Found:
    """The plan of least predicted step time on one of the meshes, under the pins of `options`.

    `labels` are those that layers may be split by; where they `share` it, equal blocks have the
    same splits; with `exact_memory` plans that fit are searched for by sets of seconds and bytes,
    not by a price of bytes; `tell` hears what is done. Raises PlanError where nothing fits the
    memory, and where pins ask for what layers lack.
    """
    given = options.recompute
    plain = options if WORDS.isdisjoint(given) else replace(options, recompute=())
    again = not plain.recompute and given != (NONE,)
    return _Planner(network, plain, meshes, labels, share, again, exact_memory, tell).run()


def chosen_options(options: Options, candidate: Candidate) -> Options:
    """The options with which a candidate is compiled."""
    pins = tuple(Pin(layer, ",".join(split)) for layer, split in candidate.splits.items())
    return replace(
        options, mesh=candidate.mesh, pins=pins, strategy="data",
        scheme=candidate.scheme or options.scheme, updates=candidate.updates or options.updates,
        recompute=candidate.recompute or options.recompute,
    )  # fmt: skip


def pinned(graph: Graph, mesh: Mesh, pins: Sequence[Pin]) -> dict[str, Split]:
    """The layers that pins decide: where two strategies that differ everywhere agree under them."""
    one, other = (choose_splits(graph, mesh, name, pins) for name in ("single", "data"))
    return {layer: split for layer, split in one.items() if other[layer] == split}
