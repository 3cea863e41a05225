"""Sharded updates: a K-th of the state, the bytes of an all-reduce, the same results to the bit."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import pytest
from harness import compiled, data, options, same, session, tiny, total_traffic, train
from networks import Maker
from random_networks import OPTIMIZERS

from netc.ir.comm import AllGather, AllReduce, ReduceScatter
from netc.ir.graph import Node
from netc.ir.ops import Cast, Parameter, State
from netc.ir.optimizers import Chosen
from netc.ir.plan import Plan
from netc.ir.program import Bundle, Collective, Launch
from netc.ir.types import Mesh
from netc.passes.assign_streams import BUCKET_BYTES
from netc.passes.choose_splits import Pin
from netc.passes.pipeline import Compiled
from netc.syntax.network import Network

GRID = Mesh((2, 2), ("a", "b"))
ITEM_BYTES = 8


def even(bn: bool = False) -> Network:
    """All sizes are multiples of eight."""
    net = Maker(8, 8, 8, name="even")
    x = net.conv("image", 16, pad=1, bias=not bn)
    x = net.pool(net.relu(net.bn(x) if bn else x), 2)
    return net.loss(net.fc(net.relu(net.fc(x, 24)), 8))


def made(
    network: Network, mesh: Mesh | int, updates: str | None = "sharded", **changes: Any
) -> tuple[Bundle, Compiled]:
    """Split by the batch, with no results but the loss and new state."""
    told: dict[str, Any] = {"strategy": "data", "fetch": (), **changes}
    return compiled(network, options(network, mesh, 8, updates=updates, **told))


def kept_elements(bundle: Bundle, device: int) -> dict[str, int]:
    """What a device keeps of every weight and state."""
    blocks = ((port, bundle.train.block(port, device)) for port in bundle.train.state)
    found: dict[str, int] = {}
    for port, view in blocks:
        assert view is not None
        size = 1
        for extent in view.shape:
            size *= extent
        found[port.name] = size
    return found


def weights(plan: Plan) -> list[Node]:
    return [node for node in plan.graph.nodes if isinstance(node.op, Parameter)]


def exchanges(bundle: Bundle, stream: str) -> list[Collective]:
    found = (i for i in bundle.train.instructions if isinstance(i, Collective))
    return [each for each in found if each.stream == stream]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("devices", [2, 4, 8])
def test_state_and_weights_are_a_share(devices: int, optimizer: Chosen) -> None:
    whole, _ = made(even(), devices, "replicated", optimizer=optimizer)
    parts, _ = made(even(), devices, optimizer=optimizer)
    for device in range(devices):
        before, now = kept_elements(whole, device), kept_elements(parts, device)
        assert {name: size // devices for name, size in before.items()} == now


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_bytes_are_those_of_an_all_reduce(devices: int) -> None:
    """2 (K - 1) / K of all weights each way; reduce-scatters and all-gathers half of that each."""
    _, whole = made(even(), devices, "replicated")
    _, parts = made(even(), devices)
    elements = sum(node.type.elements for node in weights(parts.plan))
    share = (devices - 1) * elements * ITEM_BYTES // devices

    def moved(plan: Plan, kind: type) -> set[tuple[int, int]]:
        return set(total_traffic(plan, lambda n: isinstance(n.op, kind) and n.type.rank > 0))

    assert moved(whole.plan, AllReduce) == {(2 * share, 2 * share)}
    assert moved(parts.plan, ReduceScatter) == moved(parts.plan, AllGather) == {(share, share)}
    assert total_traffic(parts.plan) == total_traffic(whole.plan)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("network", [tiny(), even(bn=True)], ids=["tiny", "bn"])
def test_results_are_the_same_to_the_bit(network: Network, optimizer: Chosen) -> None:
    """On the CPU sums are made in the order of devices, whoever makes them."""
    runs = [
        train(network, made(network, 3, updates, optimizer=optimizer)[0], seed=5)
        for updates in ("replicated", "sharded")
    ]
    assert same(runs[0].results, runs[1].results)


def test_a_training_goes_on_with_the_other_updates() -> None:
    network = tiny()
    whole, parts = (session(made(network, 3, each)[0]) for each in ("replicated", "sharded"))
    straight = session(made(network, 3, "replicated")[0])

    def step(devices: Any, number: int) -> None:
        devices.step(*data(network, 8, number), step=number, seed=1, learning_rate=0.05)

    for number, devices in enumerate((whole, parts, whole)):
        step(devices, number)
        step(straight, number)
        assert same(devices.state(), straight.state())
        for other in (whole, parts):
            other.restore(devices.state())


def test_the_dimension_is_the_one_that_shares_best() -> None:
    """The first of those with the smallest largest shard; others than k where that is uneven."""
    net = Maker(16, 4, 4)
    x = net.conv("image", 3)
    x = net.conv(x, 32, 1)
    network = net.loss(net.fc(x, 10))
    _, chosen = made(network, 8)
    own = {node.name: node.split for node in weights(chosen.plan)}
    assert own == {
        "conv1.weight": ("c",), "conv1.bias": ("k",), "conv2.weight": ("k",),
        "conv2.bias": ("k",), "fc1.weight": ("c",), "fc1.bias": ("k",),
    }  # fmt: skip


def test_what_cannot_be_shared_stays_whole() -> None:
    net = Maker(1, 4, 4)
    network = net.loss(net.fc(net.conv("image", 1, 1), 2))
    _, chosen = made(network, 2)
    own = {node.name for node in weights(chosen.plan) if node.split}
    assert own == {"fc1.weight", "fc1.bias"}
    kinds = {node.name: type(node.op) for node in chosen.plan.graph.nodes}
    assert kinds["conv1.weight.grad.all_reduce"] is AllReduce


def test_two_axes_share_by_dimensions_that_no_later_one_divides() -> None:
    network = even()
    pins = (Pin("conv1", "n,k"), Pin("fc1", "k,n"))
    _, chosen = made(network, GRID, pins=pins, strategy="data")
    own = {node.name: node.split for node in weights(chosen.plan)}
    assert own == {
        "conv1.weight": ("c", "k"), "conv1.bias": (), "fc1.weight": ("k", "k"),
        "fc1.bias": ("k", "k"), "fc2.weight": ("k", "k"), "fc2.bias": ("k", "k"),
    }  # fmt: skip
    held = {
        port.name: size for port, size in zip(chosen.program.state, _sizes(chosen), strict=True)
    }
    assert held["fc2.weight"] == 24 * 8 // 4


def _sizes(chosen: Compiled) -> list[int]:
    return [
        chosen.program.buffer[port.views[0].buffer].nbytes // ITEM_BYTES
        for port in chosen.program.state
    ]


def test_scale_shift_and_running_statistics_stay() -> None:
    """Batch norm's gradient of its input needs the whole gradients of scale and shift."""
    bundle, chosen = made(even(bn=True), 4)
    whole, _ = made(even(bn=True), 4, "replicated")
    own = {node.name for node in weights(chosen.plan) if node.split}
    assert own == {"conv1.weight", "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    now, before = kept_elements(bundle, 0), kept_elements(whole, 0)
    running = [n.name for n in chosen.plan.graph.nodes if isinstance(n.op, State) and not n.split]
    assert "bn1.running_mean" in running
    assert all(now[name] == before[name] for name in running)


@pytest.mark.parametrize("split", ["n", "h", "w"])
def test_every_split_that_repeats_weights(split: str) -> None:
    _, chosen = made(even(), 2, pins=(Pin("conv1", split),))
    assert all(node.split == ("k",) for node in weights(chosen.plan))


@pytest.mark.parametrize("split", ["k", "c", "r", "@0"])
def test_weights_that_are_not_summed_over_devices_stay(split: str) -> None:
    bundle, chosen = made(even(), 2, pins=(Pin("*", "r"), Pin("fc1", split)))
    assert not any(node.split for node in chosen.plan.graph.nodes)
    assert bundle.facts.updates == "sharded"
    (note,) = (each for each in chosen.notes if "updates" in each)
    assert note.startswith("sharded updates have nothing to do: no gradients of weights")


def test_weights_are_gathered_first_in_growing_buckets() -> None:
    """Before anything is computed, on a stream of their own; each bucket is at most about as
    large as all before it, but for its last weight.
    """
    net = Maker(8, 4, 4)
    x = net.conv("image", 8)
    for _ in range(6):
        x = net.fc(x, 400)
    bundle, chosen = made(net.loss(net.fc(x, 8)), 2)
    first = next(i for i, x in enumerate(bundle.train.instructions) if isinstance(x, Launch))
    gathers = exchanges(bundle, "weights")
    assert [*bundle.train.instructions[: len(gathers)]] == gathers and first == len(gathers)
    sizes = [[chosen.plan.graph[part.node].type.nbytes for part in each.parts] for each in gathers]
    assert sum(map(len, sizes)) == len(weights(chosen.plan))
    assert len(sizes[0]) == 1 and len(sizes) < len(weights(chosen.plan)) / 2
    before = [*accumulate(sum(each) for each in sizes)]
    for sent, own in zip(before, sizes[1:], strict=False):
        assert sum(own[:-1]) < min(sent, BUCKET_BYTES)


def test_gradients_are_scattered_in_buckets() -> None:
    bundle, chosen = made(tiny(), 2)
    (bucket,) = exchanges(bundle, "gradient")
    assert bucket.kind == "reduce_scatter"
    assert len(bucket.parts) == len(weights(chosen.plan))


def test_weights_are_cast_before_they_are_gathered() -> None:
    """In bf16 half the bytes travel, and casts wait for nothing."""
    bundle, chosen = made(even(), 2, precision="bf16")
    graph = chosen.plan.graph
    casts = [node.name for node in graph.nodes if isinstance(node.op, Cast)]
    gathered = [n for n in graph.nodes if isinstance(n.op, AllGather) and n.inputs[0] in casts]
    assert len(casts) == len(gathered) == 3
    assert {node.type.dtype for node in gathered} == {"bf16"}
    first = [i.node for i in bundle.train.instructions if isinstance(i, Launch)][: len(casts)]
    assert sorted(first) == sorted(casts)


@pytest.mark.parametrize("scheme", ["b", "c"])
def test_what_moves_after_every_round_is_shared_too(scheme: str) -> None:
    """Layers behind the boundary that are split by the height; results are those of one device."""
    net = Maker(4, 4, 4)
    x = net.relu(net.conv("image", 4, pad=1))
    x = net.conv(x, 4, pad=1)
    network = net.loss(net.fc(x, 8))
    pins = (Pin("conv2", "h"), Pin("flatten*", "k"), Pin("fc1", "k"), Pin("softmax*", "k"))
    told: dict[str, Any] = {"scheme": scheme, "fc_update": "round", "pins": pins}
    bundle, chosen = made(network, 2, **told)
    assert chosen.scheme == scheme
    own = {node.name for node in weights(chosen.plan) if node.split}
    assert own == {"conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"}
    whole = train(network, made(network, 2, "replicated", **told)[0], seed=2)
    assert same(train(network, bundle, seed=2).results, whole.results)
