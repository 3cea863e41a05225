"""What exchanging costs: bytes, seconds and the links in use, by collective and algorithm.

A step of an algorithm takes a latency, and the time that the busiest link needs for its bytes (the
alpha-beta model; Thakur, Rabenseifner and Gropp 2005 for the algorithms):

- direct: everybody sends to each what that one wants, at once; reductions go through the owner of
  each ceil(n / K) shard (Krizhevsky 2014, 4.1). What netc's own communicators do.
- ring: K - 1 steps of n / K bytes to the next device; twice that for an all-reduce.
- tree: log2 K steps of n bytes; twice that for an all-reduce.
- doubling: log2 K steps with the device whose number differs in one bit.
- halving: Rabenseifner's all-reduce, halving then doubling; of a broadcast, scatter then gather.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import ceil, log2
from types import MappingProxyType

from netc.cost.cluster import Links
from netc.ir.comm import Comm
from netc.ir.graph import Node
from netc.ir.plan import Plan
from netc.ir.traffic import Traffic, exchanged, summed
from netc.ir.types import ITEM_BYTES, Mesh, Placements, TensorType, local_block

Moved = tuple[tuple[int, int], ...]
"""Bytes (sent, received) of every device."""


@dataclass(frozen=True, slots=True)
class ExchangePrice:
    """What an exchange takes where nothing else uses its links."""

    seconds: float
    algorithm: str
    """The fastest one."""
    ports: tuple[tuple[float, float], ...]
    """By device, the part of these seconds in which it sends, and in which it receives."""
    shared: tuple[tuple[str, float], ...]
    """By link that devices share, the part in which the busiest one is in use."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of an algorithm: every member of a group sends so many bytes to another."""

    peer: tuple[str, int]
    """"shift" by a number of places, or "flip" of a bit."""
    nbytes: float
    times: int = 1


@lru_cache(65536)
def exchange_price(
    links: Links, mesh: Mesh, axes: tuple[int, ...], kind: str, moved: Moved
) -> ExchangePrice:
    """The fastest of the algorithms that there are, for all groups of devices along axes at once.

    `moved` is what each device sends and receives where everything goes directly. What was measured
    takes what it took.
    """
    direct = _direct(links, mesh, axes, kind, moved)
    if (found := _measured(links, mesh, axes, kind, moved)) is not None:
        # The links are in use for as long as their bytes take, of more or less time.
        part = direct.seconds / max(found, direct.seconds)
        ports = tuple((out * part, into * part) for out, into in direct.ports)
        return ExchangePrice(found, "measured", ports, direct.shared)
    ways = [direct]
    ways += (
        _stepwise(links, mesh, axes, name, steps)
        for name, steps in _algorithms(kind, mesh.group_size(axes), moved)
        if name in links.algorithms
    )
    ways = [way for way in ways if way.algorithm in links.algorithms] or ways[:1]
    return min(ways, key=lambda way: way.seconds)


def _measured(
    links: Links, mesh: Mesh, axes: tuple[int, ...], kind: str, moved: Moved
) -> float | None:
    """Seconds of an exchange over the innermost links, if any of its kind were measured."""
    known = (kind, mesh.group_size(axes))
    found = next((each for each in links.measured if (each.kind, each.size) == known), None)
    nbytes = max(max(pair) for pair in moved)
    if found is None or not nbytes:
        return None
    if any(any(parts[1:]) for parts in _reach(links, mesh, axes, kind == "halo_exchange")):
        return None
    return found.seconds(nbytes)


