"""What folds on a page: blocks of the network file, runs of equal stretches, the part in rounds.

An item is the number of a card, or a dict with its `kind`:

    block    name: the block's name with dots; items
    run      title; count; items: the `count` stretches, each one item, all of the same shape
    rounds   title; items: what is run in rounds
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, takewhile
from typing import Any

from netc.export.build import Unfolded
from netc.export.fold import Run
from netc.export.words import from_to

Item = int | dict[str, Any]


def folding(whole: Unfolded) -> list[Item]:
    """All cards of a plan, in order, in everything that may be folded."""
    items = _runs(whole, whole.runs, 0, len(whole.cards), 0)
    if not whole.rounds:
        return items
    found: list[Item] = []
    for inside, own in groupby(items, lambda item: _in_rounds(whole, item)):
        group = list(own)
        found += [{"kind": "rounds", "title": whole.rounds, "items": group}] if inside else group
    return found


def leaves(item: Item) -> list[int]:
    """The cards in an item, in order."""
    if isinstance(item, int):
        return [item]
    return [card for each in item["items"] for card in leaves(each)]


def _in_rounds(whole: Unfolded, item: Item) -> bool:
    return whole.cards[leaves(item)[0]].layers[0].rounds > 1


def _runs(whole: Unfolded, runs: Iterable[Run], start: int, stop: int, depth: int) -> list[Item]:
    """Cards start .. stop in runs and in blocks; `depth` parts of their names are known."""
    items: list[Item] = []
    for run in runs:
        items += [*range(start, run.start), _run(whole, run)]
        start = run.stop
    return _blocks(whole, [*items, *range(start, stop)], depth)


def _run(whole: Unfolded, run: Run) -> Item:
    starts = range(run.start, run.stop, run.period)
    depth = len(_common(whole, range(run.start, run.stop)))
    items = [_stretch(whole, run, first, depth) for first in starts]
    title = from_to(whole.cards[run.start].name, whole.cards[starts[-1]].name)
    return {"kind": "run", "title": title, "count": run.count, "items": items}


def _stretch(whole: Unfolded, run: Run, first: int, depth: int) -> Item:
    """One of the equal stretches of a run, as one item."""
    inner = [_moved(each, first - run.start) for each in run.inner]
    items = _runs(whole, inner, first, first + run.period, depth)
    if len(items) == 1:
        return items[0]
    return {"kind": "block", "name": whole.cards[first].name, "items": items}


def _moved(run: Run, by: int) -> Run:
    return Run(run.start + by, run.period, run.count, tuple(_moved(r, by) for r in run.inner))


def _blocks(whole: Unfolded, items: Sequence[Item], depth: int) -> list[Item]:
    """Neighbours whose names agree in one part more than `depth` are a block."""
    found: list[Item] = []
    for (_, scope), own in groupby(items, lambda item: _block_of(whole, item, depth)):
        group = list(own)
        if not scope or (len(group) == 1 and isinstance(group[0], int)):
            found += group
            continue
        inner = _blocks(whole, group, depth + 1)
        alone = len(inner) == 1 and not isinstance(inner[0], int)
        block: Item = {"kind": "block", "name": ".".join(scope), "items": inner}
        found.append(inner[0] if alone else block)
    return found


def _block_of(whole: Unfolded, item: Item, depth: int) -> tuple[bool, tuple[str, ...]]:
    """Whether an item is run in rounds, and the block at a depth that it is in, empty outside."""
    scope = _common(whole, leaves(item))
    return _in_rounds(whole, item), scope[: depth + 1] if len(scope) > depth else ()


def _common(whole: Unfolded, cards: Iterable[int]) -> tuple[str, ...]:
    """The parts of names that all these cards begin with, but for their last ones."""
    names = [whole.cards[card].name.split(".")[:-1] for card in cards]
    together = takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))
    return tuple(parts[0] for parts in together)
