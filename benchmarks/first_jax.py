"""JAX's side of first_step.py: NETWORK BATCH PRECISION, one jitted training step and out.

On the GPU where JAX has one. What its compiler makes is kept in JAX_COMPILATION_CACHE_DIR.
"""

from __future__ import annotations

import json
import sys
import time

import bench_networks
import nhwc

BEGAN = time.perf_counter()
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jax_model  # noqa: E402


def main(network: str, batch: int, precision: str) -> None:
    """One step of SGD, as peer_jax.py times many."""
    jax.devices()
    imported = time.perf_counter()
    dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
    layers = bench_networks.layers(network)
    weights, running = (
        [jnp.asarray(each, dtype) for each in made(layers)] for made in (nhwc.weights, nhwc.running)
    )
    images, labels = nhwc.images(batch, network)
    state = jax_model.state(weights, running)
    step = jax_model.step(layers, jnp.asarray(images, dtype), jnp.asarray(labels))
    given = time.perf_counter()
    compiled = step.lower(*state).compile()
    made = time.perf_counter()
    _, loss = jax.block_until_ready(compiled(*state))
    stages = {"import": imported - BEGAN, "weights": given - imported, "compile": made - given}
    said = {"jax": jax.__version__, "device": str(jax.devices()[0]), "loss": float(loss)}
    print(json.dumps({**said, "stages": stages}), flush=True)


if __name__ == "__main__":
    name, images_of_a_step, *rest = sys.argv[1:]
    main(name, int(images_of_a_step), *rest)
