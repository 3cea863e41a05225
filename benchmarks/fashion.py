"""Fashion-MNIST by models/fashion.net: accuracy and time of three seeds; or whether plans agree.

    python benchmarks/fashion.py
    python benchmarks/fashion.py --agree

The first trains to the end by `--strategy hybrid --devices 2`, seed by seed, and prints the median.
The second trains one seed on one device and on four by `data` and by `hybrid`, and compares the
first 50 losses and the accuracies at the end. What follows `--` goes to `netc run`, such as
`-- --backend cuda --share-gpus` or `-- --data FOLDER`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

FIRST = 50
"""Losses that are compared."""
PLANS = {"single": 1, "data": 4, "hybrid": 4}


@dataclass(frozen=True)
class Trained:
    """What came of a training."""

    accuracy: float
    seconds: float
    losses: list[float]


def main() -> None:
    """Train, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="fashion")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--agree", action="store_true")
    parser.add_argument("more", nargs="*", help="further options of 'netc run', behind --")
    options = parser.parse_args()
    if options.agree:
        agree(options)
    else:
        seeds(options)


def seeds(options: argparse.Namespace) -> None:
    """One row a seed."""
    print("| seed | test accuracy | seconds |\n|---|---|---|")
    found = []
    for seed in options.seeds:
        one = trained(options, "hybrid", 2, seed)
        found.append(one.accuracy)
        print(f"| {seed} | {100 * one.accuracy:.2f} % | {one.seconds:.0f} |", flush=True)
    print(f"\nmedian {100 * statistics.median(found):.2f} %")


def agree(options: argparse.Namespace) -> None:
    """One row a plan, against the first."""
    print(f"| strategy | devices | test accuracy | first {FIRST} losses apart | seconds |")
    print("|---|---|---|---|---|")
    first: list[float] = []
    for strategy, devices in PLANS.items():
        one = trained(options, strategy, devices, options.seeds[0])
        losses = one.losses[:FIRST]
        first = first or losses
        apart = max(abs(a - b) for a, b in zip(first, losses, strict=True))
        print(
            f"| {strategy} | {devices} | {100 * one.accuracy:.2f} % | {apart:.1e} "
            f"| {one.seconds:.0f} |",
            flush=True,
        )


def trained(options: argparse.Namespace, strategy: str, devices: int, seed: int) -> Trained:
    """One training, from nothing; ends the benchmark where it fails."""
    with TemporaryDirectory() as folder:
        words = ["run", options.network, "--strategy", strategy, "--devices", str(devices)]
        words += ["--seed", str(seed), "--out", f"{folder}/run", "--json", *options.more]
        command = [sys.executable, "-m", "netc.cli.main", *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"{strategy}, seed {seed}: exit {done.returncode}\n{done.stdout[-2000:]}")
        result = json.loads(done.stdout.splitlines()[-1])
        text = Path(folder, "run", "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    return Trained(result["test_accuracy"], result["seconds"], losses)


if __name__ == "__main__":
    main()
