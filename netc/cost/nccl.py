"""What NCCL's collectives take, as NCCL reckons it when it chooses an algorithm and a protocol.

Time is a latency and bytes over a bandwidth, for each algorithm (ring, tree) and protocol; NCCL
takes the fastest. All constants and formulas are NCCL's (github.com/NVIDIA/nccl, tag v2.28.3-1):

- latencies, bandwidths, caps: `ncclTunerConstantsDefaults`, `ncclTopoTuneModel`,
  src/graph/tuning.cc;
- time by size, with the correction for trees: `ncclTopoGetAlgoTime`, src/graph/tuning.cc;
- speeds of a channel and how many there are: `ncclTopoCompute`, `ncclTopoDupChannels`,
  `ncclTopoCompareGraphs` and the arrays of speeds, src/graph/search.cc;
- bandwidth of a link: `SM70_NVLINK_BW` and others, src/graph/topo.h.

What differs: machines are even (all GPUs of a node reach each other alike, and a NIC is near each
GPU that has one), so the search for channels is a count; the correction for trees is interpolated
between its powers of two, so that more bytes never take less. Multicast (NVLS) is off, as netc
keeps it. docs/adr/0022-nccl.md compares this with NCCL's own logs and published measurements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log2

ARCHITECTURES = ("volta", "ampere", "hopper", "blackwell")
"""Of GPUs, as NCCL tells them apart; older ones count as volta."""
CPUS = ("intel", "amd")
PROTOCOLS = ("LL", "LL128", "Simple")
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "reduce")
MESSAGES = "messages"
"""In place of an algorithm: sends and receives of a group call."""
ON_THE_WIRE: Mapping[str, float] = {"LL": 2.0, "LL128": 128 / 120, "Simple": 1.0}
"""Bytes that go for each byte of data: flags go with it."""
Three = tuple[float, float, float]
"""By protocol; or by nodes: one, two, more."""

_BASE: Mapping[str, Three] = {"tree": (6.8, 14.0, 8.4), "ring": (6.6, 14.0, 8.4)}
"""`baseLatencies`, microseconds by protocol."""
_HARDWARE: Mapping[str, Mapping[str, Three]] = {
    "nvlink": {"tree": (0.6, 1.25, 4.0), "ring": (0.6, 1.9, 3.4)},
    "pci": {"tree": (1.0, 1.9, 4.0), "ring": (1.0, 2.5, 5.7)},
    "network": {"tree": (5.0, 8.5, 14.0), "ring": (2.7, 4.0, 14.0)},
}
"""`hwLatencies`, microseconds of a step by protocol."""
_MOST_LL: Mapping[str, Three] = {
    "volta": (39.0, 39.0, 20.4), "ampere": (87.7, 22.5, 19.0),
    "hopper": (141.0, 45.0, 35.0), "blackwell": (282.0, 90.0, 70.0),
}  # fmt: skip
"""`llMaxBws`, GB/s by nodes. Of several nodes the processor decides: intel has the first row, amd
the second one."""
_MOST_RING_LL128: Mapping[str, float] = {
    "volta": 20.0, "ampere": 20.0, "hopper": 36.7, "blackwell": 73.4,
}  # fmt: skip
"""`perChMaxRingLL128Bws`, GB/s of a channel: the same for all nodes."""
_MOST_TREE_LL128: Mapping[str, Three] = {
    "volta": (20.0, 20.0, 20.0), "ampere": (20.0, 20.0, 20.0),
    "hopper": (36.7, 36.7, 29.0), "blackwell": (55.6, 31.67, 20.0),
}  # fmt: skip
"""`perChMaxTreeLL128Bws`, GB/s of a channel by nodes."""
_MOST_TREE: Mapping[str, Three] = {
    "volta": (26.5, 18.5, 10.0), "ampere": (24.0, 23.6, 17.8),
    "hopper": (38.7, 41.4, 36.0), "blackwell": (70.0, 42.8, 24.0),
}  # fmt: skip
"""`perChMaxTreeBws`, GB/s of a channel by nodes."""
_OVERHEAD: Mapping[str, float] = {"intel": 1.0, "amd": 2.0}
"""`getNetOverhead`, microseconds."""
_TREE_FACTORS: Mapping[str, tuple[float, ...]] = {
    "LL": (1, 1, 1, 1, .9, .8, .7, .7, .7, .7, .6, .5, .4, .4, .5, .6, .7, .8, .9, 1, 1, 1, 1),
    "LL128": (1, 1, 1, 1, 1, .9, .8, .8, .8, .7, .6, .6, .6, .6, .6, .6, .8, .9, .9, .9, .9, 1, 1),
    "Simple": (.9, .9, .9, .9, .9, .9, .9, .8, .7, .6, .6, .5, .5, .5, .5, .6, .7, .8, .7, .7, .8,
               .9, .9),
}  # fmt: skip
"""`treeCorrectionFactor`, by powers of two from 64 bytes."""
_LINK: Mapping[str, float] = {"volta": 20.0, "ampere": 20.0, "hopper": 20.6, "blackwell": 40.1}
"""`SM70_NVLINK_BW` and so on, GB/s of an NVLink."""
_SPEEDS: Mapping[str, tuple[float, ...]] = {
    "ampere": (40, 30, 20, 18, 15, 12, 10, 9, 7, 6, 5, 4, 3),
    "hopper": (60, 50, 40, 30, 24, 20, 15, 12, 11, 6, 3),
    "blackwell": (90, 80, 70, 60, 50, 40, 30, 24, 20, 19, 18),
}
"""`speedArrayIntra` and so on, GB/s that a channel may have in a node."""
_NETWORK_SPEEDS: Mapping[str, tuple[float, ...]] = {
    "ampere": (48, 30, 28, 24, 20, 18, 15, 12, 10, 9, 7, 6, 5, 4, 3, 2.4, 1.2, 0.24, 0.12),
    "hopper": (48, 45, 42, 40, 30, 24, 22, 20, 17.5, 15, 12, 6, 3, 2.4, 1.2, 0.24, 0.12),
    "blackwell": (96, 48, 45.1, 42, 40, 30, 24, 22, 20, 17.5, 15, 12, 6, 3, 2.4, 1.2, 0.24, 0.12),
}
"""`speedArrayInter` and so on, between nodes."""
_MOST_CHANNELS = 32
"""`MAXCHANNELS / 2`."""


@dataclass(frozen=True, slots=True)
class Nccl:
    """What NCCL goes by on a machine."""

    architecture: str
    """Of its GPUs, one of `ARCHITECTURES`."""
    nvlinks: int = 0
    """Of a GPU; 0 where GPUs of a node are joined by PCI Express."""
    cpu: str = "intel"
    """Who made its processors, one of `CPUS`; it matters between nodes."""


@dataclass(frozen=True, slots=True)
class Communicator:
    """A group of GPUs, evenly over nodes, and the links that it has."""

    ranks: int
    nodes: int
    link: float
    """GB/s of a GPU's way to others of its node."""
    nic: float = 0.0
    """GB/s of a network interface."""
    nics: int = 0
    """Interfaces of a node that the group's GPUs are near to."""

    @property
    def of_a_node(self) -> int:
        """GPUs of a node."""
        return self.ranks // self.nodes


