"""How long it takes until the first step of a training is done: with empty caches, and again.

    python benchmarks/first_step.py alexnet:16 vgg16:8 resnet50:8 --torch /tmp/torch/bin/python
    python benchmarks/first_step.py digits:96 --kernels fast
    python benchmarks/first_step.py vgg16:128 resnet50:256 --precision bf16 --torch python3

A process is started, compiles, takes one step of training on synthetic images and ends; the time
is that of the process. netc's is `netc profile NET --steps 1`. Every case begins with empty folders
for all that netc, Numba, CuPy, the driver, PyTorch and its compilers keep; `warm` is the median of
the same command again. Cases come one after the other; nothing else should run. Prints
a table in Markdown.
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
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEPT = ("NETC_CACHE", "NUMBA_CACHE_DIR", "CUPY_CACHE_DIR", "CUDA_CACHE_PATH",
        "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME")  # fmt: skip
"""Where programs keep what they compiled or measured."""
TORCH_HAS = ("vgg16", "alexnet", "alexnet_owt", "resnet50")


def main() -> None:
    """Time every case cold and warm."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="+", metavar="NET:BATCH")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--kernels", help="as of netc, such as fast (default: what netc takes)")
    parser.add_argument("--torch", help="a Python that has PyTorch, to run beside")
    parser.add_argument("--modes", nargs="+", default=["eager", "compile"], help="of PyTorch")
    parser.add_argument("--repeats", type=int, default=3, help="warm starts (default 3)")
    parser.add_argument("--out", type=Path, help="a JSON file for every time")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print("| network | batch | program | cold | warm |")
    print("|---|---|---|---|---|")
    found = []
    for case in options.cases:
        network, batch = case.split(":")
        for program, command in commands(network, batch, options):
            times = timed(command, options.repeats)
            found.append({"network": network, "batch": batch, "program": program, "times": times})
            shown = " | ".join(f"{each:.1f} s" for each in shortened(times)) or "failed | failed"
            print(f"| {network} | {batch} | {program} | {shown} |", flush=True)
            if options.out:
                options.out.write_text(json.dumps(found) + "\n")


def commands(network: str, batch: str, options: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """The programs that take a step of a case."""
    own = [sys.executable, "-m", "netc.cli.main", "profile", network, "--batch", batch,
           "--precision", options.precision, "--steps", "1"]  # fmt: skip
    own += ["--kernels", options.kernels] if options.kernels else []
    found = [("netc", own)]
    if options.torch and network in TORCH_HAS:
        peer = [options.torch, str(HERE / "first_torch.py"), network, batch, options.precision]
        found += [(f"PyTorch {mode}", [*peer, mode]) for mode in options.modes]
    return found


def timed(command: list[str], repeats: int) -> list[float]:
    """Seconds of a command with empty caches, then of the same again; nothing where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        # What was chosen for a machine by an earlier calibration is no start of this kind.
        places = {name: str(Path(folder) / name.lower()) for name in KEPT}
        found = []
        for _ in range(1 + repeats):
            began = time.perf_counter()
            done = subprocess.run(
                command, env=os.environ | places, capture_output=True, text=True, check=False
            )
            found.append(time.perf_counter() - began)
            if done.returncode:
                print(done.stderr[-500:], file=sys.stderr, flush=True)
                return []
    return found


def shortened(times: list[float]) -> list[float]:
    """Cold, and the median of the warm ones."""
    return [times[0], statistics.median(times[1:])] if times else []


if __name__ == "__main__":
    main()
