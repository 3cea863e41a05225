"""Training steps or inference on the CPU: netc beside its peers, one step of each in turn.

Every peer has a virtual environment of its own (ONNX Runtime: netc's, or any):

    python -m venv /tmp/torch && /tmp/torch/bin/pip install torch==2.13.0
    python -m venv /tmp/tensorflow && /tmp/tensorflow/bin/pip install tensorflow-cpu==2.21.0
    python -m venv /tmp/jax && /tmp/jax/bin/pip install jax==0.10.2
    python -m venv /tmp/onnxruntime && /tmp/onnxruntime/bin/pip install onnxruntime==1.32.0

    peers="--torch /tmp/torch/bin/python --tensorflow /tmp/tensorflow/bin/python"
    peers="$peers --jax /tmp/jax/bin/python --onnxruntime /tmp/onnxruntime/bin/python"
    python benchmarks/cpu.py $peers vgg16:8 alexnet:16 alexnet_owt:16 resnet50:8
    python benchmarks/cpu.py --forward $peers vgg16:8 alexnet:16 alexnet_owt:16 resnet50:8

A step is forward, softmax and cross-entropy, backward, and SGD with momentum and decay; dropout
and batch statistics are on. With `--forward` it is inference: netc's program for evaluation,
PyTorch's inference_mode, and as one more peer ONNX Runtime on the file that netc exports. Data is
synthetic, float32, and already in the layout that a peer likes; netc's step includes storing the
images in its own. Each peer has as many threads as the machine has cores. `--devices 1 2`, behind
the networks, also runs netc on two virtual devices, which share the cores.

All peers of a case are started and warmed up before the first step, and stay in memory together, so
that all see the same machine. It should do nothing else: programs that use OpenMP (PyTorch) lose
most to others. Printed are medians, peaks of memory, and times over netc's on the first number of
devices. What a peer cannot run is said in its place. `--out FILE.json` keeps every time with
machine and versions. For single convolutions there is cpu_kernels.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from peers import HERE, Peer, ended, start

MODES = {
    "torch": ("eager", "channels_last", "compile"),
    "tensorflow": ("function", "xla"),
    "jax": ("jit",),
    "onnxruntime": ("default",),
}
"""Peers beside netc, and the ways in which each runs."""


def begin(peer: str, python: str, case: dict[str, Any]) -> Peer:
    """Start a process and wait until it has warmed up; where it fails the run ends."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(case["threads"])}
    # Some machines set this; it makes NumPy's BLAS slower than it is.
    environment.pop("OPENBLAS_CORETYPE", None)
    if peer != "netc":
        environment.pop("PYTHONPATH", None)
    command = [python, str(HERE / f"peer_{peer}.py"), json.dumps(case)]
    started = start(_name(peer, case["mode"]), command, environment)
    started.warm()
    if (started.process.poll() or 0) > 0:
        sys.exit(f"{started.name} {started.about['unsupported']}")
    return started


def step(peer: Peer) -> None:
    peer.times += filter(None, [peer.ask("step")])


def _name(peer: str, mode: str) -> str:
    if peer == "netc":
        return f"netc, {mode} device{'s' * (mode != '1')}"
    return peer if len(MODES[peer]) == 1 else f"{peer} {mode}"


def contest(network: str, batch: int, options: argparse.Namespace) -> dict[str, Any]:
    """One network and batch: all peers in turn, forth and back."""
    with tempfile.TemporaryDirectory() as folder:
        case = describe(network, batch, options, Path(folder) / "network.onnx")
        asked = [("netc", sys.executable, str(count)) for count in options.devices]
        for name, modes in MODES.items():
            python = getattr(options, name)
            if python and (options.forward or name != "onnxruntime"):
                asked += [(name, python, mode) for mode in modes]
        peers: list[Peer] = []
        with ended(peers):
            for name, python, mode in asked:
                peers.append(begin(name, python, case | {"mode": mode}))
            for number in range(options.rounds):
                for peer in peers[:: -1 if number % 2 else 1]:
                    if peer.runs:
                        step(peer)
    return report(f"{network}, batch {batch}", peers)


def describe(network: str, batch: int, options: argparse.Namespace, model: Path) -> dict[str, Any]:
    """What every peer is told (serve.py's Case); writes the model where one will read it."""
    summary = netc("summary", network, "--json").splitlines()[-1]
    if options.forward and options.onnxruntime:
        netc("export", network, "--batch", str(batch), "-o", str(model))
    return {
        "network": network, "batch": batch, "forward": options.forward, "model": str(model),
        "parameters": json.loads(summary)["parameters"], "threads": os.cpu_count(),
    }  # fmt: skip


def netc(*arguments: str) -> str:
    """What a command of netc prints."""
    command = [sys.executable, "-m", "netc.cli.main", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        # With --json the diagnostics are there too.
        sys.exit(done.stdout.strip() or done.returncode)
    return done.stdout


def report(title: str, peers: list[Peer]) -> dict[str, Any]:
    """Print medians, and each over netc's; then netc's beside the best peer's."""
    medians = {p.name: statistics.median(p.times) for p in peers if p.runs}
    ours = medians.get(peers[0].name)
    print(f"\n{title:24}   median s     min to max   peak MiB   over netc")
    for peer in peers:
        if not peer.runs:
            print(f"  {peer.name:22} not run: {peer.about['unsupported']}")
            continue
        spread = f"{min(peer.times):.3f} to {max(peer.times):.3f}"
        peak, median = peer.about["peak_bytes"] / 2**20, medians[peer.name]
        ratio = f"{median / ours:11.2f}" if ours else ""
        print(f"  {peer.name:22} {median:10.3f} {spread:>16} {peak:10.0f} {ratio}")
    others = {name: t for name, t in medians.items() if not name.startswith("netc")}
    if ours and others:
        best = min(others, key=lambda name: others[name])
        print(f"  netc is {others[best] / ours:.2f} times as fast as {best}")
    sys.stdout.flush()
    return {"case": title, "peers": {p.name: {"seconds": p.times, **p.about} for p in peers}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("cases", nargs="+", metavar="NETWORK:BATCH")
    for name in MODES:
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"an interpreter that has {name}")
    parser.add_argument("--forward", action="store_true", help="inference in place of training")
    parser.add_argument("--rounds", type=int, default=7, help="steps of each peer (default 7)")
    parser.add_argument("--devices", type=int, nargs="+", default=[1], help="of netc (default 1)")
    parser.add_argument("--out", metavar="FILE", help="write all times there, as JSON")
    options = parser.parse_args()
    cases = [(name, int(batch)) for name, _, batch in (c.partition(":") for c in options.cases)]
    what = "inference" if options.forward else "training"
    print(f"{_processor()}, {os.cpu_count()} cores, {what}", flush=True)
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "processor": _processor()}
    found = []
    for network, batch in cases:
        found.append(contest(network, batch, options))
        if options.out:
            record = {**machine, "forward": options.forward, "cases": found}
            Path(options.out).write_text(json.dumps(record, indent=1) + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
