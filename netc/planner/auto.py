"""The plan found: the best of what the additive model offers and of fixed strategies, by the clock.

The additive model (`netc.planner.prices`) is searched exactly, but it cannot know what hides behind
what. So it is asked several times, with the exchange of gradients in full, half and hidden, on a
line of devices and on grids of them; what it answers, and the fixed strategies, become whole
programs, and the clock (`netc.ir.clock`) says what a step of each takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from netc.errors import Diagnostic, PlanError
from netc.ir.clock import simulate
from netc.ir.graph import Graph
from netc.ir.plan import Split
from netc.ir.program import Program
from netc.ir.types import Mesh
from netc.passes.build_graph import build_graph
from netc.passes.choose_splits import Pin, choose_splits
from netc.passes.differentiate import differentiate
from netc.passes.pipeline import Options, lower_training
from netc.passes.plan_memory import persistent_layout, plan_memory
from netc.passes.split_rounds import has_boundary
from netc.planner.prices import Priced, choices_of, price
from netc.strategies.fixed import FIXED
from netc.strategies.search import Optimum, minimize, total
from netc.syntax import Network

HIDDEN = {
    0.0: "gradients' exchange in full", 0.5: "half of it hidden", 1.0: "all of it hidden",
}  # fmt: skip
"""Parts of the exchange of gradients that hide behind computation, one search for each."""
BASES = tuple(name for name in FIXED if name != "single")
"""Fixed strategies that are candidates too."""
HALVINGS = 12
"""Steps in which the price of memory is found."""
_CHEAP, _DEAR = 1e-18, 1e-6
"""Seconds of a byte that decide nothing, and everything."""
USUAL = ("data", "hybrid")
"""Fixed strategies that are always candidates."""
HOPELESS = 1.5
"""A plan that takes so many times the best one's seconds, with the gradients' exchange all hidden
where that has none, is no candidate."""
MOST_ROUNDS = 16
"""Devices up to which rounds are tried: their programs grow with the square."""
SCHEMES_OF_BEST = 2
"""So many of the best candidates on a line of devices are tried with rounds too."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One plan, priced."""

    name: str
    """Where it comes from: a fixed strategy, or the search."""
    mesh: Mesh
    splits: Mapping[str, Split]
    scheme: str
    """The exchange scheme; empty where there is nothing to exchange in rounds."""
    seconds: float = 0.0
    """Of a step, by the clock."""
    peak_bytes: int | None = None
    """Memory of the device that needs most; None where nobody asked."""

    @property
    def key(self) -> object:
        """What makes it another plan."""
        return self.mesh, tuple(self.splits.items()), self.scheme

    @property
    def found(self) -> bool:
        """Whether it was searched for."""
        return self.name not in BASES


@dataclass(frozen=True, slots=True)
class Search:
    """One exact search of the additive model."""

    mesh: Mesh
    hidden: float
    """The part of the gradients' exchange taken as hidden."""
    seconds: float
    """What the model says of its best plan."""
    bound: float
    """No plan of the space costs less in the model."""


@dataclass(frozen=True, slots=True)
class Found:
    """The plan chosen, and why."""

    best: Candidate
    candidates: tuple[Candidate, ...]
    """All that were priced, by their seconds."""
    searches: tuple[Search, ...]
    reason: str
    """Why the best one is taken, in words."""


