"""What a page draws, as plain values: the plan as JSON has it, and what only a page shows.

title     of the page
legend    [letter, meaning] of every split; kinds of memory; streams, phases: names by number
sources   of network files: name, text
plans     one, or the two that are compared:
    name       what tells it from the other one
    plan       as `netc.export.json`
    tiles      [figure, meaning]: the header
    layers     in the order of `plan.layers`
        text          kind and main options
        place         [source, line], or null
        trail         notes of blocks and repeats that led there, innermost first
        values        [name, phase, type, placement] of its values, in one round if there are any
        costs         as `netc explain --json`, or null
        alternatives  as `netc explain --layer --json`, the cheapest first
        seconds       {forward, backward, update}: of its launches, on the device where they
                      take longest
        runs_with     the layer whose launches compute this one too, or null
    exchanges  in the order of `plan.exchanges`: text, phase, way ("forward" and "backward"
               stand between cards, "" inside one)
    cards      layers (numbers), title, lines, split, inside (numbers of exchanges)
    ways       source, targets (numbers of cards), exchanges
    folding    as `netc.export.page.blocks`
    rounds     how many rounds there are; 1 where there are none
    clock      as `netc.export.page.times`, or null
    memory     as `netc.export.page.storages`, or null
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netc.errors import Source, Span
from netc.export.build import WAYS, Unfolded, build_unfolded
from netc.export.describe import (
    Description,
    ExchangeFacts,
    PlanFacts,
    describe,
    layers_of,
    round_numbers,
)
from netc.export.json import describe_json
from netc.export.page.blocks import folding
from netc.export.page.storages import KINDS, storage_rows
from netc.export.page.times import PHASES, clock_rows, phase_seconds
from netc.export.tiles import tiles_of
from netc.export.words import MEANINGS, exchange_text, layer_text
from netc.ir.clock import Timeline, simulate
from netc.ir.plan import Plan
from netc.ir.program import STREAMS, Launch, Program
from netc.syntax.network import Network


@dataclass(frozen=True, slots=True)
class PlanCase:
    """A plan that a page shows."""

    plan: Plan
    network: Network
    facts: PlanFacts


def page_data(cases: Sequence[PlanCase]) -> dict[str, Any]:
    """Everything that a page of one plan shows, or of two plans of one network."""
    sources = _sources(case.network for case in cases)
    names = [case.facts.strategy for case in cases]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, 1)]
    return {
        "title": cases[0].network.name,
        "legend": {
            "splits": list(MEANINGS.items()),
            "memory": list(KINDS),
            "streams": list(STREAMS),
            "phases": list(PHASES),
        },
        "sources": [{"name": source.name, "text": source.text} for source in sources],
        "plans": [_plan(case, name, sources) for case, name in zip(cases, names, strict=True)],
    }


def _sources(networks: Iterator[Network]) -> list[Source]:
    """The files of networks: the one that was named first, then those that it includes."""
    found: dict[Source, None] = {}
    for network in networks:
        found |= {network.source: None} if network.source else {}
        found |= {span.source: None for span in _spans(network).values()}
    return list(found)


def _spans(network: Network) -> dict[str, Span]:
    """Where inputs and layers are written, as far as that is known."""
    inputs = {each.name: each.span for each in network.inputs}
    spans = inputs | {layer.name: layer.span for layer in network.layers}
    return {name: span for name, span in spans.items() if span is not None}


def _plan(case: PlanCase, name: str, sources: Sequence[Source]) -> dict[str, Any]:
    plan, facts = case.plan, case.facts
    description = describe(plan, case.network)
    whole = build_unfolded(description, plan.mesh.size, facts.scheme)
    program = facts.program
    line = simulate(program) if program is not None else None
    return {
        "name": name,
        "plan": describe_json(description, plan, case.network, facts),
        "tiles": [list(tile) for tile in tiles_of(plan, description, facts)],
        "layers": list(_layers(case, description, line, sources)),
        "exchanges": [_exchange(each, plan) for each in description.exchanges],
        **_cards(whole, description),
        "folding": folding(whole),
        "rounds": max(1, len(round_numbers(plan))),
        "clock": clock_rows(plan, program, line, description, facts.trace)
        if program and line
        else None,
        "memory": storage_rows(plan, program, line, description) if program and line else None,
    }


def _exchange(exchange: ExchangeFacts, plan: Plan) -> dict[str, Any]:
    phase, way = plan.graph[exchange.name].phase, WAYS.get(exchange.role, "")
    return {"text": exchange_text(exchange), "phase": phase, "way": way}


def _cards(whole: Unfolded, description: Description) -> dict[str, Any]:
    layers = {layer.name: number for number, layer in enumerate(description.layers)}
    moved = {each.name: number for number, each in enumerate(description.exchanges)}
    cards = [
        {
            "layers": [layers[layer.name] for layer in card.layers],
            "title": card.title,
            "lines": list(card.lines),
            "split": list(card.split),
            "inside": [moved[each.name] for each in inside],
        }
        for card, inside in zip(whole.cards, whole.inside, strict=True)
    ]
    ways = [
        {
            "source": way.source,
            "targets": list(way.targets),
            "exchanges": [moved[each.name] for each in way.exchanges],
        }
        for way in whole.ways
    ]
    return {"cards": cards, "ways": ways}


def _layers(
    case: PlanCase, description: Description, line: Timeline | None, sources: Sequence[Source]
) -> Iterator[dict[str, Any]]:
    facts, spans = case.facts, _spans(case.network)
    numbers = {layer.name: number for number, layer in enumerate(description.layers)}
    values, hosts = _values(case.plan), _hosts(case.plan, facts.program)
    seconds = phase_seconds(facts.program) if facts.program is not None else {}
    for layer in description.layers:
        costs = facts.costs.get(layer.name)
        yield {
            "text": layer_text(layer),
            **_place(spans.get(layer.name), sources),
            "values": values.get(layer.name, []),
            "costs": _rounded(costs) if costs is not None else None,
            "alternatives": [_rounded(each) for each in facts.alternatives.get(layer.name, ())],
            "seconds": seconds.get(layer.name),
            "runs_with": numbers.get(hosts.get(layer.name, "")),
        }


def _place(span: Span | None, sources: Sequence[Source]) -> dict[str, Any]:
    if span is None:
        return {"place": None, "trail": []}
    return {"place": [sources.index(span.source), span.line], "trail": list(span.trail)}


def _values(plan: Plan) -> dict[str, list[list[str]]]:
    """By layer its values, those of the first round where there are several."""
    rounds = round_numbers(plan)
    found: dict[str, list[list[str]]] = {}
    for node in plan.graph.nodes:
        if rounds.get(node.rows, 0) == 0:
            placed = ",".join(map(str, plan.placement[node.name]))
            for layer in layers_of(node):
                row = [node.name, node.phase, str(node.type), placed]
                found.setdefault(layer, []).append(row)
    return found


def _hosts(plan: Plan, program: Program | None) -> dict[str, str]:
    """By layer that has no launches of its own forward, the one whose launches compute it."""
    launches = (
        [each for each in program.instructions if isinstance(each, Launch)] if program else []
    )
    forward = [each for each in launches if each.phase == "forward"]
    own = {each.layer for each in forward}
    found: dict[str, str] = {}
    for each in forward:
        for layer in layers_of(plan.graph[each.node]):
            if layer not in own:
                found.setdefault(layer, each.layer)
    return found


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds and bytes that were computed, with six digits."""
    return {
        name: float(f"{value:.6g}") if isinstance(value, float) else value
        for name, value in figures.items()
    }
