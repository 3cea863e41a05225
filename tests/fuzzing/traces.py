"""Traces: values swapped for hostile ones, events moved, bytes damaged."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from netc.errors import NetError, render
from netc.trace.account import Accounts, by_layer, by_stream
from netc.trace.read import read_trace
from netc.trace.spans import StepTrace

from ._mutate import damaged

FOLDER = Path(__file__).parents[1] / "cli" / "trace"
TEXTS = [path.read_text() for path in sorted(FOLDER.glob("*.json"))]
HOSTILE: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2, 4, 1e300, -0.0, 10**400, 0.5, "", "x", "\u001b[2J", "\ud800", [],
    "9" * 999, [0], [0, 0], [-1], [[]], {}, {"ph": "X"}, "compute", "forward", float("nan"),
    float("inf"),
)  # fmt: skip


def case(rng: np.random.Generator, folder: Path) -> str:
    path = folder / "x.json"
    content = json.loads(str(rng.choice(TEXTS)))
    for _ in range(rng.integers(1, 4)):
        _mutate(rng, content)
    text = json.dumps(content).encode()
    path.write_bytes(damaged(rng, text) if rng.random() < 0.3 else text)
    try:
        return _said(read_trace(path))
    except NetError as problem:
        found = problem
    assert max(map(len, render(found.diagnostics).split("\n"))) < 1000
    raise found


def _said(trace: StepTrace) -> str:
    """All that is said of a trace."""
    found = [Accounts(trace, each) for each in (False, True)]
    for each in found if trace.is_measured else found[:1]:
        parts = [p for d in each.devices() for p in (d.seconds, d.computing, d.waiting, d.idle)]
        assert all(math.isfinite(part) and part >= 0 for part in parts)
        assert all(wait.device != wait.other for wait in each.waits())
    if trace.is_measured:
        assert by_stream(*found) and by_layer(*found)
    return "fine"


def _mutate(rng: np.random.Generator, content: Any) -> None:
    """Another value somewhere, a value twice, or none."""
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            return
        key = keys[int(rng.integers(0, len(keys)))]
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.1:
            break
        place = place[key]
    action = rng.integers(0, 4)
    if action == 0:
        del place[key]
    elif action == 1 and isinstance(place, list):
        place.insert(int(rng.integers(0, len(place) + 1)), place[key])
    else:
        place[key] = HOSTILE[int(rng.integers(0, len(HOSTILE)))]
