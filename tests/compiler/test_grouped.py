"""Batch normalization by groups of images: what devices exchange for it, and that nothing of the
results depends on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import CLUSTER, Run, compiled, difference, options, session, single, train
from normalized import FAST, net, pins_of, plan_of

from netc.errors import PlanError, SyntaxProblem
from netc.ir import ops
from netc.ir.comm import Comm
from netc.ir.plan import Plan
from netc.ir.program import Launch
from netc.ir.programs import EVAL
from netc.ir.types import Mesh, line_mesh, named_mesh
from netc.passes.assign_formats import Target
from netc.passes.choose_splits import Pin
from netc.planner.fit import largest_batch
from netc.syntax import Network
from netc_kernels import cpu

TOLERANCE = 1e-9


def exchanged(plan: Plan) -> Counter[tuple[str, str, tuple[int, ...]]]:
    """What is exchanged for norms: the phase, by what, and the shape."""
    return Counter(
        (node.phase, node.op.kernel, node.type.shape)
        for node in plan.graph.nodes
        if isinstance(node.op, Comm) and not node.op.on_device and node.layer.startswith("bn")
    )


@pytest.mark.parametrize(("devices", "mesh"), [(2, None), (3, None), (4, named_mesh((2, 2)))])
def test_devices_that_have_whole_groups_exchange_no_statistics(
    devices: int, mesh: Mesh | None
) -> None:
    """What is sent is for updates alone: gradients of scale and shift, and running statistics."""
    split = "n,n" if mesh else "n"
    plan = plan_of(net(2), mesh or devices, 24, pins=(Pin("*", split),))
    assert {phase for phase, *_ in exchanged(plan)} == {"update"}
    axes = len(plan.mesh.shape)
    kinds = {(kernel, len(shape)) for _, kernel, shape in exchanged(plan)}
    assert kinds == {("all_reduce", 1)}
    assert sum(exchanged(plan).values()) == 3 * 4 * axes
    whole = plan_of(net(None), mesh or devices, 24, pins=(Pin("*", split),))
    assert {phase for phase, *_ in exchanged(whole)} == {"forward", "backward"}


def test_where_groups_are_on_several_devices_their_sums_travel() -> None:
    """Images stay where they are; sums of all groups are exchanged as those of the batch are."""
    plan = plan_of(net(4), 2, 12, strategy="data")
    found = exchanged(plan)
    assert {kernel for _, kernel, _ in found} == {"all_reduce"}
    assert all(len(shape) < 4 for *_, shape in found)
    assert {shape[0] for phase, _, shape in found if phase == "forward"} == {3}


@pytest.mark.parametrize(
    ("mesh", "split"),
    [
        (line_mesh(2), "n"), (line_mesh(3), "n"), (line_mesh(4), "n"), (line_mesh(8), "n"),
        (line_mesh(3), "k"), (line_mesh(3), "h"), (line_mesh(2), "w"),
        (named_mesh((2, 2)), "n,n"), (named_mesh((2, 3)), "n,h"), (named_mesh((2, 2)), "k,n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("batch", "group"), [(12, 3), (12, 4), (10, 5), (6, 6), (7, 1)])
def test_results_do_not_depend_on_devices(mesh: Mesh, split: str, batch: int, group: int) -> None:
    network = net(group)
    bundle, _ = compiled(network, options(network, mesh, batch, pins=pins_of(split)))
    run = train(network, bundle, 7)
    assert difference(run, single(network, batch, 7)) < TOLERANCE


def test_one_group_is_the_batch() -> None:
    runs = [single(net(group), 6, 3) for group in (None, 6)]
    assert difference(*runs) < 1e-12


def test_groups_of_one_batch_are_batches_of_their_own() -> None:
    """What is normalized by groups is what each group alone, as a whole batch, would be."""
    both = _first_loss(net(3), 6, slice(0, 6))
    alone = [_first_loss(net(None), 3, part) for part in (slice(0, 3), slice(3, 6))]
    assert both == pytest.approx(np.mean(alone), rel=1e-12)
    assert both != pytest.approx(_first_loss(net(None), 6, slice(0, 6)), rel=1e-6)


def _first_loss(network: Network, batch: int, part: slice) -> float:
    rng = np.random.default_rng(1)
    images, labels = rng.standard_normal((6, 2, 6, 5)), rng.integers(0, 3, 6)
    made = session(compiled(network, options(network, 1, batch))[0])
    out = made.step(images[part], labels[part], step=0, seed=0, learning_rate=0.1)
    return float(out["loss"])


@pytest.mark.skipif(bool(cpu.available()), reason="fast kernels cannot run here")
@pytest.mark.parametrize(
    ("batch", "group", "devices"), [(6, 3, 2), (12, 4, 3), (10, 5, 4), (6, 3, 1)]
)
def test_fast_kernels_agree(batch: int, group: int, devices: int) -> None:
    runs: list[Run] = []
    for target in (Target("cpu"), FAST):
        changes: dict[str, Any] = {"precision": "fp32", "target": target, "strategy": "data"}
        bundle, _ = compiled(net(group), options(net(group), devices, batch, **changes))
        joined = {i.name for i in bundle.train.instructions if isinstance(i, Launch)}
        assert ("grouped_slopes" in joined) == (target is FAST)
        whole = batch // devices % group == 0
        assert ("grouped_moments" in joined) == (target is FAST and whole)
        runs.append(train(net(group), bundle, 5, steps=1))
    assert difference(*runs) < 2e-3


def test_groups_that_do_not_divide_the_batch_are_refused() -> None:
    """Where it trains: batches of what only predicts may be of any size."""
    network = net(4)
    with pytest.raises(SyntaxProblem) as refused:
        compiled(network, options(network, 2, 10, fetch=()))
    assert len(refused.value.diagnostics) == 3
    first = refused.value.diagnostics[0]
    assert first.code == "E040"
    assert first.message == "bn 'bn1': groups of 4 images do not divide the batch, which is 10."
    assert first.help == "take a batch of 8 or 12, or another group."
    assert first.span is not None
    assert first.span.line == 3
    compiled(network, options(network, 2, 10, fetch=(), goal=EVAL))


def test_the_largest_batch_has_whole_groups() -> None:
    network = net(5)
    cluster = replace(CLUSTER, memory_bytes=200_000)
    chosen = options(network, 2, 1, fetch=(), strategy="data", cluster=cluster)
    found = largest_batch(network, chosen)
    assert found > 0
    assert found % 10 == 0
    assert largest_batch(network, replace(chosen, goal=EVAL)) > found


def test_rounds_are_refused() -> None:
    network = net(2)
    pins = (Pin("*", "n"), Pin("fc*", "k"), Pin("bn3", "k"), Pin("relu3", "k"),
            Pin("softmax_loss*", "k"))  # fmt: skip
    with pytest.raises(PlanError) as refused:
        plan_of(network, 2, 8, pins=pins, scheme="b")
    assert "uses a value of the whole batch" in refused.value.diagnostics[0].message


def test_statistics_are_kept_where_activations_are_computed_again() -> None:
    plan = plan_of(net(2), 2, 8, strategy="data", recompute=("bn*", "relu*"))
    again = [n for n in plan.graph.nodes if n.name.endswith("@recomputed")]
    heads = [n.op.links[0].op if isinstance(n.op, ops.Fused) else n.op for n in again]
    assert any(isinstance(op, ops.GroupedNorm) for op in heads)
    assert not any(isinstance(op, ops.GroupedStatistic) for op in heads)
