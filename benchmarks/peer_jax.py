"""JAX's side of cpu.py: one jitted function, NHWC."""

from __future__ import annotations

from collections.abc import Callable

import bench_networks
import jax
import jax.numpy as jnp
import jax_model
import nhwc
from serve import Case, serve


def prepare(case: Case) -> Callable[[], object]:
    layers = bench_networks.layers(case.network)
    weights, running = (list(map(jnp.asarray, f(layers))) for f in (nhwc.weights, nhwc.running))
    case.check(sum(w.size for w in weights))
    images, labels = map(jnp.asarray, nhwc.images(case.batch, case.network))
    if case.forward:
        scores = jax.jit(
            lambda weights, running, x: jax_model.Pass(weights, running).run(layers, x)
        )
        return lambda: jax.block_until_ready(scores(weights, running, images))
    jitted = jax_model.step(layers, images, labels)
    state = jax_model.state(weights, running)

    def step() -> None:
        nonlocal state
        state, value = jax.block_until_ready(jitted(*state))
        float(value)

    return step


serve(prepare, jax=jax.__version__)