@dataclass(slots=True)
class _Planner:
    network: Network
    options: Options
    meshes: Sequence[Mesh]
    labels: str
    searches: list[Search] = field(default_factory=list)
    seen: dict[object, Candidate] = field(default_factory=dict)
    programs: dict[object, Program] = field(default_factory=dict)
    refused: list[PlanError] = field(default_factory=list)

    @property
    def memory_bytes(self) -> float:
        """Of one device."""
        return self.options.cluster.memory_bytes

    def run(self) -> Found:
        """Everything."""
        made = build_graph(self.network, self.options.batch, self.options.precision)
        graph = differentiate(made, self.options.optimizer)
        self._consider(graph)
        line = [c for c in self._ranked() if len(c.mesh.shape) == 1]
        for candidate in line[:SCHEMES_OF_BEST]:
            for other in self._with_rounds(candidate):
                self._price(other)
        return self._choose()

    def _consider(self, graph: Graph) -> None:
        """Price the fixed strategies, and what the searches on a line and the best grid found."""
        first, *grids = self.meshes
        priced = self._tables(graph, first)
        found = self._searched(graph, first, priced)
        for candidate in (*self._fixed(graph, first, priced), *found):
            self._price(candidate)
        tried = []
        for mesh in grids:
            tables = self._tables(graph, mesh)
            own = self._searched(graph, mesh, tables)
            tried.append((min(s.seconds for s in self.searches if s.mesh == mesh), own))
        for candidate in min(tried, key=lambda each: each[0])[1] if tried else ():
            self._price(candidate)

    def _tables(self, graph: Graph, mesh: Mesh) -> Priced:
        return price(graph, mesh, self.options.cluster, self._choices(graph, mesh))

    def _fixed(self, graph: Graph, mesh: Mesh, priced: Priced) -> Iterator[Candidate]:
        """The fixed strategies with the pins, without those that cannot be among the best."""
        best = min(search.seconds for search in self.searches if search.mesh == mesh)
        tables = priced.tables(hidden=1.0)
        for name in BASES:
            splits = choose_splits(graph, mesh, name, self.options.pins)
            usual = name in USUAL or not priced.has(splits)
            if usual or total(priced.number(splits), tables) <= HOPELESS * best:
                yield Candidate(name, mesh, splits, self._scheme(graph, splits))

    def _searched(self, graph: Graph, mesh: Mesh, priced: Priced) -> list[Candidate]:
        """The optima of the additive model, and others that fit the memory."""
        sizes, found = [len(own) for own in priced.choices], []
        for hidden, words in HIDDEN.items():
            best = minimize(sizes, priced.tables(hidden))
            self.searches.append(Search(mesh, hidden, best.cost, best.bound))
            name = f"search ({words})"
            found.append(self._candidate(graph, priced, name, mesh, best))
            if _memory(priced, best) > self.memory_bytes:
                lean = _lean(priced, hidden, self.memory_bytes)
                found.append(self._candidate(graph, priced, f"{name}, less memory", mesh, lean))
        return found

    def _candidate(
        self, graph: Graph, priced: Priced, name: str, mesh: Mesh, best: Optimum
    ) -> Candidate:
        splits = priced.splits(best.choices)
        return Candidate(name, mesh, splits, self._scheme(graph, splits))

    def _choices(self, graph: Graph, mesh: Mesh) -> dict[str, Sequence[Split]]:
        """The splits that pins leave to every layer."""
        choices: dict[str, Sequence[Split]] = dict(choices_of(graph, mesh, self.labels))
        if self.options.pins:
            for layer, split in pinned(graph, mesh, self.options.pins).items():
                choices[layer] = (split,)
        return choices

    def _scheme(self, graph: Graph, splits: Mapping[str, Split]) -> str:
        """The scheme asked for where there is something to exchange in rounds, else a."""
        usual = "b" if self.options.fc_update == "round" else "a"
        return (self.options.scheme or usual) if has_boundary(graph, splits) else ""

    def _with_rounds(self, candidate: Candidate) -> Iterator[Candidate]:
        """A candidate with the schemes that work in rounds; some may be refused."""
        asked = self.options.scheme is not None or self.options.fc_update == "round"
        if asked or not candidate.scheme or candidate.mesh.size > MOST_ROUNDS:
            return
        yield from (replace(candidate, scheme=scheme) for scheme in ("b", "c"))

    def _price(self, candidate: Candidate) -> None:
        if candidate.key in self.seen:
            return
        try:
            options = replace(chosen_options(self.options, candidate), afford=lambda cost: None)
            compiled = lower_training(self.network, options, verified=False)
        except PlanError as problem:
            # What no choice of splits tells, such as rounds that a layer forbids: no candidate.
            self.refused.append(problem)
            return
        seconds = simulate(compiled.program).seconds
        self.seen[candidate.key] = replace(candidate, seconds=seconds)
        self.programs[candidate.key] = compiled.program

    def _ranked(self) -> list[Candidate]:
        """Candidates from the fastest on; of equal ones, the fixed and the earlier first."""
        return sorted(self.seen.values(), key=lambda each: (each.seconds, each.found))

    def _choose(self) -> Found:
        """The fastest that fits; a searched plan only if it gains more than prices may be off."""
        ranked, fitting = self._ranked(), []
        if not ranked:
            raise self.refused[0]
        for candidate in ranked:
            candidate = replace(candidate, peak_bytes=self._peak(candidate))
            fitting.append(candidate)
            enough = (candidate.peak_bytes or 0) <= self.memory_bytes
            if enough and not candidate.found:
                break
        fits = [c for c in fitting if (c.peak_bytes or 0) <= self.memory_bytes]
        if not fits:
            raise self._too_large(fitting)
        best, reason = _best(fits, self.options.cluster.error)
        rest = ranked[len(fitting) :]
        return Found(best, (*fitting, *rest), tuple(self.searches), reason)

    def _peak(self, candidate: Candidate) -> int:
        program = self.programs[candidate.key]
        alignment = self.options.target.alignment_bytes
        layout = persistent_layout([program], alignment)
        return max(plan_memory(program, layout, alignment).arena_bytes)

    def _too_large(self, candidates: Sequence[Candidate]) -> PlanError:
        least = min(candidates, key=lambda each: each.peak_bytes or 0)
        need, have = ((n or 0) / 2**30 for n in (least.peak_bytes, self.memory_bytes))
        message = (
            f"no plan fits: the leanest of {len(candidates)}, '{least.name}', needs {need:.2f} GiB "
            f"a device, of {have:.2f}."
        )
        hint = "take a smaller batch, more devices, or give up a pin."
        return PlanError(Diagnostic("E052", message, help=hint))


