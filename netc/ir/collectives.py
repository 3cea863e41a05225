"""What every kind of collective takes and gives: the rules that its parts are verified by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from netc.ir.program import GroupCollective, Part, Program, View
from netc.ir.types import Placed, numbers


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of collective."""

    givers: str
    """Who has a source: "all" devices, or the "root" only."""
    takers: str
    """Who has a target: "all", the "root", the "others", or "one" of those."""
    takes: str
    """What targets are: each the "whole" tensor, its "shards", or "parts" of it, which may
    overlap."""
    reduces: bool = False
    """True: sources are terms, each as large as the tensor; False: they are its shards."""


KINDS = {
    "all_reduce": Kind("all", "all", takes="whole", reduces=True),
    "reduce_scatter": Kind("all", "all", takes="shards", reduces=True),
    "reduce": Kind("all", "root", takes="whole", reduces=True),
    "all_gather": Kind("all", "all", takes="whole"),
    "all_to_all": Kind("all", "all", takes="shards"),
    "halo_exchange": Kind("all", "all", takes="parts"),
    "gather": Kind("all", "root", takes="whole"),
    "scatter": Kind("root", "all", takes="shards"),
    "broadcast": Kind("root", "others", takes="whole"),
    "send": Kind("root", "one", takes="whole"),
}
"""Every kind; one with a root names it."""


def problem_of(program: Program, collective: GroupCollective) -> str:
    """What is wrong with a group's collective: its kind, reduction, root or parts; empty if
    nothing is.
    """
    kind = KINDS.get(collective.kind)
    if kind is None:
        return f"no collective is called '{collective.kind}'"
    if collective.op not in (("sum", "max", "min") if kind.reduces else ("",)):
        return f"{collective.kind} with the reduction '{collective.op}'"
    if (0 <= collective.root < len(collective.devices)) != ("root" in (kind.givers, kind.takers)):
        return f"{collective.kind} with root {collective.root}"
    if not collective.parts:
        return f"{collective.kind} of nothing"
    bad = next((p for p in collective.parts if not _fits(program, kind, collective, p)), None)
    return f"{bad.node} is not what {collective.kind} takes and gives" if bad else ""


def disjoint(blocks: Sequence[Placed]) -> bool:
    """Whether parts of one global tensor are of one grid, and no two the same: then none have an
    element in common.
    """
    places = [(numbers(b.where), b.shape) for b in blocks if 0 not in b.shape]
    if len(set(places)) != len(places):
        return False
    ranks = {len(shape) for _, shape in places}
    return len(ranks) <= 1 and all(
        _apart({(where[dim], shape[dim]) for where, shape in places})
        for dim in range(max(ranks, default=0))
    )


def _apart(spans: Iterable[tuple[int, int]]) -> bool:
    """Whether different spans, as first and length, have nothing in common."""
    return all(a + n <= b for (a, n), (b, _) in pairwise(sorted(spans)))


def _fits(program: Program, kind: Kind, collective: GroupCollective, part: Part) -> bool:
    root = collective.root
    right = _who(part.sources, kind.givers, root) and _who(part.targets, kind.takers, root)
    sources = [v for v in part.sources if v is not None]
    targets = [v for v in part.targets if v is not None]
    if not right or not _alike(program, _different([*sources, *targets])):
        return False
    return _covered(kind, sources, targets) and _sizes(kind, sources, targets)


def _different(views: Iterable[View]) -> list[View]:
    """Each view once that is there several times: those of a class often are."""
    return list({id(view): view for view in views}.values())


def _alike(program: Program, views: list[View]) -> bool:
    """Whether views are of one type, as many dimensions and one format."""
    about = {(program.buffer[v.buffer].dtype, len(v.shape), v.format) for v in views}
    return len(about) == 1


def _who(views: Sequence[View | None], who: str, root: int) -> bool:
    here = {i for i, view in enumerate(views) if view is not None}
    if who == "one":
        return len(here) == 1 and root not in here
    everyone = set(range(len(views)))
    return here == {"all": everyone, "root": {root}, "others": everyone - {root}}[who]


def _covered(kind: Kind, sources: list[View], targets: list[View]) -> bool:
    """Every term has all of every target; or all shards together are a box that has it, and no two
    of them have an element in common.
    """
    if not (kind.reduces or disjoint(sources)):
        return False
    if kind.takes == "shards" and not disjoint(targets):
        return False
    given = [_bounds(view) for view in _different(sources) if kind.reduces or 0 not in view.shape]
    box = [_span(spans, kind.reduces) for spans in zip(*given, strict=True)]
    if not kind.reduces and prod(b - a for a, b in box) != sum(prod(v.shape) for v in sources):
        return not any(prod(view.shape) for view in (*sources, *targets))
    return all(
        a <= first and last <= b
        for view in _different(targets)
        if 0 not in view.shape
        for (first, last), (a, b) in zip(_bounds(view), box, strict=True)
    )


def _span(spans: Sequence[tuple[int, int]], common: bool) -> tuple[int, int]:
    """What spans have in common, or what they are inside of together."""
    firsts, lasts = zip(*spans, strict=True)
    return (max(firsts), min(lasts)) if common else (min(firsts), max(lasts))


def _bounds(view: View) -> list[tuple[int, int]]:
    """First and last (exclusive) index along each dimension."""
    return [(w, w + n) for w, n in zip(numbers(view.where), view.shape, strict=True)]


def _sizes(kind: Kind, sources: list[View], targets: list[View]) -> bool:
    given = [prod(view.shape) for view in sources]
    taken = [prod(view.shape) for view in targets]
    if kind.reduces and len(set(given)) != 1:
        return False
    whole = given[0] if kind.reduces else sum(given)
    match kind.takes:
        case "whole":
            return set(taken) == {whole}
        case "shards":
            return sum(taken) == whole
    return all(each <= whole for each in taken)