@dataclass(frozen=True, slots=True)
class Channels:
    """What the search for a topology finds."""

    count: int
    ring: float
    """GB/s of a ring's channel."""
    tree: float
    """GB/s of a tree's channel, in the node where there are one or two of them."""


@dataclass(frozen=True, slots=True)
class NcclWay:
    """An algorithm with a protocol, for some bytes."""

    algorithm: str
    """"ring", "tree" or "messages"."""
    protocol: str
    latency_seconds: float
    bytes_per_second: float
    """Of the data: what all devices hold after an all-reduce, an all-gather or a broadcast, or
    before a reduction."""

    @property
    def name(self) -> str:
        """In words, as in `nccl ring LL128`."""
        return f"nccl {self.algorithm} {self.protocol}"


def nvlink_bandwidth(nccl: Nccl) -> float:
    """GB/s that NCCL counts on between a GPU and the others of its node over NVLink."""
    return nccl.nvlinks * _LINK[nccl.architecture]


def collective_ways(nccl: Nccl, group: Communicator, kind: str, nbytes: float) -> Iterator[NcclWay]:
    """The ways that NCCL has for a collective, one of `COLLECTIVES`, of so many bytes of data."""
    algorithms = ("tree", "ring") if kind == "all_reduce" else ("ring",)
    for algorithm in algorithms:
        for place, protocol in enumerate(PROTOCOLS):
            if protocol == "LL128" and not (nccl.nvlinks or group.of_a_node == 1):
                continue
            latency = _latency(nccl, group, kind, algorithm, place)
            bandwidth = _bus_bandwidth(nccl, group, kind, algorithm, place)
            bandwidth *= _of_data(kind, algorithm, group.ranks)
            if algorithm == "tree":
                bandwidth *= _tree_factor(protocol, nbytes)
            latency *= _plateau(nccl, group, kind, algorithm, protocol, nbytes)
            yield NcclWay(algorithm, protocol, latency * 1e-6, bandwidth * 1e9)


