"""assign-formats: images and filters get the memory format that the device likes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from netc.ir.graph import GraphBuilder, Node
from netc.ir.kernels import Choose, reference_only
from netc.ir.ops import ConvDw, Copy, Input, SourceOp
from netc.ir.plan import Plan
from netc.ir.types import Placements


@dataclass(frozen=True, slots=True)
class Target:
    """What a device likes; the compiler touches no device."""

    name: str
    """The backend: cpu, null or cuda."""
    image_format: str = ""
    """Of activations of four dimensions: row-major N C H W (empty), or "nhwc"."""
    filter_format: str = ""
    """Of filters K C R S, their gradients and their optimizer's state; likewise."""
    alignment_bytes: int = 64
    """Offsets of buffers are multiples of this."""
    choose: Choose = reference_only
    """The kernels that compute a launch."""
    kernels: str = "reference"
    """What kind of kernels that is: `Facts.kernels`."""
    threads: int = 0
    """Of a device, for fast CPU kernels."""
    blas_threads: int = 1
    """Of NumPy's BLAS."""


def assign_formats(plan: Plan, target: Target) -> Plan:
    """Store images and filters as the target likes, with copies where an image must change.

    Only `flatten` and its adjoint need row-major images: they are views.
    """
    if not (target.image_format or target.filter_format):
        return plan
    writer = _Formats(plan, target)
    for node in plan.graph.nodes:
        writer.add(node)
    outputs = plan.graph.outputs
    placements = tuple(writer.placement[name] for name in writer.out.nodes)
    formats = tuple((name, f) for name, f in writer.formats.items() if f)
    return replace(plan, graph=writer.out.build(outputs), placements=placements, formats=formats)


class _Formats:
    """Copies nodes, inserting a format change where producer and reader differ."""

    def __init__(self, plan: Plan, target: Target) -> None:
        self.plan, self.target = plan, target
        self.out = GraphBuilder(plan.graph.name)
        self.formats: dict[str, str] = {}
        self.filters: set[str] = set()
        self.placement: dict[str, Placements] = {}

    def add(self, node: Node) -> None:
        """Add a node whose image operands all have the format it needs."""
        needed = "" if node.op.view and node.op.kernel == "flatten" else self.target.image_format
        inputs = tuple(self._as(name, needed, node) for name in node.inputs)
        own = ""
        if self._is_filter(node):
            self.filters.add(node.name)
            own = self.target.filter_format
        elif node.type.rank == 4 and node.op.kernel != "unflatten":
            own = self.target.image_format
        self._put(replace(node, inputs=inputs), own, self.plan.placement[node.name])

    def _is_filter(self, node: Node) -> bool:
        """Weights, their gradients, and what is made of either."""
        if node.type.rank != 4 or isinstance(node.op, Input):
            return False
        made = isinstance(node.op, SourceOp | ConvDw)
        return made or node.inputs[0] in self.filters

    def _put(self, node: Node, format_: str, placement: Placements) -> None:
        self.out.add(node)
        self.formats[node.name] = format_
        self.placement[node.name] = placement

    def _as(self, name: str, needed: str, user: Node) -> str:
        value = self.out.nodes[name]
        if value.type.rank != 4 or name in self.filters or self.formats[name] == needed:
            return name
        copy = f"{name}.{needed or 'nchw'}"
        if copy not in self.out.nodes:
            like = replace(user, name=copy, op=Copy(), inputs=(name,), type=value.type)
            self._put(replace(like, rows=value.rows), needed, self.placement[name])
        return copy
