"""NCCL's exchanges take what its own formulas say, by the algorithm and protocol that it takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import pytest
from harness import options
from networks import Maker

import netc_clusters
from netc.cost import LinkLevel, Links, Nccl, exchange_price, exchange_ways, read_cluster
from netc.cost.moved import Moved
from netc.cost.nccl import (
    ARCHITECTURES,
    COLLECTIVES,
    CPUS,
    Channels,
    Communicator,
    channels,
    collective_ways,
)
from netc.cost.price import ExchangePrice
from netc.ir.carriers import LARGE_ELEMENTS, is_large
from netc.ir.program import Collective, GroupCollective, Program
from netc.ir.types import ITEM_BYTES, line_mesh, named_mesh
from netc.passes.pipeline import lower_network
from netc_runtime.comm.gpus import _is_large

HOPPER = Nccl("hopper", 18)
NODE = LinkLevel("nvlink", 8, 396e9, 10e-6)
NDR = LinkLevel("network", None, 50e9, 20e-6)
ONE = Links((replace(NODE, devices=None),), ("nccl",), nccl=HOPPER)
SEVERAL = Links((NODE, NDR), ("nccl",), nccl=HOPPER)
H100_MACHINE = read_cluster(Path(netc_clusters.__file__).parent / "h100.toml")
H100 = H100_MACHINE.links


def moved(kind: str, devices: int, whole: int) -> Moved:
    """What goes directly, of a tensor of so many bytes."""
    match kind:
        case "all_reduce":
            part = 2 * (devices - 1) * whole // devices
            return ((part, part),) * devices
        case "broadcast":
            return (((devices - 1) * whole, 0), *(((0, whole),) * (devices - 1)))
        case "reduce":
            return ((0, (devices - 1) * whole), *(((whole, 0),) * (devices - 1)))
    part = (devices - 1) * whole // devices
    return ((part, part),) * devices


def price(
    kind: str, devices: int, whole: int, links: Links = ONE, large: bool = False
) -> ExchangePrice:
    amount = moved(kind, devices, whole)
    return exchange_price(links, line_mesh(devices), (0,), kind, amount, large)


LOGGED = {
    ("all_gather", "ring", 2, 8): ((23.3, 41.6), (44.6, 313.2), (70.0, 409.6)),
    ("all_gather", "ring", 8, 1): ((41.6, 23.3), (73.5, 50.5), (106.4, 54.9)),
    ("all_reduce", "ring", 2, 1): ((16.6, 24.0), (31.0, 44.2), (36.4, 48.0)),
    ("all_reduce", "ring", 2, 4): ((24.0, 22.3), (44.8, 100.9), (77.2, 109.7)),
    ("all_reduce", "ring", 2, 8): ((40.0, 20.8), (75.2, 156.6), (131.6, 204.8)),
    ("all_reduce", "ring", 32, 8): ((622.0, 10.2), (1113.2, 147.4), (2399.6, 192.8)),
    ("all_reduce", "tree", 2, 1): ((16.8, 9.3), (31.0, 31.2), (36.4, 35.2)),
    ("all_reduce", "tree", 2, 8): ((25.2, 16.6), (48.5, 124.8), (92.4, 140.8)),
    ("all_reduce", "tree", 4, 2): ((28.0, 8.7), (50.5, 35.2), (72.4, 37.5)),
    ("all_reduce", "tree", 16, 8): ((55.2, 8.7), (99.5, 98.6), (176.4, 122.4)),
}
"""What NCCL 2.27.5 said in its tuning logs on nodes of eight H100 with eight NICs of 400 Gb/s:
microseconds and GB/s for LL, LL128 and Simple, by collective, algorithm, nodes and GPUs of each.
Read from meta-pytorch/autoparallel (BSD-3), nccl_cost_model.py, which keeps such tables."""


@pytest.mark.parametrize("case", LOGGED, ids=str)
def test_latencies_and_bandwidths_are_those_of_its_logs(case: tuple[str, str, int, int]) -> None:
    kind, algorithm, nodes, each = case
    group = Communicator(nodes * each, nodes, 18 * 20.6, 50.0, each)
    ways = [w for w in collective_ways(HOPPER, group, kind, 2**31) if w.algorithm == algorithm]
    for way, (latency, bandwidth) in zip(ways, LOGGED[case], strict=True):
        longer = 1.4 if (algorithm, way.protocol, kind) == ("ring", "Simple", "all_reduce") else 1
        assert way.latency_seconds * 1e6 == pytest.approx(longer * latency, abs=0.08)
        assert way.bytes_per_second / 1e9 == pytest.approx(bandwidth, abs=0.06)


def test_channels_are_those_that_it_finds() -> None:
    assert channels(HOPPER, Communicator(8, 1, 18 * 20.6)) == Channels(12, 30.0, 30.0)
    assert channels(Nccl("ampere", 12), Communicator(8, 1, 240)) == Channels(12, 20.0, 20.0)
    assert channels(Nccl("ampere", 12), Communicator(16, 2, 240, 25, 8)).count == 8


def test_three_sizes_by_hand() -> None:
    """An all-reduce over eight H100 of one node; 14 steps."""
    n = 2**10
    assert price("all_reduce", 8, n).seconds == pytest.approx(15.0e-6 + n * 14 / 8 / 141e9)
    n = 2**23
    ll128 = 14e-6 + 14 * 1.9e-6 + n * 14 / 8 / (0.92 * 360e9)
    assert price("all_reduce", 8, n).seconds == pytest.approx(ll128)
    n = 2**30
    assert price("all_reduce", 8, n).seconds == pytest.approx(56.0e-6 + n * 14 / 8 / 360e9)


@pytest.mark.parametrize(
    ("devices", "protocols"),
    [(2, ["LL", "Simple"]), (4, ["LL", "LL128", "Simple"]), (8, ["LL", "LL128", "Simple"])],
)
def test_protocols_follow_each_other_with_size(devices: int, protocols: list[str]) -> None:
    """Two GPUs have too few steps for LL128 to pay."""
    sizes = [2**power for power in range(6, 31)]
    found = [price("all_reduce", devices, size).algorithm for size in sizes]
    assert list(dict.fromkeys(found)) == [f"nccl ring {each}" for each in protocols]


def test_short_sums_over_many_nodes_are_a_trees() -> None:
    assert price("all_reduce", 64, 2**12, SEVERAL).algorithm == "nccl tree LL"
    assert price("all_reduce", 64, 2**32, SEVERAL).algorithm == "nccl ring Simple"


@pytest.mark.parametrize("kind", COLLECTIVES)
def test_more_bytes_take_longer_and_none_less_than_its_links_need(kind: str) -> None:
    for links, devices in ((ONE, 2), (ONE, 8), (SEVERAL, 16), (SEVERAL, 64)):
        found = [price(kind, devices, devices * int(n), links) for n in np.geomspace(8, 2e9, 120)]
        assert all(a.seconds < b.seconds for a, b in pairwise(found))
        assert all(0 < max(map(max, each.ports)) <= 1 + 1e-12 for each in found)
        in_use = found[-1].seconds * found[-1].ports[0][0]
        least = 2 * (devices - 1) if kind == "all_reduce" else devices - 1
        if kind in ("broadcast", "reduce"):
            least = devices
        assert in_use >= least * int(2e9) / NODE.bytes_per_second * (1 - 1e-6)


def test_all_groups_of_a_node_share_its_network() -> None:
    """Two nodes of four; along the first axis four pairs go over one link of 100 Gb/s."""
    shared = LinkLevel("network", 8, 12.5e9, 2e-5, shared_bytes_per_second=12.5e9)
    links = Links((LinkLevel("nvlink", 4, 150e9, 1e-5), shared), ("nccl",), nccl=Nccl("volta", 6))
    n = 2**26
    amount = ((n, n),) * 8
    alone = exchange_price(links, named_mesh((2,)), (0,), "all_gather", amount[:2])
    pairs = exchange_price(links, named_mesh((2, 4)), (0,), "all_gather", amount)
    assert alone.algorithm.startswith("nccl") and pairs.algorithm.startswith("nccl")
    assert pairs.seconds >= 4 * n / 12.5e9
    assert dict(pairs.shared)["network"] == pytest.approx(1, abs=0.01)


def test_nothing_fails_on_any_machine() -> None:
    for architecture in ARCHITECTURES:
        for nvlinks in (0, 2, 6, 18):
            for cpu in CPUS:
                nccl = Nccl(architecture, nvlinks, cpu)
                for wide in (0.01e9, 6e9, 400e9):
                    links = Links(
                        (LinkLevel("in", 4, wide, 1e-5), LinkLevel("out", None, wide / 3, 1e-5)),
                        ("nccl", "cuda"), nccl=nccl,
                    )  # fmt: skip
                    for devices in (2, 3, 4, 6, 8, 64):
                        for kind in (*COLLECTIVES, "all_to_all", "gather"):
                            found = price(kind, devices, 10**6, links)
                            assert 0 < found.seconds < np.inf


def test_gpus_exchange_as_the_runtime_does() -> None:
    """One rule (`netc.ir.carriers`), on both sides of the size at which NCCL takes over."""
    for elements, way in ((LARGE_ELEMENTS, "direct"), (LARGE_ELEMENTS + 1, "nccl ring LL")):
        large = is_large("all_reduce", elements)
        assert price("all_reduce", 2, 4 * elements, H100, large).algorithm == way
        assert not is_large("all_gather", elements)
    assert price("all_gather", 8, 2**30, H100).algorithm == "direct"
    far = replace(SEVERAL, algorithms=("cuda",))
    assert price("all_gather", 16, 2**20, far).algorithm.startswith("nccl messages")
    assert price("broadcast", 16, 2**20, far).algorithm.startswith("nccl ring")
    assert price("all_gather", 16, 2**20, SEVERAL).algorithm.startswith("nccl ring")


@pytest.mark.parametrize(
    ("nbytes", "seconds"), [(128, 25.214764e-6), (4096, 25.874907e-6), (8192, 26.549810e-6)]
)
def test_its_own_estimates_are_met(nbytes: int, seconds: float) -> None:
    """What NCCL logged that a tree with LL takes, 24 H100 on three nodes (NVIDIA/nccl#1453)."""
    group = Communicator(24, 3, 18 * 20.6, 50.0, 8)
    way = next(iter(collective_ways(HOPPER, group, "all_reduce", nbytes)))
    assert (way.algorithm, way.protocol) == ("tree", "LL")
    estimate = way.latency_seconds + nbytes / way.bytes_per_second
    assert estimate == pytest.approx(seconds, rel=2e-4)


def taking(devices: int, nbytes: int, bus: float) -> float:
    """Seconds of an all-reduce whose bus bandwidth (nccl-tests' busbw, GB/s) is told."""
    return 2 * (devices - 1) / devices * nbytes / bus / 1e9


AMPERE = Links(
    (LinkLevel("nvlink", 8, 270e9, 1e-5), LinkLevel("network", None, 25e9, 2e-5)),
    ("nccl",), nccl=Nccl("ampere", 12, "amd"),
)  # fmt: skip
FOUR_NICS = Links(
    (AMPERE.levels[0], replace(AMPERE.levels[1], shared_bytes_per_second=100e9)),
    ("nccl",), nccl=Nccl("ampere", 12),
)  # fmt: skip
HDR = Links((replace(NODE, devices=4), AMPERE.levels[1]), ("nccl",), nccl=HOPPER)
GIB = 2**30
PUBLISHED = [
    (ONE, "all_reduce", 8, 16 * GIB, taking(8, 16 * GIB, 368.76), 0.03),
    (ONE, "all_reduce", 2, GIB, 10e-6 + GIB / 324e9, 0.10),
    (ONE, "all_reduce", 4, GIB, 15e-6 + GIB / 236e9, 0.02),
    (ONE, "all_gather", 2, GIB, 8e-6 + GIB / 537e9, 0.26),
    (ONE, "all_gather", 4, GIB, 17e-6 + GIB / 434e9, 0.10),
    (ONE, "all_gather", 8, GIB, 30e-6 + GIB / 394e9, 0.05),
    (ONE, "all_reduce", 2, 16, 10e-6, 0.23),
    (ONE, "all_reduce", 4, 32, 15e-6, 0.33),
    (AMPERE, "all_reduce", 8, 8 * GIB, taking(8, 8 * GIB, 230), 0.05),
    (AMPERE, "all_reduce", 2, 12 * GIB, taking(2, 12 * GIB, 208), 0.14),
    (HDR, "all_reduce", 8, GIB // 2, 10052e-6, 0.02),
    (HDR, "all_reduce", 8, GIB, 20079e-6, 0.03),
    (HDR, "all_reduce", 8, 8 * GIB, 158070e-6, 0.02),
    (FOUR_NICS, "all_reduce", 24, 133169160, 2666.0e-6, 0.12),
    (SEVERAL, "all_reduce", 32, 16 * GIB, taking(32, 16 * GIB, 365.84), 0.05),
]
"""Links, kind, devices, bytes, seconds, and how far off they are at most: docs/adr/0022-nccl.md
says who published them."""


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: f"{case[1]}-{case[2]}-{case[3]}")
def test_published_measurements_are_met_as_the_page_says(
    case: tuple[Links, str, int, int, float, float],
) -> None:
    links, kind, devices, nbytes, seconds, error = case
    amount = moved(kind, devices, nbytes)
    ways = exchange_ways(links, line_mesh(devices), (0,), kind, amount)
    # Between nodes they were measured with rings, except the three of A100 and four of H100.
    found = [each for each in ways if links is not HDR or "ring" in each.algorithm]
    least = min(each.seconds for each in found)
    assert abs(least / seconds - 1) <= error


def test_programs_carry_the_price_of_who_carries_the_exchange() -> None:
    """What the runtime takes for large is priced as NCCL's, bucket by bucket."""
    net = Maker(4, 16, 16)
    network = net.loss(
        net.fc(net.relu(net.fc(net.flatten(net.relu(net.conv("image", 8))), 300)), 8)
    )
    chosen = replace(options(network, 2, 8, strategy="data"), cluster=H100_MACHINE)
    program = lower_network(network, chosen).program
    seen = set()
    for each in program.instructions:
        if not isinstance(each, Collective) or each.kind != "all_reduce":
            continue
        (group,) = (program.in_group(each, devices) for devices in program.groups(each))
        found = [
            price("all_reduce", 2, nbytes(program, group), H100, large).seconds
            for large in (False, True)
        ]
        assert each.seconds == pytest.approx(found[_is_large(group)], rel=1e-6)
        seen.add(_is_large(group))
    assert seen == {False, True}


def nbytes(program: Program, group: GroupCollective) -> int:
    """Of what is reduced, on a device."""
    return sum(
        prod(view.shape) * ITEM_BYTES[program.buffer[view.buffer].dtype]
        for part in group.parts
        for view in part.targets[:1]
        if view is not None
    )
