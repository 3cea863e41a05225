"""What one instruction costs on a machine: seconds and bytes. Machines come from cluster files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from netc.errors import ERROR_LIMIT, Diagnostic, UsageError, clip, did_you_mean
from netc.ir.comm import Comm
from netc.ir.graph import Graph, Node
from netc.ir.plan import Plan
from netc.ir.traffic import Traffic, exchanged
from netc.ir.types import (
    ITEM_BYTES,
    Mesh,
    Placements,
    TensorPart,
    TensorType,
    local_block,
)
from netc.numbers import MEASURE
from netc.text import Toml, Unreadable, read_toml, shown_name


@dataclass(frozen=True, slots=True)
class Cluster:
    """A machine to plan for: equal devices and the links between them."""

    name: str
    flops_per_second: Mapping[str, float]
    """Arithmetic a device reaches, by data type."""
    memory_bytes_per_second: float
    """Bandwidth of a device's memory."""
    memory_bytes: float
    """Memory of one device."""
    launch_seconds: float
    """Time that any instruction takes at least."""
    link_bytes_per_second: float
    """What one device can send, and at the same time receive."""
    link_latency_seconds: float
    """Time that any exchange takes at least."""
    source: str
    """Where the figures come from."""


_NUMBERS = ("memory_bytes_per_second", "memory_bytes", "launch_seconds", "link_bytes_per_second",
            "link_latency_seconds")  # fmt: skip
_RATES = ("f32", "f64", "tf32", "bf16")


def read_cluster(path: Path) -> Cluster:
    """Read a cluster file (TOML); raises UsageError with the place of everything wrong in it."""
    try:
        file = read_toml(path)
    except Unreadable as problem:
        message = f"cannot read the cluster file '{path}': {problem.reason}."
        raise UsageError(Diagnostic("E055", message, problem.span, help=problem.help)) from None
    problems = list(islice(_problems(file), ERROR_LIMIT))
    if problems:
        raise UsageError(*problems)
    content = file.content
    numbers = {key: float(content[key]) for key in _NUMBERS}
    flops = {key: float(value) for key, value in content["flops_per_second"].items()}
    return Cluster(shown_name(path.with_suffix("")), flops, source=content["source"], **numbers)


def _problems(file: Toml) -> Iterator[Diagnostic]:
    wanted = (*_NUMBERS, "flops_per_second", "source")
    for key in wanted:
        if key not in file.content:
            yield Diagnostic("E055", f"the cluster file '{file.source.name}' has no '{key}'.")
    for key, value in file.content.items():
        if key not in wanted:
            yield _unknown(file, (key,), wanted)
        elif key in _NUMBERS:
            yield from _measure(file, (key,), value)
        elif key == "flops_per_second":
            yield from _flops(file, value)
        elif not isinstance(value, str):
            yield Diagnostic("E055", "'source' must be text.", file.span(key))


def _flops(file: Toml, value: Any) -> Iterator[Diagnostic]:
    key = "flops_per_second"
    if not (isinstance(value, dict) and {"f32", "f64"} <= set(value)):
        yield Diagnostic("E055", f"'{key}' must name f32 and f64.", file.span(key))
        return
    for dtype, number in value.items():
        if dtype not in _RATES:
            yield _unknown(file, (key, dtype), _RATES)
        else:
            yield from _measure(file, (key, dtype), number)


def _measure(file: Toml, keys: tuple[str, ...], value: Any) -> Iterator[Diagnostic]:
    if not MEASURE.accepts(value):
        message = f"'{'.'.join(keys)}' must be {MEASURE.description}."
        yield Diagnostic("E055", message, file.span(*keys))


def _unknown(file: Toml, keys: tuple[str, ...], known: Iterable[str]) -> Diagnostic:
    hint = did_you_mean(keys[-1], known) + f"keys are: {', '.join(known)}."
    return Diagnostic("E055", f"unknown key '{clip(keys[-1])}'.", file.span(*keys), help=hint)


def at_precision(cluster: Cluster, precision: str) -> Cluster:
    """The machine as products of that precision see it: tf32's operands are stored as f32."""
    if precision != "tf32":
        return cluster
    rates = dict(cluster.flops_per_second)
    return replace(cluster, flops_per_second=rates | {"f32": rates.get("tf32", rates["f32"])})


def launch_seconds(cluster: Cluster, dtype: str, flops: int, nbytes: int) -> float:
    """The larger of computing and moving (a roofline), and never below a launch."""
    peak = cluster.flops_per_second.get(dtype, cluster.flops_per_second["f32"])
    work = max(flops / peak, nbytes / cluster.memory_bytes_per_second)
    return max(work, cluster.launch_seconds)


def exchange_seconds(cluster: Cluster, traffic: Mapping[int, tuple[int, int]]) -> float:
    """The busiest direction of the busiest device's link."""
    busiest = max((max(pair) for pair in traffic.values()), default=0)
    return cluster.link_latency_seconds + busiest / cluster.link_bytes_per_second


@lru_cache(4096)
def traffic(
    op: Comm, type_: TensorType, source: Placements, target: Placements, mesh: Mesh
) -> Traffic:
    """Bytes every device sends and receives when `op` moves a tensor (`netc.ir.traffic`)."""
    result = dict.fromkeys(range(mesh.size), (0, 0))
    item = ITEM_BYTES[type_.dtype]
    for group in [] if op.on_device else mesh.groups(op.axes):
        held = [local_block(type_, source, mesh, d) for d in group]
        wanted = [local_block(type_, target, mesh, d) for d in group]
        moved = exchanged(op.kernel, held, wanted)
        for device, (sent, received) in zip(group, moved, strict=True):
            result[device] = sent * item, received * item
    return MappingProxyType(result)


def plan_traffic(plan: Plan) -> dict[str, Traffic]:
    """The traffic of every communication node of a plan."""
    return {
        node.name: traffic(
            node.op, node.type, plan.placement[node.inputs[0]], plan.placement[node.name], plan.mesh
        )
        for node in plan.graph.nodes
        if isinstance(node.op, Comm)
    }


def local_flops(
    graph: Graph, node: Node, operands: tuple[TensorPart, ...], result: TensorPart
) -> int:
    """Floating-point operations of a node on one device's part."""
    if not result.elements or any(b.elements == 0 for b in operands):
        return 0
    return node.op.flops(tuple(b.shape for b in operands), result.shape)
