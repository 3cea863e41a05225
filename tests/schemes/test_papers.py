"""The exchange schemes against Krizhevsky 2014: bytes per worker, per step and per round, and what
rounds compute. Figures are written out from the paper's rules, not taken from the code."""

from collections import defaultdict

import numpy as np
import pytest
from networks import Maker

from netc.cost import plan_traffic
from netc.errors import PlanError
from netc.ir.program import Collective
from netc.ir.types import shard_bounds
from netc_runtime.null import NullBackend
from runs import compiled, data, difference, options, session, single, train

WORKERS, SHARE, FLOAT = 4, 128, 4


def one_tower(filters=(64, 192, 384, 256, 256), hidden=4096):
    """AlexNet in one tower on 227x227: 9,216 values an image at the boundary."""
    net = Maker(3, 227, 227, name="tower")
    x = net.relu(net.conv("image", filters[0], 11, stride=4))
    x = net.pool(x, 3, stride=2)
    x = net.pool(net.relu(net.conv(x, filters[1], 5, pad=2)), 3, stride=2)
    x = net.relu(net.conv(x, filters[2], 3, pad=1))
    x = net.relu(net.conv(x, filters[3], 3, pad=1))
    x = net.pool(net.relu(net.conv(x, filters[4], 3, pad=1)), 3, stride=2)
    x = net.dropout(net.relu(net.fc(x, hidden)))
    x = net.dropout(net.relu(net.fc(x, hidden)))
    return net.loss(net.fc(x, 1000))


def plan_of(network, workers, batch, scheme, strategy="hybrid"):
    chosen = options(network, workers, batch, strategy=strategy, scheme=scheme, precision="fp32")
    return compiled(network, chosen)


def parts(plan, workers):
    """Bytes (sent, received) by worker, for each kind of exchange and, of the boundary, round."""
    table = defaultdict(lambda: [[0, 0] for _ in range(workers)])
    for name, traffic in plan_traffic(plan).items():
        node = plan.graph[name]
        for worker, (sent, received) in traffic.items():
            table[event_of(plan, node)][worker][0] += sent
            table[event_of(plan, node)][worker][1] += received
    return table


def event_of(plan, node):
    """What an exchange is for, from the value it moves."""
    value = node.inputs[0].split(".")[0].split("@")[0]
    number = node.inputs[0].split("@")[1].split(".")[0] if "@" in node.inputs[0] else ""
    if node.type.rank == 1 and node.op.kernel == "all_reduce" and node.layer.startswith("softmax"):
        return "softmax"
    if value == "labels":
        return "labels"
    if node.phase == "update":
        return "weights"
    if value == "loss":
        return "softmax"
    if value.startswith("flatten"):
        return f"boundary {node.phase} {number}".strip()
    return "fully connected"


def test_the_worked_example():
    """K=4, B=128, R=9216, 2,468,544 convolution weights and 1,152 biases: 68,295,552 bytes."""
    _, made = plan_of(one_tower(), WORKERS, WORKERS * SHARE, "b")
    table = parts(made.plan, WORKERS)
    boundary = [sum(table[e][w][0] for e in table if e.startswith("boundary")) for w in range(4)]
    assert boundary == [2 * 14_155_776] * 4
    assert [sent for sent, _ in table["fully connected"]] == [2 * 2 * 6_291_456] * 4
    assert [sent for sent, _ in table["weights"]] == [14_818_176] * 4
    for direction in (0, 1):
        for worker in range(WORKERS):
            total = sum(
                t[worker][direction] for e, t in table.items() if e not in ("softmax", "labels")
            )
            assert total == 68_295_552
    assert [sent for sent, _ in table["labels"]] == [3 * SHARE * 8] * 4


def test_data_parallelism_of_the_worked_example():
    """61,100,840 parameters around a ring: 366,605,040 bytes a worker."""
    _, made = plan_of(one_tower(), WORKERS, WORKERS * SHARE, None, "data")
    sent = [sum(t[w][0] for t in plan_traffic(made.plan).values()) for w in range(WORKERS)]
    loss = 4 * 2 * (WORKERS - 1) // WORKERS
    assert all(abs(s - 366_605_040) <= loss + 6 for s in sent)