def message_ways(nccl: Nccl, group: Communicator) -> Iterator[NcclWay]:
    """Sends and receives: the latency of a ring's step, at the speed of the links.

    NCCL takes LL for up to 16 KiB on each of its channels (`addP2pToPlan`, src/enqueue.cc), which
    here is where it is faster; it reckons no time for them.
    """
    for place, protocol in enumerate(PROTOCOLS):
        if protocol != "LL128":
            latency = _BASE["ring"][place] + _step(nccl, group)["ring"][place]
            bandwidth = (group.link if group.nodes == 1 else group.nic) / ON_THE_WIRE[protocol]
            yield NcclWay(MESSAGES, protocol, latency * 1e-6, bandwidth * 1e9)


def _step(nccl: Nccl, group: Communicator) -> Mapping[str, Three]:
    if group.nodes > 1:
        return _HARDWARE["network"]
    return _HARDWARE["nvlink" if nccl.nvlinks else "pci"]


def _few(nodes: int) -> int:
    """Where figures by nodes have that of so many."""
    return min(nodes, 3) - 1


def _bus_bandwidth(nccl: Nccl, group: Communicator, kind: str, algorithm: str, place: int) -> float:
    """GB/s over the busiest link, before what its protocol and the GPU's kind take of it."""
    found, few, protocol = channels(nccl, group), _few(group.nodes), PROTOCOLS[place]
    row = nccl.architecture if group.nodes == 1 else ARCHITECTURES[CPUS.index(nccl.cpu)]
    most_ll, count, architecture = _MOST_LL[row][few], found.count, nccl.architecture
    if algorithm == "ring":
        bus = count * found.ring
        if protocol == "LL":
            return min(most_ll, bus / 2)
        if protocol == "LL128":
            return min(bus * 0.92, count * _MOST_RING_LL128[architecture])
        return bus
    bus = min(count * found.tree * 0.92, count * _MOST_TREE[architecture][few])
    if protocol == "LL":
        bus = min(bus / 3.8, most_ll)
    elif protocol == "LL128":
        kept = 7 / 9 if group.nodes == 1 else 120 / 128
        bus = min(bus * kept, count * _MOST_TREE_LL128[architecture][few])
    # The simple pattern of trees is what the search ends with between nodes of newer GPUs.
    simple = group.nodes > 1 and (group.of_a_node == 1 or _speeds_of(nccl) != "ampere")
    return bus * (0.85 if simple else 1.0)


def _of_data(kind: str, algorithm: str, ranks: int) -> float:
    """Bytes of data for each byte over the busiest link."""
    if algorithm == "tree":
        return 0.5
    return ranks / _steps(kind, ranks)


def _steps(kind: str, ranks: int) -> int:
    if kind in ("broadcast", "reduce"):
        return ranks
    return (ranks - 1) * (2 if kind == "all_reduce" else 1)


