"""What every kind of collective takes and gives: the rules that its parts are verified by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

from netc.ir.program import Collective, Part, Program, View
from netc.ir.types import Placed, common_elements


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of collective."""

    givers: str
    """Who has a source: "all" devices, or the "root" only."""
    takers: str
    """Who has a target: "all", the "root", the "others", or "one" of those."""
    whole: bool
    """True: every target is the whole tensor; False: the targets are its shards."""
    reduces: bool = False
    """True: sources are terms, each as large as the tensor; False: they are its shards."""


KINDS = {
    "all_reduce": Kind("all", "all", whole=True, reduces=True),
    "reduce_scatter": Kind("all", "all", whole=False, reduces=True),
    "reduce": Kind("all", "root", whole=True, reduces=True),
    "all_gather": Kind("all", "all", whole=True),
    "all_to_all": Kind("all", "all", whole=False),
    "gather": Kind("all", "root", whole=True),
    "scatter": Kind("root", "all", whole=False),
    "broadcast": Kind("root", "others", whole=True),
    "send": Kind("root", "one", whole=True),
}
"""Every kind; one with a root names it."""


def problem_of(program: Program, collective: Collective) -> str:
    """What is wrong with a collective: its kind, reduction, root or parts; empty if nothing is."""
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
    """Whether no two parts of one global tensor have an element in common."""
    return not any(common_elements(a, b) for a, b in combinations(blocks, 2))


def _fits(program: Program, kind: Kind, collective: Collective, part: Part) -> bool:
    everyone = len(collective.devices)
    if len(part.sources) != everyone or len(part.targets) != everyone:
        return False
    root = collective.root
    right = _who(part.sources, kind.givers, root) and _who(part.targets, kind.takers, root)
    sources = [v for v in part.sources if v is not None]
    targets = [v for v in part.targets if v is not None]
    if not right or not _alike(program, [*sources, *targets]):
        return False
    return _covered(kind, sources, targets) and _sizes(kind, sources, targets)


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
    """Every term has all of every target; or all shards together have it once, and no two of them
    an element in common.
    """
    if not (kind.reduces or disjoint(sources)) or not (kind.whole or disjoint(targets)):
        return False
    for target in targets:
        common = [common_elements(source, target) for source in sources]
        size = prod(target.shape)
        if set(common) != {size} if kind.reduces else sum(common) != size:
            return False
    return True


def _sizes(kind: Kind, sources: list[View], targets: list[View]) -> bool:
    given = [prod(view.shape) for view in sources]
    taken = [prod(view.shape) for view in targets]
    if kind.reduces and len(set(given)) != 1:
        return False
    whole = given[0] if kind.reduces else sum(given)
    return set(taken) == {whole} if kind.whole else sum(taken) == whole
