"""What exchanging costs: bytes, seconds and the links in use, by collective and algorithm.

A step of an algorithm takes a latency, and the time that the busiest link needs for its bytes (the
alpha-beta model; Thakur, Rabenseifner and Gropp 2005 for the algorithms):

- direct: everybody sends to each what that one wants, at once; reductions go through the owner of
  each ceil(n / K) shard (Krizhevsky 2014, 4.1). What netc's own communicators do.
- ring: K - 1 steps of n / K bytes to the next device; twice that for an all-reduce.
- tree: log2 K steps of n bytes; twice that for an all-reduce.
- doubling: log2 K steps with the device whose number differs in one bit.
- halving: Rabenseifner's all-reduce, halving then doubling; of a broadcast, scatter then gather.

Two ways are those of GPUs (docs/adr/0022-nccl.md):

- nccl: NCCL's own collectives, by the algorithm and protocol that it takes (`netc.cost.nccl`); of
  kinds that it has no collective for, its messages.
- cuda: as netc's cuda backend exchanges (`netc.ir.carriers`): direct between GPUs that the
  innermost links join, except large sums; these, and all that goes farther, by NCCL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from math import ceil, log, log2
from types import MappingProxyType

from netc.cost.by_nccl import by_nccl
from netc.cost.cluster import OF_NCCL, Links
from netc.cost.measured import STRIDED
from netc.cost.moved import Moved, even_moved, whole_bytes
from netc.cost.nccl import COLLECTIVES, PROTOCOLS
from netc.cost.price import ExchangePrice, priced
from netc.ir.carriers import NCCL_COLLECTIVES, is_large
from netc.ir.types import ITEM_BYTES, Mesh, line_mesh


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of an algorithm: every member of a group sends so many bytes to another."""

    peer: tuple[str, int]
    """"shift" by a number of places, or "flip" of a bit."""
    nbytes: float
    times: int = 1


def exchange_price(
    links: Links,
    mesh: Mesh,
    axes: tuple[int, ...],
    kind: str,
    moved: Moved,
    large: bool = False,
    strided: bool = False,
) -> ExchangePrice:
    """The fastest of the ways that there are, for all groups of devices along axes at once.

    `moved` is what each device sends and receives where everything goes directly; `large` says that
    the cuda backend calls it that (`netc.ir.carriers`); `strided`, that shards are many runs of a
    tensor's bytes. What was measured takes what it took.
    """
    ways = exchange_ways(links, mesh, axes, kind, moved, large, strided)
    return min(ways, key=lambda way: way.seconds)


@lru_cache(65536)
def exchange_ways(
    links: Links,
    mesh: Mesh,
    axes: tuple[int, ...],
    kind: str,
    moved: Moved,
    large: bool = False,
    strided: bool = False,
) -> tuple[ExchangePrice, ...]:
    """Every way that an exchange may go, as many for each number of bytes above none; arguments as
    of `exchange_price`. All are off by what was measured of the kind; strided ones, where they were
    not, by what was measured of others.
    """
    ways = tuple(_ways(links, mesh, axes, kind, moved, large))
    nbytes, size = max(max(pair) for pair in moved), mesh.group_size(axes)
    near = [e for e in links.measured if e.size <= (links.levels[0].devices or e.size)]
    known = [each for each in near if each.kind == kind]
    if strided:
        known = [each for each in near if each.kind == STRIDED + kind] or known
    if not known or not nbytes or _farthest(links, mesh, axes, kind):
        return ways
    nearest = min(known, key=lambda each: abs(log(each.size / size)))
    off = nearest.off(nbytes, partial(_unmeasured, links, kind, nearest.size))
    return tuple(_taking(way, off, nearest.has(size, nbytes)) for way in ways)


def _taking(way: ExchangePrice, off: float, measured: bool) -> ExchangePrice:
    """A way that takes a multiple of its seconds: links are in use for as long as their bytes take,
    of more or less time.
    """
    part = 1 / max(off, 1.0)
    ports = tuple((out * part, into * part) for out, into in way.ports)
    shared = tuple((name, each * part) for name, each in way.shared)
    name = "measured" if measured else way.algorithm
    return ExchangePrice(way.seconds * off, name, ports, shared)


@lru_cache(4096)
def _unmeasured(links: Links, kind: str, size: int, nbytes: int) -> float:
    """Seconds by the links alone where the busiest of some neighbours moves so many bytes, as
    `netc calibrate` measures them: numbers of four bytes.
    """
    mesh = line_mesh(size)
    moved = even_moved(mesh, (0,), kind, nbytes)
    large = is_large(kind, round(whole_bytes(kind, size, moved) / ITEM_BYTES["f32"]))
    return exchange_price(replace(links, measured=()), mesh, (0,), kind, moved, large).seconds


def most_ways(links: Links) -> int:
    """How many ways `exchange_ways` tells at most."""
    of_nccl = 2 * len(PROTOCOLS)
    return sum(of_nccl if each in OF_NCCL else 1 for each in links.algorithms)


def _ways(
    links: Links, mesh: Mesh, axes: tuple[int, ...], kind: str, moved: Moved, large: bool
) -> list[ExchangePrice]:
    size, found = mesh.group_size(axes), list[ExchangePrice]()
    direct = _direct(links, mesh, axes, kind, moved)
    steps = dict(_algorithms(kind, size, moved))
    for name in links.algorithms:
        near = name == "cuda" and not large and not _farthest(links, mesh, axes, kind)
        if name in OF_NCCL and not near and size > 1 and any(map(any, moved)):
            own = NCCL_COLLECTIVES if name == "cuda" else COLLECTIVES
            found += by_nccl(links, mesh, axes, kind, moved, None if kind in own else direct)
        elif name in steps:
            found.append(_stepwise(links, mesh, axes, name, steps[name]))
        elif name == "direct" or name in OF_NCCL:
            found.append(direct)
    return found or [direct]


def _farthest(links: Links, mesh: Mesh, axes: tuple[int, ...], kind: str) -> int:
    """The outermost level of links that joins some of those that exchange."""
    reach = _reach(links, mesh, axes, kind == "halo_exchange")
    return max((max(_used(parts), default=0) for parts in reach), default=0)


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
    return priced("direct", latency, ports, shared)


def _per_byte(links: Links, reach: Sequence[float]) -> Iterator[float]:
    for link, part in zip(links.levels, reach, strict=True):
        yield part / link.bytes_per_second


def _used(reach: Sequence[float]) -> Iterator[int]:
    return (level for level, part in enumerate(reach) if part)


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
    whole = whole_bytes(kind, size, moved)
    if not whole:
        return
    rounds = ceil(log2(size))
    match kind:
        case "all_reduce":
            extra = 0 if size == 2**rounds else 2
            yield "ring", [_Step(("shift", 1), whole / size, 2 * (size - 1))]
            yield "tree", [_Step(("shift", 2**r), whole, 2) for r in range(rounds)]
            odd = [_Step(("shift", 1), whole, extra)] if extra else []
            yield "doubling", [_Step(("flip", r), whole) for r in range(rounds)] + odd
            yield "halving", [*_halving(whole, size, 2), *odd]
        case "all_gather" | "reduce_scatter":
            yield "ring", [_Step(("shift", 1), whole / size, size - 1)]
            yield ("doubling" if kind == "all_gather" else "halving"), _halving(whole, size, 1)
        case "broadcast" | "reduce":
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
    return priced(name, latency, [(port, port)] * mesh.size, shared)


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
