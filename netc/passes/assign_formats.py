"""assign-formats: every image tensor gets the memory format that the device likes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from netc.ir.graph import GraphBuilder, Node
from netc.ir.ops import Copy
from netc.ir.plan import Plan
from netc.ir.types import Placements


@dataclass(frozen=True, slots=True)
class Target:
    """What a device likes; the compiler touches no device."""

    name: str
    """The backend: cpu, null or cuda."""
    image_format: str = ""
    """Of four-dimensional tensors: row-major N C H W (empty), or "nhwc"."""
    alignment_bytes: int = 64
    """Offsets of buffers are multiples of this."""


def assign_formats(plan: Plan, target: Target) -> Plan:
    """Store images as the target likes, with copies where an operation needs the other format.

    Only `flatten` and its adjoint need row-major images: they are views.
    """
    if not target.image_format:
        return plan
    writer = _Formats(plan, target.image_format)
    for node in plan.graph.nodes:
        writer.add(node)
    outputs = plan.graph.outputs
    placements = tuple(writer.placement[name] for name in writer.out.nodes)
    formats = tuple((name, f) for name, f in writer.formats.items() if f)
    return replace(plan, graph=writer.out.build(outputs), placements=placements, formats=formats)


class _Formats:
    """Copies nodes, inserting a format change where producer and reader differ."""

    def __init__(self, plan: Plan, liked: str) -> None:
        self.plan, self.liked = plan, liked
        self.out = GraphBuilder(plan.graph.name)
        self.formats: dict[str, str] = {}
        self.placement: dict[str, Placements] = {}

    def add(self, node: Node) -> None:
        """Add a node whose image operands all have the format it needs."""
        needed = "" if node.op.view and node.op.kernel == "flatten" else self.liked
        inputs = tuple(self._as(name, needed, node) for name in node.inputs)
        own = self.liked if node.type.rank == 4 and node.op.kernel != "unflatten" else ""
        self._put(replace(node, inputs=inputs), own, self.plan.placement[node.name])

    def _put(self, node: Node, format_: str, placement: Placements) -> None:
        self.out.add(node)
        self.formats[node.name] = format_
        self.placement[node.name] = placement

    def _as(self, name: str, needed: str, user: Node) -> str:
        value = self.out.nodes[name]
        if value.type.rank != 4 or self.formats[name] == needed:
            return name
        copy = f"{name}.{needed or 'nchw'}"
        if copy not in self.out.nodes:
            like = replace(user, name=copy, op=Copy(), inputs=(name,), type=value.type)
            self._put(replace(like, rows=value.rows), needed, self.placement[name])
        return copy
