"""What one instruction costs on a machine: seconds and bytes. Machines come from cluster files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netc.errors import Diagnostic, UsageError, did_you_mean
from netc.ir.comm import Comm
from netc.ir.graph import Graph, Node
from netc.ir.plan import Plan
from netc.ir.types import (
    ITEM_BYTES,
    Block,
    Mesh,
    Placements,
    TensorType,
    common_elements,
    local_block,
    shard_bounds,
)


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


def read_cluster(path: Path) -> Cluster:
    """Read a cluster file (TOML); raises UsageError with what is missing or not positive."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            Diagnostic("E055", f"cannot read the cluster file '{path}': {error}.")
        ) from None
    problems = _problems(path, content)
    if problems:
        raise UsageError(*problems)
    numbers = {key: float(content[key]) for key in _NUMBERS}
    flops = {key: float(value) for key, value in content["flops_per_second"].items()}
    return Cluster(path.stem, flops, source=content["source"], **numbers)


def _problems(path: Path, content: Mapping[str, Any]) -> list[Diagnostic]:
    wanted = (*_NUMBERS, "flops_per_second", "source")
    problems = [
        Diagnostic("E055", f"the cluster file '{path.name}' has no '{key}'.")
        for key in wanted
        if key not in content
    ]
    for key, value in content.items():
        if key not in wanted:
            hint = did_you_mean(key, wanted) + f"keys are: {', '.join(wanted)}."
            problems.append(Diagnostic("E055", f"unknown key '{key}' in '{path.name}'.", help=hint))
        elif key in _NUMBERS and not _positive(value):
            problems.append(Diagnostic("E055", f"'{key}' in '{path.name}' must be positive."))
    flops = content.get("flops_per_second", {"f32": 1, "f64": 1})
    if not (isinstance(flops, dict) and {"f32", "f64"} <= set(flops)):
        message = f"'flops_per_second' in '{path.name}' must name f32 and f64."
        problems.append(Diagnostic("E055", message))
    elif not all(map(_positive, flops.values())):
        message = f"'flops_per_second' in '{path.name}' must be positive numbers."
        problems.append(Diagnostic("E055", message))
    if not isinstance(content.get("source", ""), str):
        problems.append(Diagnostic("E055", f"'source' in '{path.name}' must be text."))
    return problems


def _positive(value: Any) -> bool:
    return type(value) in (int, float) and value > 0


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


Traffic = dict[int, tuple[int, int]]
"""Bytes (sent, received) by device."""


def traffic(
    op: Comm, type_: TensorType, source: Placements, target: Placements, mesh: Mesh
) -> Traffic:
    """Bytes every device sends and receives when `op` moves a tensor; copies at home are free.

    Reductions go through the owner of each ceil(n / K) shard, as in Krizhevsky 2014, 4.1: every
    other device sends it that shard, and an all-reduce sends the sum back. So an all-reduce costs
    2 (K - 1) / K of the tensor each way, and a gather (K - 1) / K.
    """
    result: Traffic = dict.fromkeys(range(mesh.size), (0, 0))
    item = ITEM_BYTES[type_.dtype]
    for group in mesh.groups(op.axis):
        held = [local_block(type_, source, mesh, d) for d in group]
        wanted = [local_block(type_, target, mesh, d) for d in group]
        for giver, taker, elements in _messages(op, held, wanted):
            for device, out, into in ((group[giver], elements, 0), (group[taker], 0, elements)):
                sent, received = result[device]
                result[device] = (sent + out * item, received + into * item)
    return result


Blocks = list[Block | None]


def _messages(op: Comm, held: Blocks, wanted: Blocks) -> list[tuple[int, int, int]]:
    """(from, to, elements) inside one group."""
    if op.on_device:
        return []
    if op.kernel == "all_reduce":
        return _all_reduce(held)
    everyone = range(len(held))
    reduces = op.kernel in ("reduce", "reduce_scatter")
    messages = []
    for giver in everyone:
        for taker in everyone:
            have, want = held[giver], wanted[taker]
            if giver == taker or have is None or want is None:
                continue
            elements = want.elements if reduces else common_elements(have, want)
            messages.append((giver, taker, elements))
    return messages


def _all_reduce(held: Blocks) -> list[tuple[int, int, int]]:
    workers = len(held)
    block = held[0]
    if block is None:
        return []
    messages = []
    for owner in range(workers):
        start, stop = shard_bounds(block.elements, 1, workers, owner)
        for other in range(workers):
            if other != owner:
                messages += [(other, owner, stop - start), (owner, other, stop - start)]
    return messages


def plan_traffic(plan: Plan) -> dict[str, Traffic]:
    """The traffic of every communication node of a plan."""
    return {
        node.name: traffic(
            node.op, node.type, plan.placement[node.inputs[0]], plan.placement[node.name], plan.mesh
        )
        for node in plan.graph.nodes
        if isinstance(node.op, Comm)
    }


def local_flops(graph: Graph, node: Node, operands: tuple[Block, ...], result: Block) -> int:
    """Floating-point operations of a node on one device's part."""
    if not result.elements or any(b.elements == 0 for b in operands):
        return 0
    return node.op.flops(tuple(b.shape for b in operands), result.shape)
