"""Write `networks.json`: what PyTorch makes of whole networks.

Made with PyTorch 2.13.0 on a CPU. In an environment that has torch beside netc's dependencies, from
the root of the repository, with netc installed or on the PYTHONPATH:

    python tests/goldens/make_networks.py             all networks, some minutes and 12 GiB
    python tests/goldens/make_networks.py resnet50    some of them anew, the others stay as they are

Weights, images and dropout masks are netc's (`golden_networks.py`). Make the file anew after a
change of what they hang on: a shipped network, the names of its layers, the initial weights.

A line is one network on one batch. "float64" holds norms and random projections: of the loss and
the class scores, training and evaluating, of the running statistics after a step, and of every
gradient. "float32" holds the relative L2 distance of PyTorch's float32 from its float64. Of a
network made smooth, "float64" holds no gradients, and of another, "float32" holds none.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Any

import golden_networks
import torch
from compare import run_torch
from golden_networks import Case, distances, summary

SMALL = (
    Case("vgg16", 32, 5), Case("vgg11", 32, 5, bn=True), Case("alexnet", 67, 5),
    Case("alexnet_owt", 67, 5), Case("resnet18", 64, 5), Case("resnet50", 64, 5),
    Case("googlenet", 64, 5), Case("inception_v3", 75, 5),
    Case("resnet18", 64, 5, smooth=True), Case("googlenet", 64, 5, smooth=True),
)  # fmt: skip
"""Small images, and batches that no even number of devices divides. Tests run these always."""
FULL = tuple(
    Case(model, side, 3, smooth=smooth)
    for model, side in (("vgg16", 224), ("alexnet", 227), ("alexnet_owt", 224), ("resnet50", 224),
                        ("googlenet", 224), ("inception_v3", 299))
    for smooth in (False, True)
)  # fmt: skip
"""Images of the papers' sizes. Tests run these with `--full`."""
FORWARD = ("loss", "scores", "evaluated loss", "evaluated scores")


def entry(case: Case) -> dict[str, Any]:
    """One line of the file."""
    start = time.perf_counter()
    given = golden_networks.weights(case)
    exact = run_torch(case, given, "fp64")
    rounded = distances(run_torch(case, given, "fp32"), exact)
    values = summary(exact)
    if case.smooth:
        values = {name: values[name] for name in FORWARD}
    else:
        rounded = {name: rounded[name] for name in FORWARD}
    print(f"{case.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return {
        "case": asdict(case), "full": case in FULL, "torch": torch.__version__,
        "seed": golden_networks.SEED, "float64": values,
        "float32": {name: float(f"{distance:.3g}") for name, distance in rounded.items()},
    }  # fmt: skip


def main() -> None:
    """Make the lines of the networks named, or all."""
    chosen = sys.argv[1:]
    lines = golden_networks.FILE.read_text().splitlines()[1:-1] if chosen else []
    kept = {Case(**e["case"]): e for e in (json.loads(line.rstrip(",")) for line in lines)}
    made = [
        kept[case] if chosen and case.model not in chosen else entry(case)
        for case in (*SMALL, *FULL)
    ]
    told = ",\n".join(json.dumps(each, separators=(",", ":")) for each in made)
    golden_networks.FILE.write_text(f"[\n{told}\n]\n")


if __name__ == "__main__":
    main()
