"""Programs for many devices against a plain NumPy network that shares no code with them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from harness import compile_case, data, mixed, session
from hypothesis import given
from hypothesis import strategies as st
from plain_network import Array, Plain, derivative
from plain_updates import average, clipped, evaluated, states_of, updated
from random_networks import GRIDS, Case, cases, free_cases, round_cases

from netc.ir.optimizers import SQUARES, Chosen

RATE = 0.05
TOLERANCE = 1e-9


def close(actual: object, expected: object) -> bool:
    return bool(np.allclose(np.asarray(actual), np.asarray(expected), TOLERANCE, TOLERANCE))


@cases(40)
@given(st.one_of(free_cases(), free_cases(GRIDS), round_cases()))
def test_training_and_evaluation(case: Case) -> None:
    bundle, _ = compile_case(case)
    devices = session(bundle)
    network, seed = case.network, case.seed
    for step in range(3):
        images, labels = data(network, case.batch, seed + step)
        before = devices.state()
        more = mixed(network, case.batch, seed + step)
        out = devices.step(images, labels, *more, step=step, seed=seed, learning_rate=RATE)
        plain = Plain(before, labels, more, seed=seed, step=step)
        assert close(out["loss"], plain.losses(network, images).mean())
        check_gradients(case, plain, images, out)
        assert devices.updates(step) == ((step + 1) % case.optimizer.accumulate == 0)
        after = devices.state()
        assert all(close(after[name], value) for name, value in plain.statistics.items())
        check_step(case.optimizer, step, before, after, out)
    count = max(case.batch - 2, 1)
    rows = Plain(evaluated(devices.state()), labels, training=False).losses(network, images)
    assert close(devices.evaluate(images, labels, count)[0], rows[:count].sum())
    scores = devices.scores()
    picked = scores[np.arange(len(labels)), labels]
    assert close(np.log(np.exp(scores).sum(axis=1)) - picked, rows)


def check_gradients(case: Case, plain: Plain, images: Array, out: Mapping[str, Array]) -> None:
    """Along random directions of all weights, and of each one."""
    gradients = {k.removesuffix(".grad"): v for k, v in out.items() if k.endswith(".grad")}
    rng = np.random.default_rng(case.seed)
    directions = {name: rng.standard_normal(g.shape) for name, g in gradients.items()}
    for part in (directions, *({name: d} for name, d in directions.items())):
        slope = sum(float((gradients[name] * d).sum()) for name, d in part.items())
        slope *= case.optimizer.accumulate
        assert close(slope, derivative(case.network, plain, images, part))


def check_step(
    optimizer: Chosen, step: int, before: Mapping[str, Array], after: Mapping[str, Array],
    out: Mapping[str, Array],
) -> None:  # fmt: skip
    """Weights move by the gradients of all batches since they moved last."""
    gradients = {k.removesuffix(".grad"): v for k, v in out.items() if k.endswith(".grad")}
    if optimizer.accumulate > 1:
        gradients = {name: before[f"{name}.sum"] + g for name, g in gradients.items()}
    still = {name for name in before if optimizer.rule(name).frozen}
    done, left = divmod(step + 1, optimizer.accumulate)
    if left:
        sums = {f"{name}.sum" for name in gradients}
        moved = sums.union(k for k in before if ".running_" in k)
        assert SQUARES not in out
        assert all(close(after[f"{name}.sum"], total) for name, total in gradients.items())
        still |= before.keys() - moved
    else:
        check_update(optimizer, done - 1, before, after, gradients, out)
    for name in still:
        assert np.array_equal(after[name], before[name]), name


def check_update(
    optimizer: Chosen, done: int, before: Mapping[str, Array], after: Mapping[str, Array],
    gradients: Mapping[str, Array], out: Mapping[str, Array],
) -> None:  # fmt: skip
    """So many updates went before."""
    if optimizer.clip is not None and gradients:
        assert close(out[SQUARES], sum((g**2).sum() for g in gradients.values()))
    for name, gradient in clipped(optimizer, gradients).items():
        names, rule = states_of(optimizer, name), optimizer.rule(name)
        state = {role: before[each] for role, each in names.items()}
        rate, own = RATE * rule.rate, optimizer.under(rule)
        for role, value in updated(own, done + 1, rate, state, gradient).items():
            assert close(after[names[role]], value), names[role]
        if optimizer.ema is not None:
            moving = f"{name}.average"
            assert close(after[moving], average(optimizer, done, before[moving], after[name]))
        if optimizer.accumulate > 1:
            assert not after[f"{name}.sum"].any(), name
