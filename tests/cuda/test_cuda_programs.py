"""Whole programs on a GPU beside the same networks on the CPU, on one device and on several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cuda_cases import NETWORKS, apart, blocks, check_near, grouped, normalized, residual, target
from harness import Run, compiled, difference, options, tiny, train
from hypothesis import given
from random_networks import OPTIMIZERS, Case, cases, free_cases

import netc_models
from netc.ir.optimizers import Chosen
from netc.ir.program import Bundle
from netc.passes.assign_formats import Target
from netc.syntax import parse_file
from netc.syntax.network import Network
from netc_kernels import cuda
from netc_runtime.cuda.backend import CudaBackend

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(bool(cuda.available()), reason=cuda.available() or "a GPU is here"),
]
TOLERANCE = {"fp32": 1e-4, "tf32": 5e-2, "bf16": 2e-1}
"""Largest difference of any result of the first step, as a norm relative to the result's."""
DEEP = {"blocks": 2, "bottlenecks": 4}
"""How much more where that passes many batch norms of few numbers: each makes more of rounding."""


@contextmanager
def opened(bundle: Bundle, precision: str, graph: bool = True) -> Iterator[CudaBackend]:
    backend = CudaBackend(bundle.programs, precision, graph=graph)
    try:
        yield backend
    finally:
        backend.close()


def on_gpu(
    network: Network, devices: int, batch: int, precision: str, kernels: str = "auto", **more: Any
) -> Run:
    graph = more.pop("graph", True)
    asked = options(network, devices, batch, precision=precision, **more)
    bundle, _ = compiled(network, replace(asked, target=target(precision, kernels)))
    with opened(bundle, precision, graph) as backend:
        return train(network, bundle, 5, steps=4, backend=backend)


def on_cpu(network: Network, batch: int, **more: Any) -> Run:
    bundle, _ = compiled(network, options(network, 1, batch, precision="fp32", **more))
    return train(network, bundle, 5, steps=4)


@pytest.mark.parametrize("kernels", ["native", "auto"])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_one_gpu_agrees_with_the_cpu(name: str, precision: str, kernels: str) -> None:
    network = NETWORKS[name]()
    found = on_gpu(network, 1, 16, precision, kernels)
    more = 1 if precision == "fp32" else DEEP.get(name, 1)
    check_near(found, on_cpu(network, 16), more * TOLERANCE[precision], steps=1)


@pytest.mark.parametrize("scheme", ["a", "b", "c"])
@pytest.mark.parametrize("devices", [2, 4])
def test_devices_that_share_a_gpu_agree_with_one(devices: int, scheme: str) -> None:
    network = tiny()
    found = on_gpu(network, devices, 16, "fp32", strategy="hybrid", scheme=scheme)
    check_near(found, on_cpu(network, 16), TOLERANCE["fp32"], steps=1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("devices", [1, 2])
def test_weights_move_as_on_the_cpu(devices: int, optimizer: Chosen) -> None:
    network = tiny()
    found = on_gpu(network, devices, 16, "fp32", strategy="hybrid", optimizer=optimizer)
    check_near(found, on_cpu(network, 16, optimizer=optimizer), TOLERANCE["fp32"])


@pytest.mark.parametrize("build", [tiny, residual, blocks, grouped, normalized])
@pytest.mark.parametrize("strategy", ["data", "model", "spatial"])
def test_strategies_on_three_devices(strategy: str, build: Callable[[], Network]) -> None:
    found = on_gpu(build(), 3, 12, "fp32", strategy=strategy)
    check_near(found, on_cpu(build(), 12), TOLERANCE["fp32"], steps=1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kernels", ["native", "auto"])
@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_shipped_networks_by_height(name: str, kernels: str, precision: str) -> None:
    """On small images, as near to the CPU as one GPU is: batch norms of few pixels make much of
    rounding. Vendor's kernels do not take all the padding that borders have.
    """
    whole = parse_file(Path(netc_models.__file__).parent / f"{name}.net")
    network = replace(whole, inputs=(replace(whole.inputs[0], shape=(3, 64, 64)),))
    expected = on_cpu(network, 4)
    alone, shared = (
        farthest(on_gpu(network, devices, 4, precision, kernels, strategy=strategy), expected)
        for devices, strategy in ((1, "single"), (2, "spatial"))
    )
    assert shared < max(TOLERANCE[precision], 2 * alone)
    print(f"{name} {precision} {kernels}: {shared:.1e} split, {alone:.1e} alone")


def farthest(one: Run, other: Run) -> float:
    """The largest difference of a result of the first step."""
    return max(distance for name, distance in apart(one, other).items() if name.endswith(" at 0"))


def test_a_recorded_step_equals_an_issued_one() -> None:
    runs = [
        on_gpu(normalized(), 2, 8, "bf16", "native", strategy="hybrid", graph=g)
        for g in (True, False)
    ]
    assert difference(*runs) == 0


@cases(20)
@given(case=free_cases())
def test_any_split_of_any_network(case: Case) -> None:
    asked = options(
        case.network, case.mesh, case.batch, pins=case.pins, precision="fp32",
        optimizer=case.optimizer,
    )  # fmt: skip
    bundle, made = compiled(case.network, replace(asked, target=Target("cpu")))
    expected = train(case.network, bundle, case.seed)
    asked = replace(asked, scheme=made.scheme or None, target=target("fp32"))
    bundle, _ = compiled(case.network, asked)
    with opened(bundle, "fp32") as backend:
        found = train(case.network, bundle, case.seed, backend=backend)
    check_near(found, expected, 1e-3, steps=1)
    assert found.moved == expected.moved
