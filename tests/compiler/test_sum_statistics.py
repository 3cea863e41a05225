"""Mean and variance that several devices have terms of: what is exchanged, and what comes of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from harness import compiled, difference, options, session, single, train
from normalized import FAST, net, pins_of, plan_of
from numpy.typing import NDArray

from netc.ir.load import read_bundle
from netc.ir.ops import BnSums, BnVar, GroupedSums, GroupedVar
from netc.ir.plain import TextError
from netc.ir.plan import Plan
from netc.ir.program import Bundle, Collective, Launch
from netc.ir.text import bundle_text
from netc.ir.types import Mesh, line_mesh, named_mesh
from netc.passes.assign_formats import Target
from netc.passes.choose_splits import Pin
from netc.syntax import parse_text
from netc_kernels import cpu

BN_ONLY = """net one
input image 3x4x4
bn | fc 2
softmax_loss
"""


def counts(plan: Plan) -> Counter[str]:
    return Counter(type(node.op).__name__ for node in plan.graph.nodes)


def exchanges(bundle: Bundle) -> list[Collective]:
    """Those of a training step forward and backward."""
    found = (i for i in bundle.train.instructions if isinstance(i, Collective))
    return [i for i in found if i.phase != "update"]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("devices", [2, 3])
def test_two_exchanges_a_norm(devices: int, fast: bool) -> None:
    """One forward, of sums in float64; one backward, of both gradients; and one of the loss."""
    changes = {"strategy": "data", "fetch": (), "precision": "fp32"}
    target = FAST if fast else Target("cpu")
    bundle, _ = compiled(net(), options(net(), devices, 12, **changes, target=target))
    found = Counter((i.phase, i.layer[:2], len(i.parts)) for i in exchanges(bundle))
    assert found == {("forward", "bn", 1): 3, ("backward", "bn", 2): 3, ("forward", "so", 1): 1}
    for each in exchanges(bundle):
        for part in each.parts if each.phase == "forward" and each.layer.startswith("bn") else ():
            view = part.sources[0]
            assert view is not None
            assert (bundle.train.buffer[view.buffer].dtype, view.shape[1:]) == ("f64", (2,))


def test_what_is_awaited_is_exchanged_on_the_stream_of_computation() -> None:
    """Both exchanges of a norm, since the next launch reads them, and no wait is left for them."""
    bundle, _ = compiled(net(), options(net(), 2, 12, strategy="data", fetch=()))
    norms = [i for i in exchanges(bundle) if i.layer.startswith("bn")]
    assert {i.stream for i in norms} == {"compute"}
    assert not any(i.waits for i in norms)
    others = {i.stream for i in bundle.train.instructions if isinstance(i, Collective)}
    assert "gradient" in others
    for number, each in enumerate(bundle.train.instructions):
        if isinstance(each, Collective) and each.stream == "compute":
            got = {view.buffer for view in each.writes}
            later = bundle.train.instructions[number + 1 :]
            follows = next(i for i in later if isinstance(i, Launch) and i.class_ in each.classes)
            assert got & {view.buffer for view in follows.reads}


def test_what_one_device_has_is_not_summed() -> None:
    """One device, channels, and whole groups: the variance about the mean stays."""
    for plan in (
        plan_of(net(), 1, 12),
        plan_of(net(), 2, 12),
        plan_of(net(), 2, 12, pins=(Pin("bn*", "k"),)),
        plan_of(net(3), 2, 12, strategy="data"),
    ):
        found = counts(plan)
        assert found["BnVar"] + found["GroupedVar"] == 3
        assert not found["BnSums"] + found["GroupedSums"]
    part = plan_of(net(4), 2, 12, strategy="data")
    assert counts(part)["GroupedSums"] == 3
    assert not any(isinstance(n.op, BnVar | GroupedVar) for n in part.graph.nodes)


@pytest.mark.parametrize(
    ("mesh", "split"),
    [
        (line_mesh(2), "n"), (line_mesh(5), "n"), (line_mesh(3), "h"), (line_mesh(2), "w"),
        (named_mesh((2, 2)), "n,n"), (named_mesh((2, 3)), "n,h"), (named_mesh((2, 2)), "k,n"),
        (named_mesh((3, 2)), "n,k"), (named_mesh((2, 2)), "h,w"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("batch", "group"), [(12, None), (3, None), (12, 4), (10, 5)])
def test_results_do_not_depend_on_devices(
    mesh: Mesh, split: str, batch: int, group: int | None
) -> None:
    network = net(group)
    bundle, made = compiled(network, options(network, mesh, batch, pins=pins_of(split)))
    summed = [n for n in made.plan.graph.nodes if isinstance(n.op, BnSums | GroupedSums)]
    assert summed or group
    assert difference(train(network, bundle, 7), single(network, batch, 7)) < 1e-9


def normalized(
    devices: int, x: NDArray[Any], target: Target, precision: str
) -> tuple[dict[str, NDArray[Any]], float]:
    """State and loss after a step of a network that is one norm and one product."""
    network = parse_text(BN_ONLY)
    changes: dict[str, Any] = {"precision": precision, "target": target, "strategy": "data"}
    bundle, _ = compiled(network, options(network, devices, len(x), fetch=(), **changes))
    joined = {i.name for i in bundle.train.instructions if isinstance(i, Launch)}
    assert {"bn_sums", "sums_mean", "sums_moments"} & joined if devices > 1 else True
    made = session(bundle)
    labels = np.arange(len(x)) % 2
    out = made.step(x, labels, step=0, seed=0, learning_rate=0.1)
    return dict(made.state()), float(out["loss"])


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(("mean", "deviation"), [(1e3, 1e-1), (-1e4, 1.0), (3e2, 1e-2)])
def test_a_small_variance_far_from_zero_is_that_of_one_device(
    mean: float, deviation: float, fast: bool
) -> None:
    """In float32, where the square of the mean has no digit left for the variance."""
    if fast and cpu.available():
        pytest.skip("fast kernels cannot run here")
    target = FAST if fast else Target("cpu")
    x = (mean + deviation * np.random.default_rng(3).standard_normal((12, 3, 4, 4))).astype("f4")
    # The mean is a number of float32 itself: images are normalized about what that is off.
    near = 1e-5 + float(np.spacing(np.float32(abs(mean)))) / deviation
    alone, loss = normalized(1, x, target, "fp32")
    exact = x.astype(float).var((0, 2, 3), ddof=1)
    for devices in (2, 3, 4):
        state, other = normalized(devices, x, target, "fp32")
        assert other == pytest.approx(loss, rel=near)
        for name, value in state.items():
            np.testing.assert_allclose(value, alone[name], rtol=near, atol=near, err_msg=name)
        # 0.9 of the 1 that it was, and 0.1 of the batch's.
        var = (state["bn1.running_var"].astype(float) - np.float32(0.9)) / 0.1
        np.testing.assert_allclose(var, exact, rtol=1e-4, atol=1e-6)


def test_mean_and_variance_can_be_fetched() -> None:
    runs = []
    for devices in (1, 3):
        asked = options(net(), devices, 12, strategy="data", fetch=("bn1.mean", "bn2.var"))
        runs.append(train(net(), compiled(net(), asked)[0], 5))
    assert difference(*runs) < 1e-9


def test_small_sums_wait_for_each_other_and_large_ones_do_not() -> None:
    """Terms of images that one addition reads are exchanged as soon as each is there."""
    text = """net n
input image 8x64x64
add { conv 3x3 64 pad=1 bias=false ; conv 1x1 64 bias=false } | relu
avgpool global | fc 3
softmax_loss
"""
    network = parse_text(text)
    pins = (Pin("conv*", "c"), Pin("add*", "r"))
    bundle, _ = compiled(network, options(network, 2, 4, pins=pins, fetch=()))
    forward = [i for i in exchanges(bundle) if i.kind == "all_reduce" and i.phase == "forward"]
    assert forward
    assert all(len(i.parts) == 1 for i in forward)


def test_files_have_float64_between_launches_only() -> None:
    changes: dict[str, Any] = {"strategy": "data", "fetch": (), "precision": "fp32"}
    text = bundle_text(compiled(net(), options(net(), 2, 12, **changes))[0])
    assert read_bundle(text.encode())
    lines = text.splitlines()
    wide = [number for number, line in enumerate(lines) if '"f64"' in line]
    assert wide
    for number in wide[:3]:
        narrow = [*lines]
        narrow[number] = narrow[number].replace('"f64"', '"f32"')
        with pytest.raises(TextError):
            read_bundle("\n".join(narrow).encode())
