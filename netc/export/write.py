"""Write a plan to a file; its suffix says how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from netc.errors import Diagnostic, UsageError, did_you_mean
from netc.export.build import build_picture
from netc.export.describe import Description, PlanFacts, describe
from netc.export.detail import together
from netc.export.dot import dot_text
from netc.export.draw import draw_picture
from netc.export.figures import Figures, exchange_seconds
from netc.export.json import describe_json
from netc.export.page import PlanCase, diff_html, page_html
from netc.export.page.times import phase_seconds
from netc.export.pdf import pdf_bytes
from netc.export.phases import draw_phases
from netc.export.png import png_bytes
from netc.export.scene import Scene
from netc.export.svg import svg_text
from netc.export.tiles import tiles_of
from netc.ir.plan import Plan
from netc.syntax.network import Network
from netc.text import json_text

Writer = Callable[[Plan, Network, PlanFacts], bytes]
W = TypeVar("W", bound=Callable[..., bytes])


def write_plan(path: Path, plan: Plan, network: Network, facts: PlanFacts) -> None:
    """Write a training plan of `network` to `path` as a page, SVG, PDF, PNG, DOT or JSON.

    The same plan gives the same bytes. Raises UsageError (E056) for another suffix, and where the
    file cannot be written.
    """
    put(path, writer_of(path, WRITERS, "a plan")(plan, network, facts))


def check_plan(path: Path) -> None:
    """Raise UsageError (E056) where a plan cannot be written with this suffix."""
    writer_of(path, WRITERS, "a plan")


def check_diff(path: Path) -> None:
    """Raise UsageError (E056) where a difference cannot be written with this suffix."""
    writer_of(path, DIFFS, "a difference")


def write_diff(path: Path, first: PlanCase, second: PlanCase) -> None:
    """Write two training plans of one network beside each other, as a page; raises as
    `write_plan`.
    """
    put(path, writer_of(path, DIFFS, "a difference")(first, second))


def writer_of(path: Path, writers: Mapping[str, W], what: str) -> W:
    """The writer for a file's suffix; raises UsageError (E056) where there is none."""
    writer = writers.get(path.suffix.lower())
    if writer is None:
        known = ", ".join(writers)
        message = f"cannot write {what} as '{path.name}': {_reason(path)}."
        hint = f"{did_you_mean(path.suffix, writers)}{what} is written as {known}."
        raise UsageError(Diagnostic("E056", message, help=hint))
    return writer


def put(path: Path, content: bytes) -> None:
    """Write a file; raises UsageError (E056)."""
    try:
        path.write_bytes(content)
    except OSError as error:
        message = f"cannot write '{path}': {error.strerror or error}."
        raise UsageError(Diagnostic("E056", message)) from None


def plan_dot(plan: Plan, network: Network, facts: PlanFacts) -> str:
    """The picture of a training plan in Graphviz's language."""
    description = describe(plan, network)
    figures = figures_of(description, facts)
    picture = build_picture(description, plan.mesh.size, facts.scheme, figures)
    tiles = tiles_of(plan, description, facts)
    header = ", ".join(f"{figure} ({meaning})" for figure, meaning in tiles)
    return dot_text(together(picture), network.name, header)


def plan_scene(plan: Plan, network: Network, facts: PlanFacts) -> Scene:
    """The picture of a training plan as shapes."""
    description = describe(plan, network)
    figures = figures_of(description, facts)
    picture = build_picture(description, plan.mesh.size, facts.scheme, figures)
    draw = draw_phases if facts.phases else draw_picture
    return draw(picture, network.name, tiles_of(plan, description, facts), facts.notes)


def figures_of(description: Description, facts: PlanFacts) -> Figures:
    """What layers and exchanges take, as far as a plan's facts say it."""
    if facts.program is None:
        return Figures()
    seconds = exchange_seconds(description, facts.program)
    return Figures(seconds, facts.costs, phase_seconds(facts.program))


def plan_json(plan: Plan, network: Network, facts: PlanFacts) -> dict[str, Any]:
    """A training plan as plain values; `netc.export.json` tells what they mean."""
    return describe_json(describe(plan, network), plan, network, facts)


def _reason(path: Path) -> str:
    return f"'{path.suffix}' is not a known kind of file" if path.suffix else "it has no suffix"


PAGE = ".html"
"""The suffix of pages, which show more than pictures."""
WRITERS: dict[str, Writer] = {
    ".svg": lambda *plan: svg_text(plan_scene(*plan)).encode(),
    ".pdf": lambda *plan: pdf_bytes(plan_scene(*plan)),
    ".png": lambda *plan: png_bytes(plan_scene(*plan)),
    ".dot": lambda *plan: plan_dot(*plan).encode(),
    ".json": lambda *plan: f"{json_text(plan_json(*plan), indent=2)}\n".encode(),
    PAGE: lambda *plan: page_html(*plan).encode(),
}
"""How a plan is written, by suffix."""
DRAWN = (".svg", ".pdf", ".png")
"""The suffixes of pictures that are drawn here, not by Graphviz."""
DIFFS: dict[str, Callable[[PlanCase, PlanCase], bytes]] = {
    PAGE: lambda first, second: diff_html(first, second).encode()
}
"""How two plans are written, by suffix."""