def small(features=24):
    """A boundary of 96 values, then layers of widths that no number of workers divides."""
    net = Maker(2, 8, 8, name="small")
    x = net.pool(net.relu(net.conv("image", 6, pad=1)), 2)
    x = net.relu(net.fc(x, features))
    x = net.relu(net.fc(x, 17))
    return net.loss(net.fc(x, 10))


@pytest.mark.parametrize("workers", [2, 3, 4, 5])
@pytest.mark.parametrize("scheme", ["a", "b", "c"])
def test_bytes_of_every_round(scheme, workers):
    """The table of what each worker sends and receives at the boundary, round by round."""
    share = 2 * workers
    bundle, made = plan_of(small(), workers, workers * share, scheme)
    table, values = parts(made.plan, workers), 96 * FLOAT
    others = workers - 1
    if scheme == "a":
        assert table["boundary forward"] == [[others * share * values] * 2] * workers
        assert table["boundary backward"] == [[others * share * values] * 2] * workers
    for r in range(workers if scheme != "a" else 0):
        forward, backward = table[f"boundary forward {r}"], table[f"boundary backward {r}"]
        for worker in range(workers):
            if scheme == "c":
                each = others * share * values // workers
                assert forward[worker] == backward[worker] == [each, each]
            elif worker == r:
                assert forward[worker] == [others * share * values, 0]
                assert backward[worker] == [0, others * share * values]
            else:
                assert forward[worker] == [0, share * values]
                assert backward[worker] == [share * values, 0]
    _check_inner_layers(table, workers, share)
    counted = NullBackend([bundle.train]).load(bundle.train).run()
    for worker in range(workers):
        assert counted.sent(worker) == sum(t[worker][0] for t in table.values())


def _check_inner_layers(table, workers, share):
    """Every worker sends its own columns of 24 and of 17 to the others, and the reverse back."""
    for worker in range(workers):
        mine = sum(
            stop - start for start, stop in (shard_bounds(n, 1, workers, worker) for n in (24, 17))
        )
        all_of = 24 + 17
        rows = workers * share * FLOAT
        forward = (workers - 1) * mine * rows, (all_of - mine) * rows
        assert table["fully connected"][worker] == [sum(forward), sum(forward)]


@pytest.mark.parametrize("workers", [3, 5])
def test_weights_that_the_workers_do_not_divide(workers):
    """Shards are ceil(n / K): only the last is short. 6 x 2 x 9 weights and 6 biases."""
    _, made = plan_of(small(), workers, workers * workers, "b")
    for worker, (sent, received) in enumerate(parts(made.plan, workers)["weights"]):
        expected = 0
        for n in (6 * 2 * 9, 6):
            start, stop = shard_bounds(n, 1, workers, worker)
            expected += n - (stop - start) + (workers - 1) * (stop - start)
        assert sent == received == expected * FLOAT


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("scheme", ["a", "b", "c"])
def test_accumulated_schemes_equal_one_device(scheme, workers):
    network, batch = small(), 2 * workers * workers
    bundle, _ = compiled(
        network, options(network, workers, batch, strategy="hybrid", scheme=scheme)
    )
    assert difference(train(network, bundle, 5), single(network, batch, 5)) < 1e-12


@pytest.mark.parametrize("batch", [5, 7, 10, 13])
def test_scheme_b_takes_unequal_shares(batch):
    network = small()
    bundle, made = compiled(network, options(network, 4, batch, strategy="hybrid", scheme="b"))
    assert made.scheme == "b"
    assert difference(train(network, bundle, 5), single(network, batch, 5)) < 1e-12


@pytest.mark.parametrize("scheme", ["b", "c"])
def test_updates_after_every_round(scheme):
    """Section 4.2 there, simulated with one device: each round is a step of the behind weights on
    its examples with n/N of the rate, while the convolution waits for all of them."""
    network, workers, batch, rate = small(), 2, 12, 0.05
    asked = {"strategy": "hybrid", "scheme": scheme, "fc_update": "round"}
    bundle, _ = compiled(network, options(network, workers, batch, **asked))
    many = session(bundle)
    share = batch // workers
    images, labels = data(network, batch, 3)
    if scheme == "b":
        rounds = [np.arange(share), np.arange(share, batch)]
    else:
        rounds = [np.r_[0:3, 6:9], np.r_[3:6, 9:12]]
    one, _ = compiled(network, options(network, 1, share, strategy="single"))
    small_step = session(one)
    state = many.state()
    convolution = sum_of_rounds(small_step, network, state, images, labels, rounds, rate)
    for name in state:
        if name.startswith("conv1") and not name.endswith("velocity"):
            velocity = f"{name}.velocity"
            decay = 5e-3 * many.state()[name]
            state[velocity] = 0.9 * many.state()[velocity] - rate * (convolution[name] + decay)
            state[name] = many.state()[name] + state[velocity]
    many.step(images, labels, step=0, seed=3, learning_rate=rate)
    after = many.state()
    for name, value in state.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-10, atol=1e-13, err_msg=name)