def find_plan(
    network: Network, options: Options, meshes: Sequence[Mesh], labels: str = "nkchw"
) -> Found:
    """The plan of least predicted step time on one of the meshes, under the pins of `options`.

    `labels` are those that layers may be split by. Raises PlanError where nothing fits the memory,
    and where pins ask for what layers lack.
    """
    return _Planner(network, options, meshes, labels).run()


def chosen_options(options: Options, candidate: Candidate) -> Options:
    """The options with which a candidate is compiled."""
    pins = tuple(Pin(layer, ",".join(split)) for layer, split in candidate.splits.items())
    return replace(
        options, mesh=candidate.mesh, pins=pins, strategy="data", scheme=candidate.scheme or None
    )


def pinned(graph: Graph, mesh: Mesh, pins: Sequence[Pin]) -> dict[str, Split]:
    """The layers that pins decide: where two strategies that differ everywhere agree under them."""
    one, other = (choose_splits(graph, mesh, name, pins) for name in ("single", "data"))
    return {layer: split for layer, split in one.items() if other[layer] == split}


def _best(fits: Sequence[Candidate], error: float) -> tuple[Candidate, str]:
    """The fastest, unless a fixed strategy is as fast within what prices may be off."""
    fastest = fits[0]
    fixed = next((c for c in fits if not c.found), None)
    if fixed is None:
        return fastest, "no fixed strategy fits the memory"
    if fastest is fixed:
        return fixed, "no plan that was searched for is faster"
    gain = 1 - fastest.seconds / fixed.seconds
    if gain > error:
        return fastest, f"{gain:.1%} faster than '{fixed.name}', the best fixed strategy"
    return fixed, (
        f"what the search found is {gain:.1%} faster, within the {error:.0%} that prices may be off"
    )


def _memory(priced: Priced, best: Optimum) -> float:
    return float(sum(own[n] for own, n in zip(priced.memory, best.choices, strict=True)))


def _lean(priced: Priced, hidden: float, memory_bytes: float) -> Optimum:
    """The best plan for the least price of memory at which it fits, or the leanest of all."""
    sizes = [len(own) for own in priced.choices]
    low, high = _CHEAP, _DEAR
    best = minimize(sizes, priced.tables(hidden, high))
    if _memory(priced, best) > memory_bytes:
        return best
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        tried = minimize(sizes, priced.tables(hidden, middle))
        if _memory(priced, tried) > memory_bytes:
            low = middle
        else:
            high, best = middle, tried
    return best
