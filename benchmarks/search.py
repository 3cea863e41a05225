"""How long the search for a plan takes: prices of all choices, and the searches of their tables.

    python benchmarks/search.py vgg16:4 inception_v3:4 vgg16:16 resnet152:16

Seconds of the processor, on the line of so many devices and with all grids that `auto` searches, 32
images a device, the gradients' exchange in full, half and hidden. The least of several processes
each, since what else the machine does makes processor time longer, too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import netc_models
from netc.api.search import meshes_of
from netc.cost import read_cluster
from netc.ir.optimizers import choose_optimizer
from netc.ir.types import line_mesh
from netc.passes.build_graph import build_graph
from netc.passes.differentiate import differentiate
from netc.passes.options import Options
from netc.planner.auto import HIDDEN
from netc.planner.blocks import alike
from netc.planner.prices import choices_of, price
from netc.planner.space import Space
from netc.planner.terms import terms_of
from netc.syntax import parse_file
from netc_clusters import __file__ as clusters

IMAGES = 32
"""A device."""


def main() -> None:
    """Every case in processes of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="+", metavar="NET:DEVICES")
    parser.add_argument("--cluster", default="p100")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(*taken(options.cases[0], options.cluster))
        return
    print("| network | devices | line | line and grids |\n|---|---|---|---|")
    for case in options.cases:
        command = [sys.executable, __file__, case, "--cluster", options.cluster, "--here"]
        runs = [
            tuple(map(float, subprocess.check_output(command, text=True).split()))
            for _ in range(options.repeats)
        ]
        line, every = (min(column) for column in zip(*runs, strict=True))
        name, _, devices = case.partition(":")
        print(f"| {name} | {devices} | {line:.2f} s | {every:.2f} s |", flush=True)


def taken(case: str, machine: str) -> tuple[float, float]:
    """Processor seconds of the search on the line, and with all grids."""
    name, _, count = case.partition(":")
    devices = int(count)
    cluster = read_cluster(Path(clusters).parent / f"{machine}.toml")
    network = parse_file(Path(netc_models.__file__).parent / f"{name}.net")
    built = build_graph(network, IMAGES * devices, "fp32")
    graph = differentiate(built, choose_optimizer("momentum"))
    meshes = meshes_of(devices, Options(line_mesh(devices), IMAGES * devices, cluster))
    start = time.process_time()
    known, same = terms_of(graph, choices_of(graph, meshes[0])), alike(graph, graph.layers)
    ends = []
    for mesh in meshes:
        space = Space(price(known, mesh, cluster, choices_of(graph, mesh)), same, False)
        for hidden in HIDDEN:
            space.minimum(hidden)
        ends.append(time.process_time() - start)
    return ends[0], ends[-1]


if __name__ == "__main__":
    main()
