"""netc's side of gpu.py: NETWORK BATCH PRECISION STRATEGY DEVICES [options of `netc run`].

Prints images/s of bursts of steps as JSON; on several devices one process each.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import cupy
import numpy as np

from netc import __version__
from netc.api.running import open_session
from netc.cli.main import parser
from netc.cli.session import choose, load_bundle
from netc_runtime.choose import join_ranks

WARM_UP, STEPS, BURSTS = 8, 20, 7


def main() -> None:
    network, batch, precision, strategy, devices, *more = sys.argv[1:]
    asked = ["run", network, "--batch", batch, "--precision", precision, "--strategy", strategy,
             "--devices", devices, "--backend", "cuda", "--json", *more]  # fmt: skip
    options = parser().parse_args(asked)
    bundle = load_bundle(options)
    choice = choose(options, bundle)
    ranks = join_ranks(bundle, choice)
    bundle = bundle if ranks is None else ranks.agree(bundle)
    session = open_session(choice, bundle, ranks)
    session.initialize(0)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((int(batch), *bundle.facts.image), dtype=np.float32)
    labels = rng.integers(0, bundle.facts.classes, int(batch))
    losses = [
        float(session.step(images, labels, step=n, seed=0, learning_rate=1e-3)["loss"])
        for n in range(WARM_UP)
    ]
    step: Any = session.train
    speeds = [STEPS * int(batch) / burst(step) for _ in range(BURSTS)]
    session.close()
    if ranks is None or ranks.rank == 0:
        about = {"netc": __version__, "scheme": bundle.facts.scheme, "losses": losses}
        print(json.dumps({**about, "images_per_second": speeds}), flush=True)
    if ranks is not None:
        ranks.close()


def burst(step: Any) -> float:
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    begin.record(step.origin)
    for _ in range(STEPS):
        step.start()
    end.record(step.origin)
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3


main()
