"""Whole training steps on the CPU: netc beside PyTorch, one step of each in turn.

    python -m venv /tmp/torch && /tmp/torch/bin/pip install torch==2.13.0
    python benchmarks/cpu.py --torch /tmp/torch/bin/python vgg16:8 alexnet:16 resnet50:8

Every peer is a process of its own that stays and takes one step when told to, so that all see the
same machine. Data is synthetic, float32, SGD with momentum and decay. Printed are medians and the
ratio of the best peer's to netc's. `--out FILE.json` keeps every time with machine and versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TORCH_MODES = ("eager", "channels_last", "compile")


@dataclass
class Peer:
    """A process that takes a step for every line it reads, and answers with its seconds."""

    name: str
    process: subprocess.Popen[str]
    about: dict[str, Any]
    times: list[float]

    def step(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended with code {self.process.wait()}")
        self.times.append(float(line))


def start(name: str, command: list[str]) -> Peer:
    """Start a process and wait until it has warmed up."""
    threads = str(os.cpu_count())
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    # Some machines set this; it makes NumPy's BLAS slower than it is.
    environment.pop("OPENBLAS_CORETYPE", None)
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    ready = process.stdout.readline()
    if not ready:
        sys.exit(f"{name} ended with code {process.wait()}")
    return Peer(name, process, json.loads(ready), [])


def contest(case: str, options: argparse.Namespace) -> dict[str, Any]:
    """One network and batch: all peers in turn."""
    network, _, batch = case.partition(":")
    sides = [str(n) for n in options.devices]
    peers = [
        start(f"netc, {n} device{'s' * (n != '1')}",
              [sys.executable, str(HERE / "peer_netc.py"), network, batch, n])
        for n in sides
    ]  # fmt: skip
    if options.torch:
        script = str(HERE / "peer_torch.py")
        peers += [
            start(f"torch {mode}", [options.torch, script, network, batch, mode])
            for mode in TORCH_MODES
        ]
    for _ in range(options.rounds):
        for peer in peers:
            peer.step()
    for peer in peers:
        peer.process.kill()
    return report(case, peers)


def report(case: str, peers: list[Peer]) -> dict[str, Any]:
    """Print medians, and how many times as long the best peer takes."""
    medians = {peer.name: statistics.median(peer.times) for peer in peers}
    best = min((t for name, t in medians.items() if not name.startswith("netc")), default=None)
    print(f"\n{case}")
    for peer in peers:
        median = medians[peer.name]
        ours = peer.name.startswith("netc") and best is not None
        ratio = f"  {best / median:.2f} times the best peer's speed" if ours and best else ""
        peak = peer.about["peak_bytes"] / 2**20
        spread = f"{min(peer.times):.3f} to {max(peer.times):.3f}"
        print(f"  {peer.name:22} {median:8.3f} s ({spread})  {peak:7.0f} MiB{ratio}", flush=True)
    return {
        "case": case,
        "peers": {p.name: {"seconds": p.times, **p.about} for p in peers},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("cases", nargs="+", metavar="NETWORK:BATCH")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has PyTorch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--devices", type=int, nargs="+", default=[1])
    parser.add_argument("--out", metavar="FILE")
    options = parser.parse_args()
    found = [contest(case, options) for case in options.cases]
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "processor": _processor()}
    if options.out:
        Path(options.out).write_text(json.dumps({**machine, "cases": found}, indent=1) + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
