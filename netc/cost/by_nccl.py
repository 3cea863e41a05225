"""Exchanges that NCCL carries, on a machine's links: times, and how much of the links they take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from netc.cost.cluster import Links
from netc.cost.moved import Moved, whole_bytes
from netc.cost.nccl import (
    ON_THE_WIRE,
    Communicator,
    NcclWay,
    collective_ways,
    message_ways,
    nvlink_bandwidth,
)
from netc.cost.price import ExchangePrice, priced
from netc.ir.types import Mesh


def by_nccl(
    links: Links,
    mesh: Mesh,
    axes: tuple[int, ...],
    kind: str,
    moved: Moved,
    direct: ExchangePrice | None,
) -> Iterator[ExchangePrice]:
    """The ways of NCCL's own collective; or, where is told what going directly takes, of messages
    that go so.
    """
    assert links.nccl is not None
    group, farthest = _communicator(links, mesh, axes)
    if direct is not None:
        for way in message_ways(links.nccl, group):
            yield _by_messages(links, group, direct, way)
        return
    whole = whole_bytes(kind, group.ranks, moved)
    for way in collective_ways(links.nccl, group, kind, whole):
        port, shared = _of_collective(links, mesh, group, farthest, kind, way, whole)
        taking = whole / way.bytes_per_second
        yield priced(way.name, way.latency_seconds, [(port, port)] * mesh.size, shared, taking)


def _by_messages(
    links: Links, group: Communicator, direct: ExchangePrice, way: NcclWay
) -> ExchangePrice:
    """What goes directly, by NCCL: over NVLink with its part of the bandwidth."""
    slower = links.levels[0].bytes_per_second / (group.link * 1e9) if group.nodes == 1 else 1.0
    busy = direct.seconds * ON_THE_WIRE[way.protocol] * max(slower, 1.0)
    ports = ((out * busy, into * busy) for out, into in direct.ports)
    shared = {name: each * busy for name, each in direct.shared}
    return priced(way.name, way.latency_seconds, ports, shared)


@cache
def _communicator(
    links: Links, mesh: Mesh, axes: tuple[int, ...]
) -> tuple[Communicator, int]:  # fmt: skip
    """The group that is spread over most nodes, as NCCL sees it, and its outermost level."""
    inner = links.levels[0]
    assert links.nccl is not None
    link = nvlink_bandwidth(links.nccl) or inner.bytes_per_second / 1e9
    nodes, group = max((len(_parts_of(each, inner.devices)), each) for each in mesh.groups(axes))
    if nodes == 1:
        return Communicator(len(group), 1, link), 0
    farthest = max(links.level(group[0], other) for other in group)
    outer, here = links.levels[farthest], len(group) // nodes
    shared = outer.shared_bytes_per_second or here * outer.bytes_per_second
    nic = min(outer.bytes_per_second, shared)
    nics = max(min(int(shared / nic), here), 1)
    return Communicator(len(group), nodes, link, nic / 1e9, nics), farthest


def _parts_of(group: Sequence[int], devices: int | None) -> set[int]:
    """The runs of so many devices that a group is in."""
    return {0 if devices is None else device // devices for device in group}


def _of_collective(
    links: Links,
    mesh: Mesh,
    group: Communicator,
    farthest: int,
    kind: str,
    way: NcclWay,
    whole: float,
) -> tuple[float, dict[str, float]]:
    """Seconds in which each device's port and the links that are shared are in use: rings go
    through all devices alike, trees up and down.
    """
    sent = whole * ON_THE_WIRE[way.protocol]
    if way.algorithm == "ring":
        turns = group.ranks if kind in ("broadcast", "reduce") else group.ranks - 1
        sent *= turns * (2 if kind == "all_reduce" else 1) / group.ranks
        crossing = 1.0
    else:
        sent *= 2
        # Of two nodes each has a root of half of the data, which it does not send up.
        crossing = 0.5 if group.nodes == 2 else 1.0
    port = sent / links.levels[0].bytes_per_second if group.of_a_node > 1 else 0.0
    if not farthest:
        return port, {}
    # What comes from the network goes on over NVLink at the same time.
    port = max(port, sent * crossing / group.nics / links.levels[farthest].bytes_per_second)
    shared = {}
    for number in range(1, farthest + 1):
        link, below = links.levels[number], links.levels[number - 1].devices or mesh.size
        if link.shared_bytes_per_second is not None:
            # All groups of a node go out of it.
            together = min(below, mesh.size) / group.of_a_node
            shared[link.name] = together * sent * crossing / link.shared_bytes_per_second
    return port, shared
