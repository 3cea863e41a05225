"""What the cuda backend issues, on a GPU that is none: any order that its events allow is right."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cuda_cases import check_near, normalized, residual, target
from harness import Run, compiled, options, tiny, train
from hypothesis import given
from pretend import pretended
from random_networks import Case, cases, free_cases, round_cases

from netc.errors import PlanError
from netc.passes.assign_formats import Target
from netc.syntax.network import Network
from netc_runtime.cuda import CudaBackend


def pretend(network: Network, asked: Any, precision: str, seed: int) -> Run:
    bundle, _ = compiled(network, replace(asked, target=target(precision, "native")))
    with pretended(seed):
        backend = CudaBackend([bundle.init, bundle.train, bundle.eval], precision)
        return train(network, bundle, seed, backend=backend)


def check(case: Case) -> None:
    asked = options(
        case.network, case.mesh, case.batch, pins=case.pins, precision="fp32", scheme=case.scheme
    )
    try:
        bundle, _ = compiled(case.network, replace(asked, target=Target("cpu")))
    except PlanError:
        asked = replace(asked, scheme=None)
        bundle, _ = compiled(case.network, replace(asked, target=Target("cpu")))
    expected = train(case.network, bundle, case.seed)
    found = pretend(case.network, asked, "fp32", case.seed)
    check_near(found, expected, 1e-5)
    assert found.moved == expected.moved


@cases(40)
@given(case=free_cases())
def test_any_split(case: Case) -> None:
    check(case)


@cases(20)
@given(case=round_cases())
def test_any_round(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("build", [tiny, residual, normalized])
@pytest.mark.parametrize("devices", [1, 3])
def test_bfloat16_trains_close_to_float32(build: Any, devices: int) -> None:
    network = build()
    asked = options(network, devices, 12, precision="bf16", strategy="hybrid")
    narrow = pretend(network, asked, "bf16", 3)
    wide = pretend(network, replace(asked, precision="fp32"), "fp32", 3)
    check_near(narrow, wide, 0.2, steps=1)