def _direct(
    links: Links, mesh: Mesh, axes: tuple[int, ...], kind: str, moved: Moved
) -> ExchangePrice:
    """Each device's bytes go evenly to the others of its group, or to its neighbours of a halo."""
    reach = _reach(links, mesh, axes, kind == "halo_exchange")
    if kind == "send":
        reach = _pair(links, reach, [d for d, pair in enumerate(moved) if any(pair)])
    ports = [
        tuple(each * sum(_per_byte(links, reach[device])) for each in pair)
        for device, pair in enumerate(moved)
    ]
    shared = _shared(links, {d: pair for d, pair in enumerate(moved) if any(pair)}, reach)
    active = (d for d, pair in enumerate(moved) if any(pair))
    farthest = max((max(_used(reach[d]), default=0) for d in active), default=0)
    phases = 2 if kind == "all_reduce" else 1
    latency = phases * links.levels[farthest].latency_seconds
    return _priced("direct", latency, ports, shared)


def _per_byte(links: Links, reach: Sequence[float]) -> Iterator[float]:
    for link, part in zip(links.levels, reach, strict=True):
        yield part / link.bytes_per_second


def _used(reach: Sequence[float]) -> Iterator[int]:
    return (level for level, part in enumerate(reach) if part)


def _priced(
    algorithm: str, latency: float, ports: Iterable[Iterable[float]], shared: Mapping[str, float]
) -> ExchangePrice:
    busy = [tuple(pair) for pair in ports]
    longest = max(max(map(max, busy), default=0.0), *shared.values(), 0.0)
    seconds = latency + longest
    parts = tuple((out / seconds, into / seconds) for out, into in busy)
    used = tuple((name, each / seconds) for name, each in shared.items() if each)
    return ExchangePrice(seconds, algorithm, parts, used)


@cache
def _reach(
    links: Links, mesh: Mesh, axes: tuple[int, ...], neighbours: bool
) -> tuple[tuple[float, ...], ...]:
    """By device, the parts of its peers that each level joins it with."""
    found = [(0.0,) * len(links.levels)] * mesh.size
    for group in mesh.groups(axes):
        for place, device in enumerate(group):
            others: Sequence[int] = [*group[:place], *group[place + 1 :]]
            if neighbours:
                others = [*group[max(place - 1, 0) : place], *group[place + 1 : place + 2]]
            found[device] = _parts(links, device, others)
    return tuple(found)


def _pair(
    links: Links, reach: tuple[tuple[float, ...], ...], devices: Sequence[int]
) -> tuple[tuple[float, ...], ...]:
    """The reach of devices of which each has to do with the next one or the one before only."""
    found = list(reach)
    for one, other in zip(devices[::2], devices[1::2], strict=False):
        found[one] = found[other] = _parts(links, one, [other])
    return tuple(found)


def _parts(links: Links, device: int, others: Sequence[int]) -> tuple[float, ...]:
    if len(links.levels) == 1:
        return (1.0,)
    counts = [0] * len(links.levels)
    for other in others:
        counts[links.level(device, other)] += 1
    return tuple(count / max(len(others), 1) for count in counts)


