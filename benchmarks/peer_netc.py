"""netc's side of cpu.py: NETWORK BATCH DEVICES; a step for every line of standard input."""

from __future__ import annotations

import json
import resource
import sys
import time

import numba
import numpy as np

from netc.cli.main import parser
from netc.cli.session import load_bundle, open_session
from netc_runtime.launch import choose_backend


def main() -> None:
    network, batch, devices = sys.argv[1:]
    asked = ["run", network, "--batch", batch, "--devices", devices, "--json"]
    bundle = load_bundle(parser().parse_args(asked))
    session = open_session(choose_backend("cpu", int(devices)), bundle, None)
    session.initialize(0)
    rng = np.random.default_rng(0)
    shape = (int(batch), *bundle.fact("image"))
    images = rng.standard_normal(shape, dtype=np.float32)
    labels = rng.integers(0, bundle.fact("classes"), int(batch))

    def step(number: int) -> None:
        session.step(images, labels, step=number, seed=0, learning_rate=1e-3)

    for number in range(2):
        step(number)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    about = {"numpy": np.__version__, "numba": numba.__version__, "peak_bytes": peak,
             "arena_bytes": bundle.train.arena_bytes}  # fmt: skip
    print(json.dumps(about), flush=True)
    for number, _ in enumerate(sys.stdin, 2):
        began = time.perf_counter()
        step(number)
        print(time.perf_counter() - began, flush=True)


main()
