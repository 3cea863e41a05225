"""The plan: a graph with communication nodes, and where every tensor lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from netc.ir.graph import Graph
from netc.ir.types import Mesh, Placements
from netc.ir.views import Viewed

Split = tuple[str, ...]
"""One label per mesh axis: n, k, c, h, w; "r" computes everywhere; "@2" on coordinate 2 only."""


def along_axes(split: Split, mesh: Mesh) -> Split:
    """The split as it is in force on a mesh: an axis of one device splits nothing."""
    pairs = zip(split, mesh.shape, strict=True)
    return tuple(label if extent > 1 else "r" for label, extent in pairs)


@dataclass(frozen=True)
class Plan(Viewed):
    """What runs where. Not slotted: it caches views."""

    graph: Graph
    """With communication nodes."""
    mesh: Mesh
    """The devices."""
    placements: tuple[Placements, ...]
    """Of every node's result, in the order of `graph.nodes`."""
    splits: tuple[tuple[str, Split], ...]
    """The choice behind it: the split of every layer."""
    results: tuple[str, ...]
    """The names under which `graph.outputs` are known: a loss keeps its name when it is reduced."""
    formats: tuple[tuple[str, str], ...] = ()
    """Nodes whose result is not stored row-major N C H W, with their memory format ("nhwc")."""

    def __repr__(self) -> str:
        """One line."""
        return (
            f"<Plan {self.graph.name}: {len(self.graph.nodes)} nodes on {self.mesh.size} devices>"
        )

    @cached_property
    def placement(self) -> Mapping[str, Placements]:
        """Placements by node."""
        names = (node.name for node in self.graph.nodes)
        return MappingProxyType(dict(zip(names, self.placements, strict=True)))

    @cached_property
    def split(self) -> Mapping[str, Split]:
        """Splits by layer."""
        return MappingProxyType(dict(self.splits))

    @cached_property
    def format(self) -> Mapping[str, str]:
        """Memory formats by node; absent means row-major."""
        return MappingProxyType(dict(self.formats))
