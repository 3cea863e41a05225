"""Whole training steps on GPUs: netc beside PyTorch, one after the other in one run.

    python benchmarks/gpu.py vgg16:128:bf16 alexnet_owt:1024:bf16 --out gpu.json
    python benchmarks/gpu.py vgg16:256:bf16 vgg16:64:bf16 --devices 2

Both train on synthetic images that are on the GPU already: forward, loss, backward, SGD with
momentum and decay; bf16 is pure (PyTorch's weights too; netc keeps float32 weights and a copy in
bf16). BATCH is over all devices. Printed are medians of bursts of 20 steps, timed by CUDA events.
PyTorch runs eager, compiled (torch.compile) and under autocast, channels last, fused optimizer,
on several devices as DistributedDataParallel; netc with the strategies named.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def measured(name: str, script: str, arguments: list[str], python: str) -> dict[str, Any]:
    """Run a peer to its end; what it says, or why it failed."""
    command = [python, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or ["?"])[-1]
        print(f"  {name:24} failed: {reason[:150]}", flush=True)
        return {"name": name, "failed": done.stderr[-2000:]}
    found: dict[str, Any] = json.loads(lines[-1])
    speeds = found["images_per_second"]
    median, low, high = statistics.median(speeds), min(speeds), max(speeds)
    print(f"  {name:24} {median:10,.0f} images/s  ({low:,.0f} to {high:,.0f})", flush=True)
    return {"name": name, **found}


def contest(case: str, options: argparse.Namespace) -> dict[str, Any]:
    """One network, batch and precision."""
    network, batch, precision = case.split(":")
    many = str(options.devices)
    print(f"\n{case} on {many} GPU{'s' * (options.devices > 1)}", flush=True)
    peers = [
        measured(f"netc {strategy}", "gpu_netc.py", [network, batch, precision, strategy, many],
                 sys.executable)
        for strategy in options.strategies
    ]  # fmt: skip
    peers += [
        measured(f"torch {mode}", "gpu_torch.py", [network, batch, precision, mode, many],
                 options.torch)
        for mode in options.modes
    ]  # fmt: skip
    return {"case": case, "devices": options.devices, "peers": peers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("cases", nargs="+", metavar="NETWORK:BATCH:PRECISION")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--strategies", nargs="*", default=["hybrid"])
    parser.add_argument("--modes", nargs="*", default=["eager", "compile", "autocast"])
    parser.add_argument("--torch", default=sys.executable, help="an interpreter that has PyTorch")
    parser.add_argument("--out", metavar="FILE")
    options = parser.parse_args()
    found = []
    for case in options.cases:
        found.append(contest(case, options))
        if options.out:
            Path(options.out).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
