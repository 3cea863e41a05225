"""How many threads BLAS has: one where products are small, as two would wait for each other."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from netc.api import targets
from netc.cli.main import parser
from netc.cli.session import choose, load_bundle
from netc.ir.program import Bundle
from netc_runtime.choose import open_backend

CORES = 4


def bundle_of(*arguments: str) -> Bundle:
    options = parser().parse_args(["run", *arguments, "--backend", "cpu"])
    return load_bundle(options)


@pytest.mark.parametrize("network", ["digits", "lenet"])
def test_small_networks_have_one_thread_of_blas(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "cores", lambda: CORES)
    bundle = bundle_of(network)
    options = parser().parse_args(["run", network, "--backend", "cpu"])
    with threadpool_limits(CORES, "blas"):
        open_backend(choose(options, bundle), bundle)
        assert {
            each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"
        } <= {1}


@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        ((), 1),
        (("--kernels", "reference"), CORES),
        (("--kernels", "reference", "--devices", "2"), 2),
    ],
)
def test_large_networks_have_all_where_kernels_have_none(
    arguments: tuple[str, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    monkeypatch.setattr(targets, "cores", lambda: CORES)
    bundle = bundle_of("cifar", "--data", "cifar10('nowhere')", *arguments)
    assert bundle.facts.blas_threads == threads
