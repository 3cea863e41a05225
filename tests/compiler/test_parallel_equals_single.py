"""Any plan of any network gives the result of one device: loss, gradients, state, evaluation."""

from __future__ import annotations

from harness import compile_case, difference, single, train
from hypothesis import event, given
from random_networks import GRIDS, Case, cases, free_cases, round_cases

from netc.ir.program import Launch

TOLERANCE = 1e-10


def check(case: Case) -> None:
    """Compare with one device; a refused scheme must be refused rightly."""
    bundle, made = compile_case(case)
    event(f"scheme {case.scheme} asked for, {made.scheme or 'none'} in force")
    done = {i.joined for i in bundle.train.instructions if isinstance(i, Launch)}
    pooled = "conv_maxpool_places" in done
    event(f"a convolution {'pools' if pooled else 'does not pool'} at once")
    one = single(case.network, case.batch, case.seed, optimizer=case.optimizer)
    assert difference(train(case.network, bundle, case.seed), one) < TOLERANCE


@cases(150)
@given(free_cases())
def test_any_split_of_any_layer(case: Case) -> None:
    check(case)


@cases(60)
@given(free_cases(GRIDS))
def test_two_axes_of_devices(case: Case) -> None:
    check(case)


@cases(120)
@given(round_cases())
def test_exchange_schemes(case: Case) -> None:
    check(case)
