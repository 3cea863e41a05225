"""JAX's side of scaling.py: a network on one device, one jitted training step.

The first argument is JSON: network, batch, precision; with bf16 weights are of that, too. Says what
it has, then answers a line "burst PLACE STEPS" with the seconds of a step.
"""

from __future__ import annotations

import json
import sys
import time

import bench_networks
import jax
import jax.numpy as jnp
import jax_model
import nhwc

WARM_UP = 8


def main() -> None:
    """Warm up, answer."""
    case = json.loads(sys.argv[1])
    dtype = jnp.bfloat16 if case["precision"] == "bf16" else jnp.float32
    if case["precision"] == "tf32":
        jax.config.update("jax_default_matmul_precision", "tensorfloat32")
    layers = bench_networks.layers(case["network"])
    weights, running = (
        [jnp.asarray(each, dtype) for each in made(layers)] for made in (nhwc.weights, nhwc.running)
    )
    images, labels = nhwc.images(case["batch"], case["network"])
    step = jax_model.step(layers, jnp.asarray(images, dtype), jnp.asarray(labels))
    state = jax_model.state(weights, running)

    def burst(steps: int) -> float:
        nonlocal state
        began = time.perf_counter()
        for _ in range(steps):
            state, loss = step(*state)
        jax.block_until_ready(loss)
        return (time.perf_counter() - began) / steps

    burst(WARM_UP)
    print(json.dumps({"jax": jax.__version__, "programs": [{"strategy": "jit"}]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(burst(int(line.split()[2]))), flush=True)


if __name__ == "__main__":
    main()
