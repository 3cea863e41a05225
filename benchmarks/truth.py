"""How true predictions are: steps predicted by a calibrated machine, beside what they take.

    python benchmarks/truth.py vgg16:8 alexnet:16 resnet50:8 --out truth.json
    python benchmarks/truth.py vgg16:128 alexnet_owt:1024 --precision bf16 --devices 1,2

The machine is calibrated first (`netc calibrate`, kept beside --out, not as the machine's own).
Then every configuration is measured anew, --repeats times, all in turn, so that what else the
machine does meets all of them. A row is off by its prediction against the median of those medians;
its spread is the distance of the extremes. `auto` is chosen once, by the calibrated machine. Prints
a table, and where strategies that differ by more than 5 % come out in another order than predicted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

STRATEGIES = ("data", "model", "hybrid", "spatial", "auto")
APART = 0.05
"""Steps that differ by more are in an order."""
Row = dict[str, Any]


def netc(*arguments: str) -> list[dict[str, Any]]:
    """What a command of netc says, as JSON; nothing where it fails, and why on stderr."""
    command = [sys.executable, "-m", "netc.cli.main", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout.strip() or done.stderr.strip()).splitlines() or ["?"]
        print(f"  {' '.join(arguments)} failed: {said[-1][:200]}", file=sys.stderr, flush=True)
        return []
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def rows_of(case: str, devices: int, machine: Path, options: argparse.Namespace) -> list[Row]:
    """The configurations of a network on some devices."""
    network, batch = case.split(":")
    given = ["--batch", batch, "--devices", str(devices), "--precision", options.precision]
    found = []
    for strategy in STRATEGIES if devices > 1 else ("single",):
        name = strategy
        if strategy == "auto":
            name = str(machine.with_name(f"{network}-{batch}-{devices}-auto.toml"))
            chosen = ["--strategy", "auto", "--cluster", str(machine), "--save-strategy", name]
            if not netc("compile", network, *given, *chosen):
                continue
        taken = ["--strategy", name, "--cluster", str(machine), "--steps", str(options.steps)]
        taken += ["--share-gpus"] if options.share_gpus and devices > 1 else []
        found.append({"network": network, "batch": int(batch), "devices": devices,
                      "strategy": strategy, "command": ["profile", network, *given, *taken],
                      "seconds": []})  # fmt: skip
    return found


def main() -> None:
    """Calibrate, measure in turn, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", metavar="NET:BATCH")
    parser.add_argument("--devices", default="1,2", help="such as 1,2 (default)")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--share-gpus", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("truth.json"))
    options = parser.parse_args()
    machine = options.out.resolve().with_name("truth-machine.toml")
    machine.parent.mkdir(parents=True, exist_ok=True)
    counts = [int(each) for each in options.devices.split(",")]
    for case in options.cases:
        network, batch = case.split(":")
        asked = [network, "--batch", batch, "--devices", str(max(counts))]
        asked += ["--share-gpus"] if options.share_gpus else []
        netc("calibrate", *asked, "--precision", options.precision, "-o", str(machine))
    rows = [
        row
        for case in options.cases
        for devices in counts
        for row in rows_of(case, devices, machine, options)
    ]
    for _ in range(options.repeats):
        for row in rows:
            result = next((e for e in netc(*row["command"]) if e["event"] == "result"), None)
            if result is not None:
                row["seconds"].append(result["step_seconds"])
                row["predicted"] = result["predicted_seconds"]
        found = [judged(row) for row in rows if row["seconds"]]
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(markdown(found))


def judged(row: Row) -> Row:
    """What a row's repeats come to, beside its prediction."""
    measured = statistics.median(row["seconds"])
    spread = (max(row["seconds"]) - min(row["seconds"])) / measured
    return {**row, "measured": measured, "spread": spread, "off": row["predicted"] / measured - 1}


def markdown(rows: list[Row]) -> str:
    """The table, and what comes out in another order than predicted."""
    lines = ["| network | devices | strategy | measured | spread | predicted | off |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    lines += [
        f"| {r['network']} {r['batch']} | {r['devices']} | {r['strategy']} "
        f"| {1e3 * r['measured']:.4g} ms | {100 * r['spread']:.1f} % "
        f"| {1e3 * r['predicted']:.4g} ms | {100 * r['off']:+.1f} % |"
        for r in rows
    ]
    swapped = [
        f"{a['network']} {a['batch']} on {a['devices']}: {a['strategy']} and {b['strategy']}"
        for a, b in combinations(rows, 2)
        if (a["network"], a["batch"], a["devices"]) == (b["network"], b["batch"], b["devices"])
        and abs(a["measured"] / b["measured"] - 1) > APART
        and (a["measured"] - b["measured"]) * (a["predicted"] - b["predicted"]) < 0
    ]
    worst = max(abs(r["off"]) for r in rows)
    within = sum(abs(r["off"]) <= 0.1 + (r["spread"] if r["spread"] > APART else 0) for r in rows)
    lines += ["", f"{within} of {len(rows)} within 10 % (plus the spread where that exceeds 5 %); "
              f"the worst is {100 * worst:.1f} % off.",
              f"In another order than predicted: {'; '.join(swapped) or 'none'}."]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
