"""Every order of execution that the waits allow gives the same bits."""

from __future__ import annotations

import pytest
from harness import Run, compile_case, compiled, options, same, tiny, train
from hypothesis import given
from hypothesis import strategies as st
from random_networks import Case, cases, free_cases, round_cases


def assert_same(one: Run, other: Run) -> None:
    assert one.moved == other.moved
    assert same(one.results, other.results)


@cases(30)
@given(st.one_of(free_cases(), round_cases()), st.integers(0, 2**31))
def test_of_random_programs(case: Case, order: int) -> None:
    bundle, _ = compile_case(case)
    threads = train(case.network, bundle, case.seed, steps=2)
    for seed in (order, order + 1):
        assert_same(threads, train(case.network, bundle, case.seed, steps=2, interleave=seed))


@pytest.mark.parametrize("chosen", ["a step", "b step", "c step", "b round", "c round"])
def test_of_the_schemes(chosen: str) -> None:
    scheme, update = chosen.split()
    network = tiny()
    how = options(network, 3, 9, strategy="hybrid", scheme=scheme, fc_update=update)
    bundle, _ = compiled(network, how)
    threads = train(network, bundle, 1)
    for seed in range(8):
        assert_same(threads, train(network, bundle, 1, interleave=seed))
