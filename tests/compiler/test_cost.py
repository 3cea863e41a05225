"""Exchanges cost what the textbook's formulas say, over one link and over shared ones."""

from __future__ import annotations

from dataclasses import replace
from math import log2

import pytest

from netc.cost import LinkLevel, Links, exchange_price
from netc.cost.moved import Moved
from netc.ir.types import line_mesh

ALPHA, RATE = 1e-5, 1e9
WIRE = LinkLevel("wire", None, RATE, ALPHA)
HALVES = Links((
    LinkLevel("pcie", 4, 6e9, 0.0), LinkLevel("halves", 8, 6e9, 0.0, shared_bytes_per_second=12e9),
))  # fmt: skip


def moved(kind: str, devices: int, whole: int) -> Moved:
    """What goes directly, of a tensor whose size the devices divide."""
    part = whole // devices
    match kind:
        case "all_reduce":
            return ((2 * (whole - part),) * 2,) * devices
        case "all_gather" | "reduce_scatter":
            return ((whole - part,) * 2,) * devices
        case "broadcast":
            return (((devices - 1) * whole, 0), *(((0, whole),) * (devices - 1)))
    assert kind == "reduce"
    return ((0, (devices - 1) * whole), *(((whole, 0),) * (devices - 1)))


def price(
    kind: str, devices: int, whole: int, *algorithms: str, links: Links | None = None
) -> float:
    links = links or Links((WIRE,))
    links = replace(links, algorithms=algorithms)
    amount = moved(kind, devices, whole)
    return exchange_price(links, line_mesh(devices), (0,), kind, amount).seconds


@pytest.mark.parametrize("devices", [2, 4, 16, 256])
@pytest.mark.parametrize("whole", [2**10, 2**28])
def test_steps_cost_what_textbooks_say(devices: int, whole: int) -> None:
    """Thakur, Rabenseifner and Gropp 2005, without the time of adding."""
    k, n, rounds = devices, whole / RATE, log2(devices)
    share = (k - 1) / k
    expected = {
        ("all_reduce", "direct"): 2 * ALPHA + 2 * share * n,
        ("all_reduce", "ring"): 2 * (k - 1) * ALPHA + 2 * share * n,
        ("all_reduce", "tree"): 2 * rounds * (ALPHA + n),
        ("all_reduce", "doubling"): rounds * (ALPHA + n),
        ("all_reduce", "halving"): 2 * rounds * ALPHA + 2 * share * n,
        ("all_gather", "direct"): ALPHA + share * n,
        ("all_gather", "ring"): (k - 1) * ALPHA + share * n,
        ("all_gather", "doubling"): rounds * ALPHA + share * n,
        ("reduce_scatter", "ring"): (k - 1) * ALPHA + share * n,
        ("reduce_scatter", "halving"): rounds * ALPHA + share * n,
        ("broadcast", "direct"): ALPHA + (k - 1) * n,
        ("broadcast", "tree"): rounds * (ALPHA + n),
        ("broadcast", "halving"): (rounds + k - 1) * ALPHA + 2 * share * n,
        ("reduce", "tree"): rounds * (ALPHA + n),
    }
    for (kind, algorithm), seconds in expected.items():
        assert price(kind, devices, whole, algorithm) == pytest.approx(seconds, rel=1e-9)


def test_the_fastest_way_depends_on_the_size() -> None:
    def way(whole: int) -> str:
        links = Links((WIRE,), ("ring", "tree", "doubling", "halving"))
        amount = moved("all_reduce", 256, whole)
        return exchange_price(links, line_mesh(256), (0,), "all_reduce", amount).algorithm

    assert way(256) == "doubling"
    assert way(2**28) == "halving"


def test_all_who_cross_share_what_joins_the_halves() -> None:
    """Four of seven parts cross, at 3 GB/s for each of the four that share 12."""
    whole = 8 * 2**20
    assert price("all_gather", 4, whole, "direct", links=HALVES) == pytest.approx(
        whole * 3 / 4 / 6e9
    )
    crossing = 4 * 4 * whole / 8 / 12e9
    assert crossing > whole * 7 / 8 / 6e9
    assert price("all_gather", 8, whole, "direct", links=HALVES) == pytest.approx(crossing)
    # One sender has the crossing for itself.
    assert price("broadcast", 8, whole, "direct", links=HALVES) == pytest.approx(7 * whole / 6e9)
    # A ring crosses twice only, once each way.
    assert price("all_gather", 8, whole, "ring", links=HALVES) == pytest.approx(whole * 7 / 8 / 6e9)


def test_an_exchange_along_one_axis_counts_all_of_its_groups() -> None:
    """On a mesh of 2 x 4 every pair along the first axis crosses."""
    amount = ((2**20, 2**20),) * 8
    mesh = replace(line_mesh(8), shape=(2, 4), axes=("d", "e"))
    within = exchange_price(HALVES, mesh, (1,), "all_gather", amount).seconds
    across = exchange_price(HALVES, mesh, (0,), "all_gather", amount)
    assert within == pytest.approx(2**20 / 6e9)
    assert across.seconds == pytest.approx(4 * 2**20 / 12e9)
    assert dict(across.shared)["halves"] == pytest.approx(1.0)