def _shared(
    links: Links,
    moved: Mapping[int, tuple[float, float]],
    reach: Sequence[Sequence[float]],
) -> dict[str, float]:
    """By level whose devices share it, seconds of the busiest group's way out of it or into it."""
    found: dict[str, float] = {}
    for level, link in enumerate(links.levels):
        if link.shared_bytes_per_second is None or not level:
            continue
        inner = links.levels[level - 1].devices or 1
        loads: dict[int, list[float]] = {}
        for device, pair in moved.items():
            leaving = sum(reach[device][level:])
            load = loads.setdefault(device // inner, [0.0, 0.0])
            for way, nbytes in enumerate(pair):
                load[way] += nbytes * leaving
        busiest = max((max(load) for load in loads.values()), default=0.0)
        found[link.name] = busiest / link.shared_bytes_per_second
    return found


def _algorithms(kind: str, size: int, moved: Moved) -> Iterator[tuple[str, list[_Step]]]:
    """The algorithms in steps that there are for a kind of collective in groups of that size."""
    sent = max((out for out, _ in moved), default=0)
    received = max((into for _, into in moved), default=0)
    if size == 1 or not (sent or received):
        return
    rounds, share = ceil(log2(size)), size / (size - 1)
    match kind:
        case "all_reduce":
            whole = sent * share / 2
            extra = 0 if size == 2**rounds else 2
            yield "ring", [_Step(("shift", 1), whole / size, 2 * (size - 1))]
            yield "tree", [_Step(("shift", 2**r), whole, 2) for r in range(rounds)]
            odd = [_Step(("shift", 1), whole, extra)] if extra else []
            yield "doubling", [_Step(("flip", r), whole) for r in range(rounds)] + odd
            yield "halving", [*_halving(whole, size, 2), *odd]
        case "all_gather" | "reduce_scatter":
            whole = max(sent, received) * share
            yield "ring", [_Step(("shift", 1), whole / size, size - 1)]
            yield ("doubling" if kind == "all_gather" else "halving"), _halving(whole, size, 1)
        case "broadcast" | "reduce":
            whole = received if kind == "broadcast" else sent
            yield "tree", [_Step(("shift", 2**r), whole) for r in range(rounds)]
            gather = _Step(("shift", 1), whole / size, size - 1)
            yield "halving", [*_halving(whole, size, 1), gather]


def _halving(whole: float, size: int, times: int) -> list[_Step]:
    """Steps in which half of what is left goes to the device whose number differs in one bit."""
    rounds = ceil(log2(size))
    return [_Step(("flip", r), whole * 2**r / 2**rounds, times) for r in range(rounds)]


def _stepwise(
    links: Links, mesh: Mesh, axes: tuple[int, ...], name: str, steps: Iterable[_Step]
) -> ExchangePrice:
    latency, port, shared = 0.0, 0.0, dict[str, float]()
    for step in steps:
        farthest, per_byte, loads = _pattern(links, mesh, axes, step.peer)
        latency += step.times * links.levels[farthest].latency_seconds
        slowest = max(per_byte, *loads.values(), 0.0)
        # Steps follow each other: each takes as long as its busiest link.
        port += step.times * step.nbytes * slowest
        for link, load in loads.items():
            shared[link] = shared.get(link, 0.0) + step.times * step.nbytes * load
    return _priced(name, latency, [(port, port)] * mesh.size, shared)


@cache
def _pattern(
    links: Links, mesh: Mesh, axes: tuple[int, ...], peer: tuple[str, int]
) -> tuple[int, float, Mapping[str, float]]:
    """The outermost level that a step uses, and seconds a byte of ports and of shared links."""
    how, by = peer
    farthest, crossing = 0, dict[int, tuple[int, int]]()
    reach = [(0.0,) * len(links.levels)] * mesh.size
    for group in mesh.groups(axes):
        for place, device in enumerate(group):
            other = (place + by) % len(group) if how == "shift" else place ^ (1 << by)
            level = links.level(device, group[min(other, len(group) - 1)])
            farthest = max(farthest, level)
            reach[device] = tuple(float(level == each) for each in range(len(links.levels)))
            crossing[device] = (1, 1)
    per_byte = max(sum(_per_byte(links, each)) for each in reach)
    return farthest, per_byte, MappingProxyType(_shared(links, crossing, reach))


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


def moved_bytes(traffics: Sequence[Traffic], mesh: Mesh) -> Moved:
    """What every device sends and receives in all of them together."""
    total = summed(traffics)
    return tuple(total[device] for device in range(mesh.size))


def node_traffic(plan: Plan, node: Node) -> Traffic:
    """The traffic of a communication node of a plan."""
    assert isinstance(node.op, Comm)
    source, target = plan.placement[node.inputs[0]], plan.placement[node.name]
    return traffic(node.op, node.type, source, target, plan.mesh)


def plan_traffic(plan: Plan) -> dict[str, Traffic]:
    """The traffic of every communication node of a plan."""
    nodes = (node for node in plan.graph.nodes if isinstance(node.op, Comm))
    return {node.name: node_traffic(plan, node) for node in nodes}