def _latency(nccl: Nccl, group: Communicator, kind: str, algorithm: str, place: int) -> float:
    """Microseconds."""
    inside = _HARDWARE["nvlink" if nccl.nvlinks else "pci"][algorithm][place]
    network, base = _HARDWARE["network"], _BASE[algorithm][place]
    # Alone on its node a GPU hides nothing of the network's latency.
    between = network["tree" if group.of_a_node == 1 else algorithm][place]
    if algorithm == "tree":
        rounds = group.nodes.bit_length() - 1
        return base + 2 * ((group.of_a_node - 1) * inside + rounds * between)
    steps = _steps(kind, group.ranks)
    if kind in ("broadcast", "reduce"):
        if group.nodes == 1:
            return base + inside
        chunked = "tree" if PROTOCOLS[place] == "Simple" else "ring"
        return base + steps * network[chunked][place]
    crossing = 0
    if group.nodes > 1:
        crossing = (group.nodes - 1) * (2 if kind == "all_reduce" else 1)
        overhead = _OVERHEAD[nccl.cpu] * (3 if PROTOCOLS[place] == "Simple" else 1)
        inside = max(inside, overhead)
    return base + (steps - crossing) * inside + crossing * between


def _plateau(
    nccl: Nccl, group: Communicator, kind: str, algorithm: str, protocol: str, nbytes: float
) -> float:
    """How much longer the latency of rings between nodes is."""
    if (algorithm, protocol, kind) != ("ring", "Simple", "all_reduce") or group.nodes == 1:
        return 1.0
    # Each channel of the search is there twice.
    if nbytes // (2 * channels(nccl, group).count * group.ranks) < 64:
        return 1.0
    return 1.9 if nccl.architecture == "volta" else 1.4


def _tree_factor(protocol: str, nbytes: float) -> float:
    """The part of its bandwidth that a tree reaches."""
    factors = _TREE_FACTORS[protocol]
    place = log2(max(nbytes, 64) / 64)
    here = int(place)
    low, high = (*factors[here : here + 2], 1.0, 1.0)[:2]
    return low + (place - here) * (high - low)


def _speeds_of(nccl: Nccl) -> str:
    return "ampere" if nccl.architecture == "volta" else nccl.architecture


@lru_cache(4096)
def channels(nccl: Nccl, group: Communicator) -> Channels:
    """How many channels NCCL makes, and how fast: the most bandwidth in all, then the fewest.

    Channels of several nodes each take part of a network interface, and go through all GPUs of a
    node.
    """
    several = group.nodes > 1
    speeds = (_NETWORK_SPEEDS if several else _SPEEDS)[_speeds_of(nccl)]
    count, speed = _searched(group, speeds)
    if not count:
        return Channels(1, min(group.link, group.nic or group.link), min(group.link, speeds[-1]))
    if speed >= 25 and not (_speeds_of(nccl) != "ampere" and speed < 50 and count > 4):
        twice = min(2 * count, _MOST_CHANNELS)
        count, speed = twice, speed * count / twice
    return Channels(count, speed, _tree_speed(group, speeds, count, speed))


def _searched(group: Communicator, speeds: Sequence[float]) -> tuple[int, float]:
    best = (0, 0.0)
    for speed in speeds:
        if best[0] and speed / best[1] <= 0.49:
            break
        count = min(_fitting(group, speed), _MOST_CHANNELS)
        if count * speed > best[0] * best[1]:
            best = (count, speed)
        if best[0] * best[1] >= group.link:
            break
    return best


def _fitting(group: Communicator, speed: float) -> int:
    """How many channels of a speed the links have room for."""
    inside = _room(group, speed)
    if group.nodes == 1:
        return inside
    return min(group.nics * int(group.nic / speed), inside)


def _room(group: Communicator, speed: float) -> int:
    """How many fit a node's links. From the network to the network one is on a node's links once
    less than there are GPUs.
    """
    several, inside = group.nodes > 1, group.of_a_node
    if several and inside == 1:
        return _MOST_CHANNELS
    used = speed * ((inside - 1) / inside if several else 1.0)
    return int(group.link / used + 1e-9)


def _tree_speed(group: Communicator, speeds: Sequence[float], count: int, speed: float) -> float:
    """Trees of two nodes have up to twice as much in a node as between them."""
    if group.nodes != 2:
        return speed
    faster = (s for s in speeds if s <= 2 * speed and _room(group, s) >= count)
    return max(faster, default=speed)
