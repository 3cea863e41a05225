"""Networks as text: shipped ones, mutated by characters, words and lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import netc_models
from netc.errors import NetError, render
from netc.syntax import parse_text, verify_network

MODELS = [path.read_text() for path in sorted(Path(netc_models.__file__).parent.glob("*.net"))]
STRANGE = (
    "\0",
    "\ufeff",
    "\r",
    "\u2028",
    "\U0001f600",
    "9" * 60,
    "1e999",
    "-1",
    "nan",
    "{",
    "}",
    "(",
    "|",
)


def case(rng: np.random.Generator, folder: Path) -> str:
    text = _mutated(rng, MODELS[rng.integers(len(MODELS))])
    try:
        verify_network(parse_text(text, "t.net"))
        return "fine"
    except NetError as problem:
        found = problem
    assert max(map(len, render(found.diagnostics).split("\n"))) < 1000
    raise found


def _mutated(rng: np.random.Generator, text: str) -> str:
    for _ in range(rng.integers(1, 6)):
        parts = [list(text), text.split(" "), text.split("\n")][choice := rng.integers(0, 3)]
        glue = ("", " ", "\n")[choice]
        place, other = (int(p) for p in rng.integers(0, len(parts), 2))
        action = rng.integers(0, 4)
        if action == 0:
            del parts[place : place + int(rng.integers(1, 4))]
        elif action == 1:
            parts[place] = parts[other]
        elif action == 2:
            parts.insert(place, parts[other])
        else:
            parts.insert(place, str(rng.choice(STRANGE)))
        text = glue.join(parts)
    return text
