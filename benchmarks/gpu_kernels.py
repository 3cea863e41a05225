"""Hand-written CUDA kernels of a network's training step beside cuDNN's, launch by launch.

    python benchmarks/gpu_kernels.py models/vgg16.net --batch 128 --precision bf16 --out file.json

`netc profile` measures the step twice, with `--kernels native` and with `--kernels vendor`. Printed
are the convolutions and products, in milliseconds and as the share of cuDNN's speed that the
hand-written kernel reaches, with totals for each operation; then the hand-written kernels that
memory bounds, in bytes a second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

PRODUCTS = ("conv", "conv_dx", "conv_dw", "fc", "fc_dx", "fc_dw")
NETC = "import sys; from netc.cli.main import main; sys.exit(main(sys.argv[1:]))"


def launches(options: argparse.Namespace, kernels: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """What `netc profile` says of every launch, by layer, pass and operations."""
    command = [
        sys.executable, "-c", NETC, "profile", options.network, "--batch", str(options.batch),
        "--precision", options.precision, "--backend", "cuda", "--kernels", kernels, "--launches",
        "--json",
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        if row["event"] == "launch":
            steps = " + ".join(step.partition(".")[0] for step in row["kernels"].split(" + "))
            found[row["layer"], row["phase"], steps] = row
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("network")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--out", metavar="FILE")
    options = parser.parse_args()
    native, vendor = (launches(options, kernels) for kernels in ("native", "vendor"))
    compared = compare(native, vendor)
    bound = memory_bound(native)
    if options.out:
        text = json.dumps({"products": compared, "memory_bound": bound}, indent=1)
        Path(options.out).write_text(text + "\n", encoding="utf-8")


def compare(
    native: dict[tuple[str, ...], dict[str, Any]], vendor: dict[tuple[str, ...], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Print and return the time of every product by both kernels."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    rows = []
    print(f"{'layer':24} {'kernels':32} {'native':>9} {'cuDNN':>9}  of cuDNN's speed")
    for key, row in native.items():
        operation = key[2].partition(" ")[0]
        if operation not in PRODUCTS or key not in vendor:
            continue
        own, rival = row["seconds"], vendor[key]["seconds"]
        totals[operation][0] += own
        totals[operation][1] += rival
        rows.append({"layer": key[0], "kernels": key[2], "native": own, "vendor": rival})
        print(
            f"{key[0]:24} {key[2]:32} {own * 1e3:6.3f} ms {rival * 1e3:6.3f} ms {rival / own:6.0%}"
        )
    for operation, (own, rival) in totals.items():
        times = f"{own * 1e3:6.3f} ms {rival * 1e3:6.3f} ms"
        print(f"{'all':24} {operation:32} {times} {rival / own:6.0%}")
    return rows


def memory_bound(native: dict[tuple[str, ...], dict[str, Any]]) -> list[dict[str, Any]]:
    """Print and return the speed of everything else, the longest of each kind."""
    longest: dict[str, tuple[str, dict[str, Any]]] = {}
    for (layer, _, steps), row in native.items():
        if steps.partition(" ")[0] in PRODUCTS:
            continue
        if steps not in longest or row["seconds"] > longest[steps][1]["seconds"]:
            longest[steps] = layer, row
    rows = []
    for steps, (layer, row) in sorted(longest.items()):
        speed = row["bytes_per_second"]
        rows.append({"layer": layer, "kernels": steps, "bytes_per_second": speed})
        print(f"{layer:24} {steps:32} {row['seconds'] * 1e6:6.0f} us {speed / 1e12:6.2f} TB/s")
    return rows


if __name__ == "__main__":
    main()
