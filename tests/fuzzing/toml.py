"""Strategy files and cluster files: values swapped for hostile ones, lines moved, bytes damaged."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

import netc_clusters
from netc.cost import read_cluster
from netc.errors import NetError, render
from netc.ir.clock import simulate
from netc.ir.types import Mesh
from netc.passes.build_graph import build_graph
from netc.passes.choose_splits import Pin, choose_splits
from netc.passes.options import Options
from netc.passes.pipeline import compile_network
from netc.strategies.file import read_strategy
from netc.syntax import parse_text

from ._mutate import damaged

NETWORK = parse_text(
    "net n\ninput image 3x8x8\nconv 3x3 4 pad=1 | relu | maxpool 2\n"
    "block b() { fc 6 | relu }\nb()\nfc 4 | softmax_loss"
)
GRAPH = build_graph(NETWORK, 4)
FOLDER = Path(netc_clusters.__file__).parent
CLUSTERS = [path.read_text() for path in sorted(FOLDER.glob("*.toml"))]
STRATEGY = """# How n is split.
netc_strategy = 1
mesh = [2]
scheme = "b"
fc_update = "step"
updates = "sharded"

[splits]
"image" = "n"
"conv1" = "n"
"relu1" = "n"
"b1.fc1" = "k"
"fc*" = "k"
"""
HOSTILE = (
    "nan", "inf", "-inf", "1e400", "1e-400", "0", "-1", "-0.0", "1" + "0" * 400, "9" * 5000, "true",
    "''", "'k,n'", "'@0'", "'@99999999999999999999'", "'@\u0663'", "'x'", "[]", "[[2]]", "[2, 2]",
    "[1024, 1024]", "[-2, -1]", "[true]", "{}", "{a = 1}", "1979-05-27", "07:32:00", "0x10", "2.0",
    "1_0", "\"\\u0000\"", "'''\n\n'''", "[" * 2000, "{a=" * 500, "'" + "n," * 400 + "n'",
)  # fmt: skip
KEYS = ("devices", "mesh", "splits.a", "a.b.c", '""', "'\u2028'", "f32", "source", "schem", "*")


def case(rng: np.random.Generator, folder: Path) -> str:
    path = folder / "x.toml"
    kind = str(rng.choice(["strategy", "cluster"]))
    text = STRATEGY if kind == "strategy" else str(rng.choice(CLUSTERS))
    for _ in range(rng.integers(1, 4)):
        text = _mutated(rng, text)
    content = text.encode("utf-8", "surrogatepass")
    path.write_bytes(damaged(rng, content) if rng.random() < 0.3 else content)
    try:
        return f"{kind} {_strategy(path) if kind == 'strategy' else _cluster(path)}"
    except NetError as problem:
        found = problem
    assert len(found.diagnostics) <= 20
    assert max(map(len, render(found.diagnostics).split("\n"))) < 1000
    raise found


def _strategy(path: Path) -> str:
    file = read_strategy(path)
    mesh = Mesh(file.mesh, tuple("def"[: len(file.mesh)])) if file.mesh else Mesh((2,), ("d",))
    splits = choose_splits(GRAPH, mesh, "hybrid", [Pin(*each) for each in file.splits])
    assert all(len(split) == len(mesh.shape) for split in splits.values())
    return "fine"


def _cluster(path: Path) -> str:
    cluster = read_cluster(path)
    options = Options(Mesh((2,), ("d",)), 4, cluster)
    _, compiled = compile_network(NETWORK, options)
    seconds = simulate(compiled.program).seconds
    assert math.isfinite(seconds) and seconds > 0, seconds
    return "fine"


def _mutated(rng: np.random.Generator, text: str) -> str:
    lines = text.split("\n")
    place, other = (int(p) for p in rng.integers(0, len(lines), 2))
    action = rng.integers(0, 6)
    if action <= 1:
        lines[place] = re.sub("=.*", lambda _: f"= {rng.choice(HOSTILE)}", lines[place])
    elif action == 2:
        lines[place] = re.sub(".*=", lambda _: f"{rng.choice(KEYS)} =", lines[place])
    elif action == 3:
        del lines[place]
    elif action == 4:
        lines.insert(place, lines[other])
    else:
        lines.insert(place, f"{rng.choice(KEYS)} = {rng.choice(HOSTILE)}")
    return str(rng.choice(["\n", "\r\n"])).join(lines)
