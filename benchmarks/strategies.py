"""Strategies beside each other on the same devices, in turn: steps measured, and predicted.

    python benchmarks/strategies.py vgg16:256 alexnet_owt:2048 --devices 2 --precision bf16 \\
        --cluster h200 --strategies data hybrid "data --updates sharded" --out strategies.json

A strategy is what `--strategy` takes, with further options of `netc run` behind it. All programs of
a network are in memory at once and take turns, a burst of steps each, so that what else the machine
does meets all of them. Images are synthetic and stay where they are. A row is the median of its
bursts; its spread is the distance of the extremes. Then the first device's waits for exchanges are
measured, and its launches, whose texts, seconds, operations and bytes are in the JSON: `learn.py`
puts those into the measurements of a machine.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def main() -> None:
    """Every network in processes of its own; print and keep the rows of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="+", metavar="NET:BATCH")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--cluster", help="default: this machine, if it was calibrated")
    parser.add_argument("--strategies", nargs="+", default=["data", "model", "hybrid", "spatial"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="of a burst (default 20)")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(options.cases[0], options)), flush=True)
        return
    found: list[Row] = []
    for case in options.cases:
        command = [sys.executable, *sys.argv, "--here"]
        command[2 : 2 + len(options.cases)] = [case]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
        if done.returncode or not lines:
            print(f"{case} failed: exit {done.returncode}", flush=True)
            continue
        rows = json.loads(lines[-1])
        print("\n".join(map(text, rows)), flush=True)
        found += rows
        if options.out:
            options.out.write_text(json.dumps(found) + "\n")


def text(row: Row) -> str:
    """A row of a table in Markdown."""
    name = f"| {row['network']} {row['batch']} | {row['devices']} | {row['strategy']} |"
    if "failed" in row:
        return f"{name} {row['failed']} |"
    off = 100 * (row["predicted"] / row["measured"] - 1)
    return (
        f"{name} {1e3 * row['measured']:.4g} ms | {100 * row['spread']:.1f} % | "
        f"{row['batch'] / row['measured']:,.0f} | {1e6 * row['exposed']:.0f} us | "
        f"{1e3 * row['predicted']:.4g} ms | {off:+.1f} % |"
    )


def measured(case: str, options: argparse.Namespace) -> list[Row]:
    """The rows of a network, in this process and those that it starts for other devices."""
    from netc.api.running import open_session
    from netc.cli.main import parser
    from netc.cli.session import choose, load_bundle
    from netc.cost import setting
    from netc.errors import NetError
    from netc.ir.clock import simulate
    from netc_runtime.choose import join_ranks
    from netc_runtime.measure.profile import warm_up

    network, batch = case.split(":")
    rows: list[Row] = []
    bundles, choice = [], None
    for strategy in options.strategies:
        row = {"network": network, "batch": int(batch), "devices": options.devices,
               "precision": options.precision, "strategy": strategy}  # fmt: skip
        rows.append(row)
        words = ["run", network, "--batch", batch, "--devices", str(options.devices),
                 "--precision", options.precision, "--json",
                 *(("--cluster", options.cluster) if options.cluster else ()),
                 "--strategy", *shlex.split(strategy)]  # fmt: skip
        try:
            asked = parser().parse_args(words)
            bundle = load_bundle(asked)
        except NetError as problem:
            row["failed"] = problem.diagnostics[0].message
            continue
        choice = choose(asked, bundle)
        bundles.append((row, bundle))
    if choice is None:
        return rows
    ranks = join_ranks(bundles[0][1], choice)
    sessions = []
    for row, bundle in bundles:
        session = open_session(choice, bundle if ranks is None else ranks.agree(bundle), ranks)
        warm_up(session)
        sessions.append(session)
        row["predicted"], row["seconds"] = simulate(bundle.train).seconds, []
    for _ in range(options.repeats):
        for (row, _), session in zip(bundles, sessions, strict=True):
            row["seconds"].append(burst(session.train, options.steps) / options.steps)
    for (row, bundle), session in zip(bundles, sessions, strict=True):
        seconds = row["seconds"]
        row["measured"] = statistics.median(seconds)
        row["spread"] = (max(seconds) - min(seconds)) / row["measured"]
        timing = session.train.measure(5)
        row["exposed"], row["launches"] = timing.exposed_seconds, launches(bundle, timing.launches)
        facts, devices = bundle.facts, bundle.train.mesh.size
        threads = facts.threads or facts.blas_threads
        row["setting"] = setting(facts.target, facts.precision, facts.kernels, threads, devices)
        session.close()
    if ranks is not None:
        ranks.close()
    return rows


def launches(bundle: Any, seconds: Mapping[int, float]) -> list[list[Any]]:
    """Text, seconds, operations and bytes of each launch of a training step that was measured."""
    from netc.cost import launch_text
    from netc.ir.calls import calls_of, variants_of
    from netc.work import launch_bytes, launch_flops

    program = bundle.train
    found = ((program.instructions[number], each) for number, each in seconds.items())
    return [
        [launch_text(calls_of(program, one), variants_of(one)), each, launch_flops(one),
         launch_bytes(program, one)]
        for one, each in found
    ]  # fmt: skip


def burst(executable: Any, steps: int) -> float:
    """Seconds of some steps, one begun behind the other."""
    began = time.perf_counter()
    for _ in range(steps - 1):
        executable.start()
    executable.run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
