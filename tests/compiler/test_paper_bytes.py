"""Bytes on the wire equal the formulas of Krizhevsky 2014 ("One weird trick"), scheme by scheme.

K workers hold B examples each, R elements cross the boundary for an example, fully connected
layers have N columns. Every formula also holds for shares that are not equal: B of a worker is its
own share of the batch, N its own columns.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from harness import compiled, options, total_traffic
from networks import Maker

import netc_models
from netc.ir.ops import Parameter
from netc.ir.plan import Plan
from netc.ir.types import shard_bounds
from netc.passes.pipeline import lower_network
from netc.syntax import parse_file
from netc.syntax.network import Network
from netc_runtime.null import NullBackend

R = 6 * 3 * 3
WIDTHS = (16, 12, 8)
ITEM = 8
"""Bytes of a float64, and of a class number."""
Sums = list[tuple[int, int]]
"""Bytes (sent, received) of every worker."""


def small() -> Network:
    net = Maker(2, 6, 6)
    x = net.pool(net.relu(net.conv("image", 6, pad=1)), 2)
    for width in WIDTHS[:-1]:
        x = net.relu(net.fc(x, width))
    return net.loss(net.fc(x, WIDTHS[-1]))


def planned(network: Network, workers: int, batch: int, scheme: str) -> Plan:
    chosen = options(network, workers, batch, strategy="hybrid", scheme=scheme, fetch=())
    return lower_network(network, chosen).plan


def shares(size: int, workers: int) -> list[int]:
    bounds = (shard_bounds(size, 1, workers, w) for w in range(workers))
    return [stop - start for start, stop in bounds]


def gathered(parts: list[int], each: int) -> Sums:
    """Everybody gets the parts of all others, each part so many bytes."""
    return [((len(parts) - 1) * part * each, (sum(parts) - part) * each) for part in parts]


def backwards(sums: Sums) -> Sums:
    return [(received, sent) for sent, received in sums]


def moved(plan: Plan, *values: str) -> Sums:
    """What the exchanges of these values move, in all rounds; "x@1" is round 1 alone."""
    return total_traffic(
        plan, lambda n: n.inputs[0] in values or n.inputs[0].split("@")[0] in values
    )


CONFIGURATIONS = [
    ("a", 2, 8), ("a", 3, 7), ("a", 4, 16), ("b", 2, 8), ("b", 3, 7), ("b", 4, 16), ("b", 4, 6),
    ("c", 2, 8), ("c", 3, 9), ("c", 4, 16),
]  # fmt: skip


@pytest.mark.parametrize(("scheme", "workers", "batch"), CONFIGURATIONS)
def test_totals_do_not_depend_on_the_scheme(scheme: str, workers: int, batch: int) -> None:
    plan = planned(small(), workers, batch, scheme)
    examples = shares(batch, workers)
    boundary = gathered(examples, R * ITEM)
    assert moved(plan, "flatten1") == boundary
    assert moved(plan, "flatten1.grad") == backwards(boundary)
    for layer, width in zip(("relu2", "relu3"), WIDTHS, strict=False):
        edge = gathered(shares(width, workers), batch * ITEM)
        assert moved(plan, layer) == edge
        assert moved(plan, f"{layer}.grad") == backwards(edge)
    assert moved(plan, "labels") == gathered(examples, ITEM)
    assert moved(plan, "conv1.weight.grad") == all_reduced(6 * 2 * 3 * 3, workers)
    assert moved(plan, "conv1.bias.grad") == all_reduced(6, workers)
    assert not any(sum(pair) for pair in moved(plan, "fc1.weight.grad", "fc1.bias.grad"))


def all_reduced(elements: int, workers: int, item: int = ITEM) -> Sums:
    """Every worker sums up its ceil(n / K) share, then everybody gets all shares."""
    one_way = gathered(shares(elements, workers), item)
    return [(sent + received,) * 2 for sent, received in one_way]


@pytest.mark.parametrize(("workers", "batch"), [(2, 8), (3, 7), (4, 16)])
def test_rounds_of_scheme_b(workers: int, batch: int) -> None:
    """The owner sends all its examples to all others, and gets all their gradients."""
    plan = planned(small(), workers, batch, "b")
    for owner, share in enumerate(shares(batch, workers)):
        nbytes = share * R * ITEM
        expected = [(0, nbytes)] * workers
        expected[owner] = ((workers - 1) * nbytes, 0)
        assert moved(plan, f"flatten1@{owner}") == expected
        assert moved(plan, f"flatten1.grad@{owner}") == backwards(expected)


@pytest.mark.parametrize(("workers", "batch"), [(2, 8), (3, 18), (4, 16)])
def test_rounds_of_scheme_c(workers: int, batch: int) -> None:
    """Everybody sends B / K examples to all others."""
    plan = planned(small(), workers, batch, "c")
    nbytes = (workers - 1) * batch // workers // workers * R * ITEM
    for index in range(workers):
        assert moved(plan, f"flatten1@{index}") == [(nbytes, nbytes)] * workers
        assert moved(plan, f"flatten1.grad@{index}") == [(nbytes, nbytes)] * workers


ALEXNET = parse_file(Path(netc_models.__file__).parent / "alexnet_owt.net")


def without_loss(plan: Plan) -> Sums:
    """All but the labels and what the softmax exchanges."""
    return total_traffic(plan, lambda node: node.layer != "softmax_loss1")


@pytest.mark.parametrize("scheme", ["a", "b", "c"])
def test_alexnet_on_four_workers(scheme: str) -> None:
    """The single tower, 128 examples a worker, in float32."""
    chosen = options(ALEXNET, 4, 512, strategy="hybrid", scheme=scheme, precision="fp32", fetch=())
    plan = lower_network(ALEXNET, chosen).plan
    assert moved(plan, "flatten1") == [(14_155_776, 14_155_776)] * 4
    assert moved(plan, "flatten1.grad") == [(14_155_776, 14_155_776)] * 4
    for layer in ("dropout2", "relu7"):
        assert moved(plan, layer) == [(6_291_456, 6_291_456)] * 4
        assert moved(plan, f"{layer}.grad") == [(6_291_456, 6_291_456)] * 4
    weights = [f"conv{i}.weight.grad" for i in range(1, 6)]
    assert moved(plan, *weights) == [(14_811_264, 14_811_264)] * 4
    biases = [f"conv{i}.bias.grad" for i in range(1, 6)]
    assert moved(plan, *weights, *biases) == [(14_818_176, 14_818_176)] * 4
    assert without_loss(plan) == [(68_295_552, 68_295_552)] * 4
    first = {"a": (14_155_776, 14_155_776), "b": (14_155_776, 0), "c": (3_538_944, 3_538_944)}
    assert moved(plan, "flatten1" if scheme == "a" else "flatten1@0")[0] == first[scheme]


def test_alexnet_by_data_alone() -> None:
    chosen = options(ALEXNET, 4, 512, strategy="data", precision="fp32", fetch=())
    plan = lower_network(ALEXNET, chosen).plan
    parameters = (n.type.elements for n in plan.graph.nodes if isinstance(n.op, Parameter))
    assert sum(parameters) == 61_100_840
    assert without_loss(plan) == [(366_605_040, 366_605_040)] * 4


def test_the_null_backend_counts_the_same_for_alexnet() -> None:
    chosen = options(ALEXNET, 4, 512, strategy="hybrid", scheme="b", precision="fp32", fetch=())
    bundle, made = compiled(ALEXNET, replace(chosen))
    report = NullBackend([bundle.train]).load(bundle.train).run()
    assert [report.sent(d) for d in range(4)] == [sent for sent, _ in total_traffic(made.plan)]
