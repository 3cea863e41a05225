"""Laws of a plan's page: all that there is of the plan is in its data, once and in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from netc.cost import plan_traffic
from netc.export.describe import describe
from netc.export.page.blocks import leaves
from netc.ir.program import Launch


def check_page(made: Any, data: dict[str, Any]) -> None:
    """The data of a page are whole; `made` has the plan, the network and the facts."""
    (plan,) = data["plans"]
    check_layers(made, data, plan)
    check_cards(plan)
    check_exchanges(made, plan)
    check_clock(made, plan)
    check_memory(made, plan)


def check_layers(made: Any, data: dict[str, Any], plan: dict[str, Any]) -> None:
    """Every layer is there, with its line of the file, its price, and its split among others."""
    facts = describe(made.plan, made.network).layers
    assert [layer["name"] for layer in plan["plan"]["layers"]] == [layer.name for layer in facts]
    written = {layer.name: layer for layer in made.network.layers}
    for fact, extra in zip(facts, plan["layers"], strict=True):
        if fact.name in written:
            source, line = extra["place"]
            text = data["sources"][source]["text"].splitlines()[line - 1]
            assert written[fact.name].kind in text
        if fact.kind != "input":
            assert extra["costs"]["layer"] == fact.name and extra["values"]
            if extra["alternatives"]:
                (taken,) = (each for each in extra["alternatives"] if each["chosen"])
                assert tuple(taken["split"]) == fact.split
            # Nothing is done to flatten, unless images are stored otherwise and copied.
            assert extra["seconds"] or extra["runs_with"] is not None or fact.kind == "flatten"
    sums = [sum(extra["seconds"].values()) for extra in plan["layers"] if extra["seconds"]]
    assert sum(sums) == pytest.approx(_launch_seconds(made), rel=1e-4)


def _launch_seconds(made: Any) -> float:
    """The launches of every layer and phase, on the device where they take longest."""
    longest: dict[tuple[str, str], dict[int, float]] = {}
    for each in made.facts.program.instructions:
        if isinstance(each, Launch):
            own = longest.setdefault((each.layer, each.phase), {})
            own[each.class_] = own.get(each.class_, 0.0) + each.seconds
    return sum(max(own.values()) for own in longest.values())


def check_cards(plan: dict[str, Any]) -> None:
    """Every layer is in one card; every card folds in one place, in its order."""
    layers = [layer for card in plan["cards"] for layer in card["layers"]]
    assert sorted(layers) == list(range(len(plan["layers"])))
    folded = [card for item in plan["folding"] for card in leaves(item)]
    assert folded == list(range(len(plan["cards"])))
    for group in groups(plan["folding"]):
        assert len(leaves(group)) > 1
        if group["kind"] == "run":
            assert len(group["items"]) == group["count"] > 1
            assert len({json.dumps(shape_of(item)) for item in group["items"]}) == 1


def groups(items: list[Any]) -> Iterator[dict[str, Any]]:
    for item in items:
        if not isinstance(item, int):
            yield item
            yield from groups(item["items"])


def shape_of(item: Any) -> Any:
    """How an item folds, without numbers and names."""
    return 0 if isinstance(item, int) else [item["kind"], *map(shape_of, item["items"])]


def check_exchanges(made: Any, plan: dict[str, Any]) -> None:
    """Every exchange is drawn in one place, has its bytes, and is carried out on the clock."""
    moved = plan_traffic(made.plan)
    known = [each.name for each in describe(made.plan, made.network).exchanges]
    assert [each["name"] for each in plan["plan"]["exchanges"]] == known
    sent = {e["name"]: sum(e["sent_bytes"]) for e in plan["plan"]["exchanges"]}
    assert sent == {n: sum(out for out, _ in moved[n].values()) for n in known}
    assert sum(sent.values()) == sum(out for each in moved.values() for out, _ in each.values())
    drawn = [n for card in plan["cards"] for n in card["inside"]]
    drawn += [n for way in plan["ways"] for n in way["exchanges"]]
    assert sorted(drawn) == list(range(len(known)))
    timed = {n for row in plan["clock"]["instructions"] for n in row[6]}
    assert timed == set(range(len(known)))


def check_clock(made: Any, plan: dict[str, Any]) -> None:
    """Every instruction is there on all its classes; the critical path has no gap."""
    program, clock = made.facts.program, plan["clock"]
    assert len(clock["instructions"]) == len(program.instructions)
    times: dict[tuple[int, int], list[int]] = {}
    for number, (row, each) in enumerate(
        zip(clock["instructions"], program.instructions, strict=True)
    ):
        assert tuple(row[7][::3]) == each.classes
        times |= {(number, c): pair for c, *pair in zip(*[iter(row[7])] * 3, strict=True)}
    path = list(zip(*[iter(clock["critical"])] * 2, strict=True))
    assert times[path[0]][0] == 0 and times[path[-1]][1] == clock["nanoseconds"]
    assert all(times[a][1] == times[b][0] for a, b in pairwise(path))


def check_memory(made: Any, plan: dict[str, Any]) -> None:
    """Nothing has bytes of another while both are used, and the arena is no larger than needed."""
    program = made.facts.program
    for class_, own in enumerate(plan["memory"]["classes"]):
        assert own["bytes"] == program.arena_bytes[class_]
        assert own["bytes"] == max(row[3] + row[4] for row in own["rows"])
        buffers = program.buffers_of[class_]
        shown = {plan["memory"]["names"][row[0]] for row in own["rows"]}
        # A device whose shard is empty never uses a buffer of no bytes.
        assert {b.storage for b in buffers if b.nbytes} <= shown <= {b.storage for b in buffers}
        lives = sorted(own["rows"], key=lambda row: (row[5], row[6]))
        here: list[list[int]] = []
        for row in lives:
            here = [other for other in here if other[6] > row[5]]
            for other in here:
                assert other[3] + other[4] <= row[3] or row[3] + row[4] <= other[3], (row, other)
            here.append(row)


def data_in(page: str) -> Any:
    """What the page's script reads."""
    found = re.findall(r'<script type="application/json" id="data">([^<]*)</script>', page)
    assert len(found) == 1
    return json.loads(found[0])
