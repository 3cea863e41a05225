"""The figures above a plan."""

from __future__ import annotations

from netc.export.describe import Description, PlanFacts, most_sent, total_traffic
from netc.export.legend import Tile
from netc.export.words import amount, duration, plural
from netc.ir.facts import SHARDED
from netc.ir.plan import Plan
from netc.ir.programs import TRAIN


def tiles_of(plan: Plan, description: Description, facts: PlanFacts) -> list[Tile]:
    """Devices, strategy, batch, and what a step sends, needs and takes, as far as that is known."""
    mesh = plan.mesh
    axes = ", ".join(f"{name}={n}" for name, n in zip(mesh.axes, mesh.shape, strict=True))
    tiles = [(plural(mesh.size, "device"), f"mesh {axes}"), (facts.strategy, "strategy")]
    if facts.scheme:
        tiles.append((facts.scheme, "exchange scheme"))
    if facts.goal != TRAIN:
        tiles.append(("inference", "planned for"))
    if facts.updates == SHARDED:
        tiles.append((facts.updates, "updates"))
    tiles.append((plural(description.batch, "image"), "a step"))
    tiles.append((amount(description.parameters), "parameters"))
    if mesh.size > 1:
        moved = most_sent(total_traffic(description.exchanges))
        tiles.append((amount(moved, "B"), "sent a step by a device"))
    if facts.memory_bytes:
        tiles.append((amount(max(facts.memory_bytes), "B"), "memory a device"))
    if facts.step_seconds is not None:
        tiles.append((duration(facts.step_seconds), "predicted a step"))
    if facts.cluster:
        tiles.append((facts.cluster, "machine"))
    return tiles
