"""Networks as text: characters, words, lines and numbers of shipped ones and a small one swapped.

What is a network becomes a graph, and if it is small a program.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import netc_clusters
import netc_models
from netc.cost import read_cluster
from netc.errors import NetError, render
from netc.ir.types import line_mesh
from netc.ir.verify import verify_graph
from netc.passes.build_graph import build_graph
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.strategies.fixed import FIXED
from netc.syntax import network_text, parse_text, verify_network

FOLDER = Path(netc_models.__file__).parent
MODELS = [path.read_text() for path in sorted(FOLDER.glob("*.net"))]
CLUSTER = read_cluster(Path(netc_clusters.__file__).parent / "local.toml")
MOST_COMPILED = 30
"""Layers of the largest network that becomes a program, which takes about 0.3 s."""
SMALL = """net small(classes = 10)
input image 3x16x16
block unit(k, c = 4) { conv k c /2 pad=same groups=2 std=0.01 | bn eps=1e-5 momentum=0.1 }
conv 3x3 4 pad=1 bias_value=0.1 | lrn 5 alpha=1e-4 beta=0.75 k=2 | maxpool 3x3 /2 pad=1 ceil=true
add { unit(3) ; conv 1x1 4 /2 }
concat { identity ; avgpool 2 /1 pad=1 | conv 2x2 8 }
avgpool global | dropout 0.5
repeat 2 { fc 8 | tanh }
fc classes | softmax_loss
train { data digits() ; batch 96 ; sgd lr=0.01 momentum=0.9 ; schedule step(2, 0.1) ; epochs 3
        augment shift(2) mixup(alpha=0.5) cutmix(p=0.5) }
"""
NUMBERS = ("0", "1", "2", "3", "7", "1000", "4294967296", "9223372036854775807", "1e-30", "1e300",
           "0.999", "1e19", ".0", "3x1")  # fmt: skip
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
    text = str(rng.choice([SMALL, *MODELS]))
    text = _numbered(rng, text) if rng.random() < 0.4 else _mutated(rng, text)
    try:
        return _read(rng, text)
    except NetError as problem:
        found = problem
    assert max(map(len, render(found.diagnostics).split("\n"))) < 1000
    raise found


def _read(rng: np.random.Generator, text: str) -> str:
    """Parse, and go on as far as is done at once."""
    network = parse_text(text, str(FOLDER / "t.net"))
    verify_network(network)
    assert parse_text(network_text(network)) == network
    verify_graph(build_graph(network, 1))
    if len(network.layers) > MOST_COMPILED:
        return "graph"
    mesh = line_mesh(int(rng.integers(1, 4)))
    options = Options(mesh, int(rng.integers(1, 9)), CLUSTER, str(rng.choice(list(FIXED))))
    compile_network(network, options)
    return "program"


def _numbered(rng: np.random.Generator, text: str) -> str:
    """Swap some numbers of the text."""
    places = [match.span() for match in re.finditer(r"\d+(\.\d+)?", text)]
    for place in sorted(rng.integers(0, len(places), rng.integers(1, 4)), reverse=True):
        start, end = places[place]
        text = text[:start] + str(rng.choice(NUMBERS)) + text[end:]
    return text


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
