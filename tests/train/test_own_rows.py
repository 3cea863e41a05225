"""A process of several loads only the rows that its device reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from harness import compiled, options, tiny
from random_networks import MIXING

from netc.syntax.network import Recipe
from netc_runtime.cpu.backend import CpuBackend
from netc_runtime.session import Session


@pytest.mark.parametrize(
    ("strategy", "rows"),
    [
        ("data", [(0, 4), (4, 8), (8, 10)]),
        ("hybrid", [(0, 4), (4, 8), (8, 10)]),
        ("model", [(0, 10), (0, 10), (0, 10)]),
        ("single", [(0, 10), (0, 1), (0, 1)]),
    ],
)
@pytest.mark.parametrize("recipe", [Recipe(), MIXING], ids=["plain", "mixed"])
def test_rows_of_a_process(strategy: str, rows: list[tuple[int, int]], recipe: Recipe) -> None:
    network = replace(tiny(), recipe=recipe)
    bundle, _ = compiled(network, options(network, 3, 10, strategy=strategy, scheme="a"))
    backend: Any = CpuBackend([bundle.init, bundle.train, bundle.eval])
    found = []
    for device in range(3):
        session = Session(bundle, backend)
        backend.devices = (device,)
        found.append(session.rows())
        backend.devices = range(3)
    assert found == rows
    assert Session(bundle, backend).rows() == (0, 10)
    assert np.dtype(session.dtype) == np.float64
