"""How long it takes until the first step of a training is done: with empty caches, and again.

    python benchmarks/first_step.py alexnet:16 vgg16:8 resnet50:8 --torch /tmp/torch/bin/python
    python benchmarks/first_step.py digits:96 --kernels fast
    python benchmarks/first_step.py vgg16:128 resnet50:256 --precision bf16 --torch python3 \\
        --jax python3

A process is started, compiles, takes one step of training on synthetic images and ends; the time
is that of the process. netc's is `netc profile NET --steps 1`. Every case begins with empty folders
for all that netc, Numba, CuPy, the driver, PyTorch, JAX and their compilers keep; warm is the
median of the same command again. Cases come one after the other; nothing else should run. Prints
two tables in Markdown: the times, and by stage where each went, as the program itself counts (what
it does not count, such as the steps, Python's start and the end of the process, is `other`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netc.stages import STAGES

HERE = Path(__file__).resolve().parent
KEPT = ("NETC_CACHE", "NUMBA_CACHE_DIR", "CUPY_CACHE_DIR", "CUDA_CACHE_PATH",
        "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR",
        "XDG_CACHE_HOME")  # fmt: skip
"""Where programs keep what they compiled or measured."""
PEERS_HAVE = ("vgg16", "alexnet", "alexnet_owt", "resnet50")


@dataclass(frozen=True)
class Start:
    """A process from its start to its end."""

    seconds: float
    stages: dict[str, float]
    """Of it, as the program tells."""

    @property
    def told(self) -> dict[str, float]:
        """All of it by stage, without those that took nothing."""
        found = {name: s for name, s in self.stages.items() if s}
        return {**found, "other": self.seconds - sum(found.values())}


def main() -> None:
    """Time every case cold and warm."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="+", metavar="NET:BATCH")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--kernels", help="as of netc, such as fast (default: what netc takes)")
    parser.add_argument("--torch", help="a Python that has PyTorch, to run beside")
    parser.add_argument("--jax", help="a Python that has JAX, to run beside")
    parser.add_argument("--modes", nargs="+", default=["eager", "compile"], help="of PyTorch")
    parser.add_argument("--repeats", type=int, default=3, help="warm starts (default 3)")
    parser.add_argument("--out", type=Path, help="a JSON file for every time")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print("| network | batch | program | cold | warm |")
    print("|---|---|---|---|---|")
    found: list[dict[str, Any]] = []
    shown: list[tuple[str, list[Start]]] = []
    for case in options.cases:
        network, batch = case.split(":")
        for program, command in commands(network, batch, options):
            starts = timed(command, options.repeats)
            of = f"| {network} | {batch} | {program} |"
            shown.append((of, shortened(starts)))
            told = " | ".join(f"{each.seconds:.1f} s" for each in shown[-1][1])
            print(f"{of} {told or 'failed | failed'} |", flush=True)
            found.append({"network": network, "batch": batch, "program": program,
                          "times": [each.seconds for each in starts],
                          "stages": [each.stages for each in starts]})  # fmt: skip
            if options.out:
                options.out.write_text(json.dumps(found) + "\n")
    tell_stages(shown)


def tell_stages(shown: list[tuple[str, list[Start]]]) -> None:
    """A row for each start, a column for each stage that took something in any."""
    every = [each for _, starts in shown for each in starts]
    names = [n for n in (*STAGES, "other") if any(n in each.told for each in every)]
    print(f"\n| network | batch | program | start | seconds | {' | '.join(names)} |")
    print("|---" * (5 + len(names)) + "|")
    for of, starts in shown:
        for kind, each in zip(("cold", "warm"), starts, strict=False):
            parts = (f"{each.told[n]:.1f}" if n in each.told else "-" for n in names)
            print(f"{of} {kind} | {each.seconds:.1f} | {' | '.join(parts)} |")


def commands(network: str, batch: str, options: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """The programs that take a step of a case."""
    own = [sys.executable, "-m", "netc.cli.main", "profile", network, "--batch", batch,
           "--precision", options.precision, "--steps", "1", "--json"]  # fmt: skip
    own += ["--kernels", options.kernels] if options.kernels else []
    found = [("netc", own)]
    if options.jax and network in PEERS_HAVE:
        peer = [options.jax, str(HERE / "first_jax.py"), network, batch, options.precision]
        found.append(("JAX", peer))
    if options.torch and network in PEERS_HAVE:
        peer = [options.torch, str(HERE / "first_torch.py"), network, batch, options.precision]
        found += [(f"PyTorch {mode}", [*peer, mode]) for mode in options.modes]
    return found


def timed(command: list[str], repeats: int) -> list[Start]:
    """A command with empty caches, then the same again; nothing where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        # What was chosen for a machine by an earlier calibration is no start of this kind.
        places = {name: str(Path(folder) / name.lower()) for name in KEPT}
        environment = os.environ | places
        # Python's own code is kept, as where netc was installed: where it is not, as some machines
        # have it, that is compiled in every start.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        found = []
        for _ in range(1 + repeats):
            began = time.perf_counter()
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            seconds = time.perf_counter() - began
            if done.returncode:
                print(done.stderr[-500:], file=sys.stderr, flush=True)
                return []
            *_, last = done.stdout.splitlines()
            found.append(Start(seconds, json.loads(last)["stages"]))
    return found


def shortened(starts: list[Start]) -> list[Start]:
    """Cold, and the warm one in the middle (of two the faster)."""
    warm = sorted(starts[1:], key=lambda each: each.seconds)
    return [*starts[:1], *warm[(len(warm) - 1) // 2 :][:1]]


if __name__ == "__main__":
    main()
