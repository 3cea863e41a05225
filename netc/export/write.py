"""Write a plan to a file; its suffix says how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from netc.errors import Diagnostic, UsageError, did_you_mean
from netc.export.build import build_picture
from netc.export.describe import Description, PlanFacts, describe, most_sent, total_traffic
from netc.export.dot import dot_text
from netc.export.draw import draw_picture
from netc.export.json import describe_json
from netc.export.legend import Tile
from netc.export.pdf import pdf_bytes
from netc.export.png import png_bytes
from netc.export.scene import Scene
from netc.export.svg import svg_text
from netc.export.words import amount, duration, gibibytes, plural
from netc.ir.facts import SHARDED
from netc.ir.plan import Plan
from netc.syntax.network import Network
from netc.text import json_text

Writer = Callable[[Plan, Network, PlanFacts], bytes]
W = TypeVar("W", bound=Callable[..., bytes])


def write_plan(path: Path, plan: Plan, network: Network, facts: PlanFacts) -> None:
    """Write a training plan of `network` to `path` as SVG, PDF, PNG, DOT or JSON.

    The same plan gives the same bytes. Raises UsageError (E056) for another suffix, and where the
    file cannot be written.
    """
    put(path, writer_of(path, WRITERS, "a plan")(plan, network, facts))


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
    picture = build_picture(description, plan.mesh.size, facts.scheme)
    tiles = _tiles(plan, description, facts)
    header = ", ".join(f"{figure} ({meaning})" for figure, meaning in tiles)
    return dot_text(picture, network.name, header)


def plan_scene(plan: Plan, network: Network, facts: PlanFacts) -> Scene:
    """The picture of a training plan as shapes."""
    description = describe(plan, network)
    picture = build_picture(description, plan.mesh.size, facts.scheme)
    return draw_picture(picture, network.name, _tiles(plan, description, facts), facts.notes)


def plan_json(plan: Plan, network: Network, facts: PlanFacts) -> dict[str, Any]:
    """A training plan as plain values; `netc.export.json` tells what they mean."""
    return describe_json(describe(plan, network), plan, network, facts)


def _tiles(plan: Plan, description: Description, facts: PlanFacts) -> list[Tile]:
    """The figures of the header."""
    mesh = plan.mesh
    axes = ", ".join(f"{name}={n}" for name, n in zip(mesh.axes, mesh.shape, strict=True))
    tiles = [(plural(mesh.size, "device"), f"mesh {axes}"), (facts.strategy, "strategy")]
    if facts.scheme:
        tiles.append((facts.scheme, "exchange scheme"))
    if facts.updates == SHARDED:
        tiles.append((facts.updates, "updates"))
    tiles.append((plural(description.batch, "image"), "a step"))
    tiles.append((amount(description.parameters), "parameters"))
    if mesh.size > 1:
        moved = most_sent(total_traffic(description.exchanges))
        tiles.append((amount(moved, "B"), "sent a step by a device"))
    if facts.memory_bytes:
        tiles.append((gibibytes(max(facts.memory_bytes)), "memory a device"))
    if facts.step_seconds is not None:
        tiles.append((duration(facts.step_seconds), "predicted a step"))
    if facts.cluster:
        tiles.append((facts.cluster, "machine"))
    return tiles


def _reason(path: Path) -> str:
    return f"'{path.suffix}' is not a known kind of file" if path.suffix else "it has no suffix"


WRITERS: dict[str, Writer] = {
    ".svg": lambda *plan: svg_text(plan_scene(*plan)).encode(),
    ".pdf": lambda *plan: pdf_bytes(plan_scene(*plan)),
    ".png": lambda *plan: png_bytes(plan_scene(*plan)),
    ".dot": lambda *plan: plan_dot(*plan).encode(),
    ".json": lambda *plan: f"{json_text(plan_json(*plan), indent=2)}\n".encode(),
}
"""How a plan is written, by suffix."""
