"""What layers and exchanges of a plan take, by the program that it became."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netc.export.describe import Description, most_sent
from netc.ir.program import Collective, Program


@dataclass(frozen=True, slots=True)
class Figures:
    """Empty where there is no program."""

    exchanges: Mapping[str, float] = field(default_factory=dict)
    """By exchange the seconds that it takes where nothing else goes on."""
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By layer the figures of `netc.layers.LayerCost`."""
    phases: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By layer the seconds of its launches in each phase."""


def exchange_seconds(description: Description, program: Program) -> dict[str, float]:
    """By exchange the seconds that it takes; of several that are exchanged together each has its
    part by bytes.
    """
    sent = {each.name: most_sent(each.traffic) for each in description.exchanges}
    found: dict[str, float] = defaultdict(float)
    for each in program.instructions:
        if isinstance(each, Collective):
            nodes = [part.node for part in each.parts]
            total = sum(sent[node] for node in nodes)
            for node in nodes:
                part = sent[node] / total if total else 1 / len(nodes)
                found[node] += each.seconds * part
    return dict(found)
