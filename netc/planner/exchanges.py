"""Programs that do nothing but exchange: with them backends measure a machine's links."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netc.cost import STRIDED, Cluster, node_traffic
from netc.ir import comm
from netc.ir.classes import device_classes
from netc.ir.graph import Graph, Node
from netc.ir.ops import Input
from netc.ir.plan import Plan
from netc.ir.program import Program
from netc.ir.types import Mesh, On, Partial, Placement, Replicate, Shard, TensorType
from netc.passes.assign_streams import assign_streams
from netc.passes.insert_waits import insert_waits
from netc.passes.plan_memory import persistent_layout, plan_memory

WIDTH = 256
"""Elements of a row of what is exchanged."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A kind of exchange along one axis: from one placement to another."""

    op: comm.Comm
    source: Placement
    target: Placement
    moves: Callable[[int], float]
    """From the number of devices to the part of a tensor that goes to one, or comes from it."""


_WAYS = (
    _Way(comm.AllReduce(0), Partial(), Replicate(), lambda k: 2 / k),
    _Way(comm.ReduceScatter(0, 0), Partial(), Shard(0), lambda k: 1 / k),
    _Way(comm.AllGather(0, 0), Shard(0), Replicate(), lambda k: 1 / k),
    _Way(comm.ReduceScatter(0, 1), Partial(), Shard(1), lambda k: 1 / k),
    _Way(comm.AllGather(0, 1), Shard(1), Replicate(), lambda k: 1 / k),
    _Way(comm.AllToAll(0, 0, 1), Shard(0), Shard(1), lambda k: 1 / k**2),
    _Way(comm.Broadcast(0, 0), On(0), Replicate(), lambda k: 1),
    _Way(comm.Scatter(0, 0, 0), On(0), Shard(0), lambda k: 1 / k),
    _Way(comm.Gather(0, 0, 0), Shard(0), On(0), lambda k: 1 / k),
    _Way(comm.Reduce(0, 0), Partial(), On(0), lambda k: 1),
)
KINDS: Mapping[str, _Way] = {STRIDED * way.op.strided + way.op.kernel: way for way in _WAYS}
"""What is measured. Sends and exchanges of borders are priced by the links alone."""


@dataclass(frozen=True, slots=True)
class ExchangeProgram:
    """A program of one exchange, done several times in turn."""

    kind: str
    nbytes: int
    """What the busiest device sends or receives each time."""
    times: int
    program: Program


def exchange_program(
    kind: str, nbytes: int, times: int, mesh: Mesh, cluster: Cluster, alignment: int = 64
) -> ExchangeProgram:
    """The program that exchanges about so many bytes a device, so many times, along a line."""
    way, devices = KINDS[kind], mesh.size
    share = (devices - 1) * way.moves(devices)
    rows = max(round(nbytes / share / (4 * WIDTH * devices)), 1) * devices
    type_ = TensorType("f32", (rows, WIDTH))
    given = Node("x", Input("n."), (), type_, "exchange")
    taken = [Node(f"y{i}", way.op, ("x",), type_, "exchange") for i in range(times)]
    graph = Graph("exchange", (given, *taken), ())
    placements = ((way.source,), *[(way.target,)] * times)
    plan = Plan(graph, mesh, placements, (("exchange", ("n",)),), ())
    moved = max(max(pair) for pair in node_traffic(plan, taken[0]).values())
    lowered = assign_streams(plan, cluster, "exchange.train", device_classes([plan]))
    layout = persistent_layout([lowered], alignment)
    return ExchangeProgram(
        kind, moved, times, plan_memory(insert_waits(lowered), layout, alignment)
    )
