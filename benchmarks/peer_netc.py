"""netc's side of cpu.py; the mode is the number of devices."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from serve import RATE, Case, serve

from netc.api.running import open_session
from netc.cli.main import parser
from netc.cli.session import load_bundle
from netc_runtime.choose import choose_backend


def prepare(case: Case) -> Callable[[], object]:
    asked = ["run", case.network, "--backend", "cpu", "--json"]
    asked += ["--batch", str(case.batch), "--devices", case.mode]
    given = parser().parse_args(asked)
    given.goal = "inference" if case.forward else "training"
    bundle = load_bundle(given)
    backend = choose_backend("cpu", int(case.mode))
    session = open_session(backend, bundle, None, training=not case.forward)
    session.initialize(0)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((case.batch, *bundle.facts.image), np.float32)
    labels = rng.integers(0, bundle.facts.classes, case.batch)
    done = 0

    def train() -> None:
        nonlocal done
        session.step(images, labels, step=done, seed=0, learning_rate=RATE)
        done += 1

    return (lambda: session.evaluate(images, labels, case.batch)) if case.forward else train


serve(prepare, numpy=version("numpy"), numba=version("numba"))
