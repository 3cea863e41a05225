"""Why a layer is split as it is: what each other split would cost, all other layers as they are,
and behind what its exchanges hide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netc.cost import Cluster
from netc.ir.clock import Timeline, simulate
from netc.ir.graph import Graph
from netc.ir.plan import Split
from netc.ir.program import Collective, Launch, Program
from netc.ir.types import Mesh
from netc.planner.prices import Priced, choices_of, price
from netc.planner.terms import terms_of
from netc.strategies.search import CostTable


@dataclass(frozen=True, slots=True)
class Alternative:
    """A split that a layer may have, in the additive model, beside the splits of all others."""

    split: Split
    chosen: bool
    compute_seconds: float
    """Of the layer's launches."""
    exchange_seconds: float
    """Of what is exchanged with other layers, forward and backward."""
    update_seconds: float
    """Of the exchange of its weights' gradients, which may hide behind computation."""
    memory_bytes: float
    """Of the first device: weights, gradients, state, and what the layer keeps."""

    @property
    def seconds(self) -> float:
        """All of it, nothing hidden."""
        return self.compute_seconds + self.exchange_seconds + self.update_seconds


@dataclass(frozen=True, slots=True)
class TimedExchange:
    """An exchange of a layer, on the clock."""

    kind: str
    phase: str
    tensors: int
    """Exchanged together, of whatever layers."""
    start: float
    """Seconds from the start of the step."""
    seconds: float
    exposed_seconds: float
    """Of them, those in which a device that exchanges does not compute."""
    behind: tuple[str, ...]
    """The layers that are computed meanwhile, in order."""


CHEAP_PAIRS = 10**6
"""Up to so many `pairs` alternatives are priced in some seconds; three axes have ten times that."""


def pairs(graph: Graph, mesh: Mesh) -> int:
    """The pairs of splits that each layer may have, of all layers: pricing alternatives takes time
    in proportion.
    """
    return sum(len(own) ** 2 for own in choices_of(graph, mesh).values())


def alternatives(
    graph: Graph, mesh: Mesh, cluster: Cluster, splits: Mapping[str, Split]
) -> dict[str, list[Alternative]]:
    """By layer every split that it may have, the cheapest first, where all other layers keep
    theirs. `graph` is that of training, before rounds.
    """
    choices = {
        layer: own if splits[layer] in own else (*own, splits[layer])
        for layer, own in choices_of(graph, mesh).items()
    }
    priced = price(terms_of(graph, choices), mesh, cluster, choices)
    chosen = list(priced.number({layer: splits[layer] for layer in priced.layers}))
    found = {}
    for place, layer in enumerate(priced.layers):
        own = [_alternative(priced, place, choice, chosen) for choice in range(
            len(priced.choices[place]))]  # fmt: skip
        found[layer] = sorted(own, key=lambda each: each.seconds)
    return found


def _alternative(
    priced: Priced, place: int, choice: int, chosen: Sequence[int]
) -> Alternative:  # fmt: skip
    numbers = [*chosen[:place], choice, *chosen[place + 1 :]]
    return Alternative(
        priced.choices[place][choice], choice == chosen[place],
        float(priced.computing[place][choice]),
        _of(priced.exchanging, place, numbers), _of(priced.updating, place, numbers),
        float(priced.memory[place][choice]),
    )  # fmt: skip


def _of(tables: Sequence[CostTable], place: int, numbers: Sequence[int]) -> float:
    """The cost of all tables that a layer is in."""
    return sum(
        float(t.costs[tuple(numbers[i] for i in t.variables)])
        for t in tables if place in t.variables
    )  # fmt: skip


def exchanges(graph: Graph, program: Program, layer: str) -> list[TimedExchange]:
    """The exchanges that a layer has a part in, alone or in a bucket, in the order in which they
    begin. `graph` is the plan's.
    """
    line = simulate(program)
    launches = _launches(program, line)
    found = []
    for number, each in enumerate(program.instructions):
        if isinstance(each, Collective) and layer in {graph[p.node].layer for p in each.parts}:
            found.append(_timed(each, number, line, launches))
    return sorted(found, key=lambda each: each.start)


Busy = tuple[float, float, str]
"""When a device computes, until when, and for which layer."""


def _launches(program: Program, line: Timeline) -> dict[int, list[Busy]]:
    """By class what is computed when."""
    found: dict[int, list[Busy]] = {}
    for (number, class_), start in line.starts.items():
        each = program.instructions[number]
        if isinstance(each, Launch):
            busy = start, line.ends[number, class_], each.layer
            found.setdefault(class_, []).append(busy)
    return {class_: sorted(own) for class_, own in found.items()}


def _timed(
    each: Collective, number: int, line: Timeline, launches: Mapping[int, list[Busy]]
) -> TimedExchange:
    """On the class of devices that computes least meanwhile."""
    best = None
    for class_ in each.classes:
        start, end = line.starts[number, class_], line.ends[number, class_]
        met = list(_meeting(launches.get(class_, ()), start, end))
        hidden = sum(seconds for seconds, _ in met)
        if best is None or hidden < best[2]:
            best = start, end, hidden, tuple(dict.fromkeys(layer for _, layer in met))
    assert best is not None, "somebody takes part"
    start, end, hidden, behind = best
    exposed = max(end - start - hidden, 0.0)
    return TimedExchange(
        each.kind, each.phase, len(each.parts), start, end - start, exposed, behind
    )


def _meeting(busy: Sequence[Busy], start: float, end: float) -> Iterator[tuple[float, str]]:
    for begins, ends, layer in busy:
        if (seconds := min(ends, end) - max(begins, start)) > 0:
            yield seconds, layer
