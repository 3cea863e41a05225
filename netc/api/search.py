"""`--strategy auto`: which devices and labels to search over, and what came of it in words."""

from __future__ import annotations

from netc.api.choices import PlanChoices
from netc.api.figures import seconds_text
from netc.api.listener import Listener
from netc.errors import Diagnostic, UsageError, clip
from netc.ir.facts import SHARDED
from netc.ir.types import Mesh, line_mesh, named_mesh
from netc.passes.options import Options
from netc.planner.auto import find_plan
from netc.planner.choice import Candidate, Found
from netc.planner.prices import ALL_LABELS
from netc.strategies.labels import NAMES
from netc.syntax import Network

FEW_GRIDS = 3
"""So many are all tried."""
SHOWN = 4
"""Plans named beside the chosen one."""


def search(network: Network, chosen: Options, choices: PlanChoices, listener: Listener) -> Found:
    """The plan found for what is asked."""
    meshes = (chosen.mesh,) if choices.mesh else tuple(meshes_of(chosen.mesh.size, chosen))
    labels, shared = _labels(choices.search_labels), not choices.no_share
    with listener.watch() as watched:
        return find_plan(
            network, chosen, meshes, labels, shared, choices.exact_memory, watched.tell
        )


def meshes_of(devices: int, chosen: Options) -> list[Mesh]:
    """A line of devices, and grids of two axes that so many make: all of few, of many the squarest
    and those whose rows are groups of the machine's links. Pins are for a line.
    """
    found = [line_mesh(devices)]
    if chosen.pins:
        return found
    sides = [side for side in range(2, devices // 2 + 1) if devices % side == 0]
    if len(sides) > FEW_GRIDS:
        groups = {devices // (link.devices or devices) for link in chosen.cluster.links.levels}
        squarest = min(sides, key=lambda side: abs(side - devices / side))
        sides = [side for side in sides if side == squarest or side in groups]
    return found + [named_mesh((side, devices // side)) for side in sides]


def _labels(text: str | None) -> str:
    """The labels of `--search-labels n,k`."""
    if text is None:
        return ALL_LABELS
    labels = [label.strip() for label in text.split(",")]
    if not labels or not set(labels) <= set(NAMES):
        message = f"'--search-labels {clip(text)}' is not of the form n,k,h."
        hint = "labels are: " + ", ".join(f"{c} ({name})" for c, name in NAMES.items()) + "."
        raise UsageError(Diagnostic("E051", message, help=hint))
    return "".join(labels)


def notes(found: Found) -> tuple[str, ...]:
    """What was chosen and why, and what other plans would take."""
    best = found.best
    others = [c for c in found.candidates if c is not best]
    fixed = [c for c in others if not c.found]
    listed = (*others[:1], *(c for c in fixed if c is not others[0]))[:SHOWN]
    plain = all(c.seconds == c.predicted for c in found.candidates)
    how = (lambda c: seconds_text(c.seconds)) if plain else _how
    beside = ", ".join(
        f"'{title(c)}' {how(c)}{' (does not fit)' * (c.fits is False)}" for c in listed
    )
    again = f", with {len(best.recompute)} layers computed again" if best.recompute else ""
    said = f"auto took '{title(best)}'{again}: {found.reason}; "
    said += f"{_how(best)} a step"
    said += f", beside {beside}." if listed else "."
    if not plain:
        said += " Likely is as much off as predictions were of what was measured."
    lean = [each for each in found.searches if each.memory_bytes is not None]
    if not best.found or not lean:
        return (said,)
    off = f"{100 * max(each.gap / each.seconds for each in lean):.1f} %"
    told = f"plans of less memory are within {off} of the best that fit, in the model searched."
    if all(each.exact_memory and not each.thinned for each in lean):
        told = "plans of less memory are the best that fit, in the model searched."
    elif any(each.thinned for each in lean):
        told = f"'--exact-memory' had more plans to keep than it can, and left some out: {told}"
    return (said, told)


def _how(plan: Candidate) -> str:
    """What a step takes, and how that is known."""
    if plan.measured:
        return f"measured {seconds_text(plan.seconds)}"
    if plan.seconds == plan.predicted:
        return f"predicted {seconds_text(plan.predicted)}"
    return f"predicted {seconds_text(plan.predicted)} and likely {seconds_text(plan.seconds)}"


def title(candidate: Candidate) -> str:
    """A plan in words: "hybrid, scheme b", "search (half of it hidden) on 2x2"."""
    shape = candidate.mesh.shape
    grid = f" on {'x'.join(map(str, shape))}" if len(shape) > 1 else ""
    scheme = f", scheme {candidate.scheme}" if candidate.scheme not in ("", "a") else ""
    updates = f" with {candidate.updates} updates" if candidate.updates == SHARDED else ""
    return f"{candidate.name}{scheme}{grid}{updates}"


__all__ = ["Found", "meshes_of", "notes", "search", "title"]
