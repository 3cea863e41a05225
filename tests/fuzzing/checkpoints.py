"""Checkpoints and metrics, damaged in their bytes or in what they say of themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.errors import NetError
from netc_runtime.io.checkpoint import Position, classes_meta, save, settings_meta
from netc_runtime.io.weights import read_weights
from netc_runtime.train.metrics import Metrics, read_metrics
from netc_runtime.train.resume import changed, check_classes, read_saved

from ._mutate import damaged

STATE: dict[str, NDArray[Any]] = {
    "conv1.weight": np.ones((2, 3, 3, 3), np.float32),
    "conv1.weight.velocity": np.zeros((2, 3, 3, 3), np.float32),
    "count": np.array(3, np.int64),
}
WANTED, FOREIGN = {"conv1.weight": (2, 3, 3, 3)}, {"conv1.weight": "features.0.weight"}
SETTINGS = {"lr": "0.1", "schedule": "step(every=2)", "-D classes": "10"}
META = (
    Position(30, 1, 2, 32, 1000, "net", 7).as_meta()
    | classes_meta(["cat", "dog"])
    | settings_meta(SETTINGS)
)
STRANGE = ("", "-1", "1" + "0" * 40, "nan", "[" * 3000, "null", "{}", '["a", 1]', "\0", "٣")
METRICS = b"".join(json.dumps({"step": n, "loss": 1 / n}).encode() + b"\n" for n in range(1, 20))


def case(rng: np.random.Generator, folder: Path) -> str:
    return (_bytes, _words, _metrics)[rng.integers(3)](rng, folder)


def _bytes(rng: np.random.Generator, folder: Path) -> str:
    save(folder / "a", STATE, META)
    (folder / "a").write_bytes(damaged(rng, (folder / "a").read_bytes(), 800))
    return _read(folder / "a")


def _words(rng: np.random.Generator, folder: Path) -> str:
    """Tell a key something else, or nothing."""
    meta = dict(META)
    for key in rng.choice(list(META), rng.integers(1, 4)):
        meta.pop(key, None)
        if rng.random() < 0.8:
            meta[key] = str(rng.choice([*STRANGE, *META.values()]))
    save(folder / "a", STATE, meta)
    return _read(folder / "a")


def _metrics(rng: np.random.Generator, folder: Path) -> str:
    (folder / "m").write_bytes(damaged(rng, METRICS))
    with Metrics(folder / "m", int(rng.integers(0, 25))) as metrics:
        metrics.write(26, loss=float("nan"))
    try:
        steps = [line["step"] for line in read_metrics(folder / "m")]
    except NetError as error:
        return f"metrics-{error.diagnostics[0].code}"
    assert steps == sorted(steps, key=lambda step: step or 0)
    return "metrics"


def _read(file: Path) -> str:
    """By everything that reads one: as weights, and to go on."""
    outcomes = []
    for reads in (lambda: read_weights(file, WANTED, FOREIGN, (), ("*",)), lambda: _go_on(file)):
        try:
            reads()
            outcomes.append("fine")
        except NetError as error:
            str(error)
            outcomes.append(error.diagnostics[0].code)
    return "-".join(outcomes)


def _go_on(file: Path) -> None:
    saved = read_saved(file)
    position = saved.position
    assert 0 <= position.place < position.images // position.batch and position.step < 2**63
    changed(saved.meta, SETTINGS)
    check_classes(saved.meta, ("cat", "dog"), file)