def sum_of_rounds(small_step, network, state, images, labels, rounds, rate):
    """Train the fully connected layers round by round; the mean gradient of the convolution.

    A step on n examples moves by lr (mean gradient + decay w), so n/N lr is the rate to give.
    """
    frozen = {k: v for k, v in state.items() if k.startswith("conv1")}
    total = {name: 0.0 for name in frozen if not name.endswith("velocity")}
    for rows in rounds:
        small_step.restore(state | frozen)
        out = small_step.step(
            images[rows], labels[rows], step=0, seed=3, learning_rate=rate * len(rows) / len(images)
        )
        for name in total:
            total[name] = total[name] + out[f"{name}.grad"] * len(rows) / len(images)
        after = small_step.state()
        state.update({k: v for k, v in after.items() if not k.startswith("conv1")})
    return total


def test_round_updates_tell_the_schemes_apart():
    network = small()
    asked = {"strategy": "hybrid", "fc_update": "round"}
    runs = []
    for scheme in ("b", "c"):
        bundle, _ = compiled(network, options(network, 2, 8, scheme=scheme, **asked))
        runs.append(train(network, bundle, 5))
    assert difference(*runs) > 1e-6
    assert difference(runs[0], single(network, 8, 5)) > 1e-6


@pytest.mark.parametrize(
    ("asked", "batch", "message"),
    [
        (
            {"scheme": "a", "fc_update": "round"},
            16,
            "scheme a has no rounds to update weights after.",
        ),
        (
            {"scheme": "c"},
            20,
            "scheme c cuts every worker's share in 4: 16 must divide the batch, which is 20.",
        ),
    ],
)
def test_what_a_scheme_cannot_do(asked, batch, message):
    with pytest.raises(PlanError) as refused:
        compiled(small(), options(small(), 4, batch, strategy="hybrid", **asked))
    assert refused.value.diagnostics[0].message == message


def test_batch_norm_behind_the_boundary_is_refused():
    net = Maker(1, 8, 8)
    x = net.relu(net.conv("image", 4, pad=1))
    network = net.loss(net.fc(net.bn(net.fc(x, 8)), 3))
    with pytest.raises(PlanError) as refused:
        compiled(network, options(network, 2, 8, strategy="hybrid", scheme="b"))
    (problem,) = refused.value.diagnostics
    assert problem.message == (
        "scheme b is not possible: 'bn1' uses a value of the whole batch, which no round has."
    )
    bundle, made = compiled(network, options(network, 2, 8, strategy="hybrid"))
    assert made.scheme == "a"
    assert "scheme b is not possible" in made.notes[0]
    assert difference(train(network, bundle, 1), single(network, 8, 1)) < 1e-9


@pytest.mark.parametrize("scheme", ["b", "c"])
def test_exchange_hides_behind_computation(scheme):
    """On the clock of the cost model, round r+1's slice travels before round r is computed, and
    round r's gradients travel before round r+1 is."""
    network = one_tower()
    bundle, _ = plan_of(network, WORKERS, 64, scheme)
    ready = NullBackend([bundle.train]).load(bundle.train)
    ready.run()
    starts, ends = (
        ready.starts,
        [s + i.seconds for s, i in zip(ready.starts, bundle.train.instructions, strict=True)],
    )
    exchange, back, compute = {}, {}, {}
    for number, instruction in enumerate(bundle.train.instructions):
        if "@" not in instruction.node:
            continue
        r = int(instruction.node.split("@")[1].split(".")[0])
        if isinstance(instruction, Collective):
            if instruction.stream == "exchange" and "flatten" in instruction.node:
                exchange[r] = starts[number]
            if instruction.stream == "return":
                back[r] = starts[number]
        elif instruction.device == 0:
            compute[r] = ends[number]
    for r in range(WORKERS - 1):
        assert exchange[r + 1] < compute[r]
        assert back[r] < compute[r + 1]
