"""What the cuda backend issues, on a GPU that is none: any order that its events allow is right."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from cuda_cases import (
    Threads,
    blocks,
    bottlenecks,
    check_near,
    grouped,
    normalized,
    residual,
    target,
)
from harness import Run, compiled, difference, options, tiny, train
from hypothesis import given
from hypothesis.strategies import booleans
from pretend import pretended
from random_networks import GRIDS, Case, cases, free_cases, round_cases

from netc.errors import PlanError
from netc.ir.program import Launch
from netc.passes.assign_formats import Target
from netc.passes.options import Options
from netc.syntax.network import Network
from netc_runtime.comm.reach import OFF
from netc_runtime.cuda.backend import CudaBackend


def pretend(network: Network, asked: Any, precision: str, seed: int) -> Run:
    bundle, _ = compiled(network, replace(asked, target=target(precision, "native")))
    with pretended(seed):
        backend = CudaBackend(bundle.programs, precision)
        return train(network, bundle, seed, backend=backend)


def in_processes(network: Network, asked: Any, precision: str, seed: int) -> list[Run]:
    """What every process of a run gets."""
    bundle, _ = compiled(network, replace(asked, target=target(precision, "native")))
    size = bundle.train.mesh.size
    board, barrier = [None] * size, threading.Barrier(size)

    def process(rank: int) -> Run:
        ranks = Threads(rank, board, barrier)
        programs = bundle.programs
        backend = CudaBackend(programs, precision, ranks)
        found = train(network, bundle, seed, backend=backend)
        backend.close()
        return found

    with pretended(seed), ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(process, rank) for rank in range(size)]
        problems = [problem for each in futures if (problem := each.exception()) is not None]
        # Those that wait for the one that failed fail too, by the barrier.
        for problem in sorted(problems, key=lambda p: isinstance(p, threading.BrokenBarrierError)):
            raise problem
        return [each.result() for each in futures]


def check(case: Case) -> None:
    asked = asked_for(case, scheme=case.scheme)
    try:
        bundle, made = compiled(case.network, replace(asked, target=Target("cpu")))
    except PlanError:
        asked = replace(asked, scheme=None)
        bundle, made = compiled(case.network, replace(asked, target=Target("cpu")))
    expected = train(case.network, bundle, case.seed)
    # What is usual for one target need not be for another.
    asked = replace(asked, scheme=made.scheme or None)
    found = pretend(case.network, asked, "fp32", case.seed)
    check_near(found, expected, 1e-5)
    assert found.moved == expected.moved


def asked_for(case: Case, **more: Any) -> Options:
    return options(
        case.network, case.mesh, case.batch, pins=case.pins, precision="fp32",
        optimizer=case.optimizer, **more,
    )  # fmt: skip


@cases(40)
@given(case=free_cases())
def test_any_split(case: Case) -> None:
    check(case)


@cases(20)
@given(case=round_cases())
def test_any_round(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("build", [tiny, residual, blocks, bottlenecks, grouped, normalized])
@pytest.mark.parametrize("devices", [1, 3])
def test_bfloat16_trains_close_to_float32(build: Any, devices: int) -> None:
    network = build()
    asked = options(network, devices, 12, precision="bf16", strategy="hybrid")
    narrow = pretend(network, asked, "bf16", 3)
    wide = pretend(network, replace(asked, precision="fp32"), "fp32", 3)
    # Each batch norm of few numbers makes more of rounding.
    check_near(narrow, wide, 0.5 if build is bottlenecks else 0.2, steps=1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("strategy", ["single", "data", "model", "spatial"])
def test_batch_norm_where_branches_meet_is_joined(strategy: str, precision: str) -> None:
    """Gradients of scale and shift to the bit; images that are not rounded any more nearly."""
    network, devices = blocks(), 1 if strategy == "single" else 2
    asked = options(network, devices, 8, precision=precision, strategy=strategy)
    at_once, kinds = without(network, asked, precision)
    slopes = ["add_relu_two_slopes", "add_relu_slopes"]
    # Where channels are split, parts of a gradient are exchanged.
    slopes += [] if strategy == "model" else ["slice_relu_slopes"]
    assert kinds >= {*slopes, "bn_norms_add_relu"}
    one_by_one, fewer = without(network, asked, precision, *slopes[:1])
    assert kinds - fewer == {*slopes[:1]}
    apart, fewer = without(network, asked, precision, *slopes)
    assert kinds - fewer == {*slopes}
    assert difference(at_once, one_by_one) == difference(at_once, apart) == 0
    rounded, fewer = without(network, asked, precision, "bn_norms_add_relu")
    assert kinds - fewer == {"bn_norms_add_relu"}
    check_near(at_once, rounded, 1e-5 if precision == "fp32" else 0.2, steps=1)


@pytest.mark.parametrize("strategy", ["single", "data", "model"])
def test_convolutions_of_one_pixel_are_joined_to_batch_norm_to_the_bit(strategy: str) -> None:
    network, devices = bottlenecks(), 1 if strategy == "single" else 2
    asked = options(network, devices, 8, precision="bf16", strategy=strategy)
    at_once, kinds = without(network, asked, "bf16")
    # Where channels are split, each device has all images of its own, and of gradients parts.
    joined = {"single": {"conv_moments", "conv_dx_slopes", "conv_dx_add_slopes"},
              "data": {"conv_sums", "conv_dx_slopes", "conv_dx_add_slopes"},
              "model": {"conv_moments"}}[strategy]  # fmt: skip
    assert {kind for kind in kinds if kind.startswith("conv_")} - {"conv_dx", "conv_dw"} == joined
    apart, fewer = without(network, asked, "bf16", *joined)
    assert not fewer & joined and difference(at_once, apart) == 0
    _, wide = without(network, replace(asked, precision="fp32"), "fp32")
    assert not wide & joined


def test_where_a_stride_begins_the_other_convolution_adds() -> None:
    asked = options(bottlenecks(), 1, 8, precision="bf16", strategy="single")
    bundle, _ = compiled(bottlenecks(), replace(asked, target=target("bf16", "native")))
    launches = [each for each in bundle.train.instructions if isinstance(each, Launch)]
    added = [each for each in launches if each.name == "conv_dx_add_slopes"]
    assert len(added) == 3
    strides = {i.steps[0].attributes["stride"] for i in launches if i.name == "conv_dx"}
    assert strides == {(2, 2)} and not [i for i in launches if "add" in i.name.split("+")]


def without(network: Network, asked: Any, precision: str, *kernels: str) -> tuple[Run, set[str]]:
    """A run where the target lacks some kernels, and the kinds of launches of its step."""
    whole = target(precision, "native")

    def choose(calls: Any) -> Any:
        return None if calls[0].kernel in kernels else whole.choose(calls)

    bundle, _ = compiled(network, replace(asked, target=replace(whole, choose=choose)))
    with pretended(3):
        found = train(network, bundle, 3, backend=CudaBackend(bundle.programs, precision))
    return found, {i.name for i in bundle.train.instructions if isinstance(i, Launch)}


@pytest.mark.parametrize("scheme", ["a", "b", "c"])
@pytest.mark.parametrize("devices", [2, 3])
@pytest.mark.parametrize("apart", [False, True], ids=["reach", "nccl"])
def test_processes_exchange_what_threads_do(
    devices: int, scheme: str, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(OFF, str(int(apart)))
    network, batch = tiny(), devices * devices * 2
    asked = options(network, devices, batch, precision="fp32", strategy="hybrid", scheme=scheme)
    alone, _ = compiled(network, replace(asked, target=Target("cpu")))
    expected = train(network, alone, 4)
    for found in in_processes(network, asked, "fp32", 4):
        check_near(found, expected, 1e-5)


def test_a_process_leaves_without_the_others() -> None:
    network, board, barrier = tiny(), [None] * 2, threading.Barrier(2)
    asked = options(network, 2, 8, precision="fp32", strategy="data")
    bundle, _ = compiled(network, replace(asked, target=target("fp32", "native")))

    def process(rank: int) -> CudaBackend:
        return CudaBackend([bundle.train], "fp32", Threads(rank, board, barrier))

    with pretended(), ThreadPoolExecutor(2) as pool:
        one, other = pool.map(process, range(2))
        reached = [sorted(each.places) for each in (one, other)]
        barrier.abort()  # whoever waits for the others fails
        other.close()
        one.close()
    assert reached == [[0, 1]] * 2


@cases(20)
@given(case=free_cases(meshes=GRIDS), apart=booleans())
def test_any_split_in_processes(case: Case, apart: bool) -> None:
    with mock.patch.dict(os.environ, {OFF: str(int(apart))}):
        check_processes(case)


def check_processes(case: Case) -> None:
    asked = asked_for(case)
    bundle, made = compiled(case.network, replace(asked, target=Target("cpu")))
    expected = train(case.network, bundle, case.seed)
    asked = replace(asked, scheme=made.scheme or None)
    found = in_processes(case.network, asked, "fp32", case.seed)
    for each in found:
        check_near(each, expected, 1e-5)
        assert each.moved == expected.moved
