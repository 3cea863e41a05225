"""Kill a training again and again: `python tests/kill.py --kills 60 --seed S`.

A training of a small network is killed at random moments, without a warning, and resumed each time.
In the end its weights must equal those of one that was never stopped, to the bit, and its metrics
must have every step once. Exit code 1 where they do not.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from saved import newest

from netc_runtime.io.checkpoint import checkpoints, latest, load

NETWORK = """
net killed(classes = 10)
input image 1x8x8
fc 64 | relu | dropout 0.5
fc classes
softmax_loss
train { data digits() ; batch 48 ; epochs EPOCHS ; sgd lr=0.01 momentum=0.9 }
"""
EPOCHS_A_KILL, LONGEST_SECONDS = 15, 0.5
"""So long that most runs are killed before they end."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    choose = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="netc-kill-") as name:
        folder = Path(name)
        (folder / "n.net").write_text(NETWORK.replace("EPOCHS", str(EPOCHS_A_KILL * options.kills)))
        assert _start(folder, "whole").wait() == 0
        killed = 0
        for _ in range(options.kills):
            killed += _stopped(folder, choose.uniform(0, LONGEST_SECONDS))
        assert _start(folder, "parts").wait() == 0, "the last run did not end well"
        problems = _differences(folder)
        print(
            f"seed {options.seed}: {killed} of {options.kills} runs were killed while they trained"
        )
        print("; ".join(problems) or "nothing was lost")
    return int(bool(problems))


def _start(folder: Path, out: str) -> subprocess.Popen[bytes]:
    """Begin a training, or go on with it where there is something to go on with."""
    place = folder / out
    more = ["--resume"] if latest(place) else ["--replace"]
    command = [sys.executable, "-m", "netc.cli.main", "run", str(folder / "n.net"), "--plain"]
    options = ["--kernels", "reference", "--out", str(place)]
    return subprocess.Popen([*command, *options, *more], stdout=subprocess.DEVNULL)


def _stopped(folder: Path, seconds: float) -> int:
    """Kill a run so many seconds after its metrics moved; whether it was running then."""
    metrics = folder / "parts" / "metrics.jsonl"
    before = metrics.stat().st_size if metrics.exists() else 0
    running = _start(folder, "parts")
    while running.poll() is None and (not metrics.exists() or metrics.stat().st_size == before):
        time.sleep(0.005)
    time.sleep(seconds)
    ran = running.poll() is None
    running.kill()
    running.wait()
    return int(ran)


def _differences(folder: Path) -> list[str]:
    whole, parts = (load(newest(folder / out))[0] for out in ("whole", "parts"))
    problems = [f"'{n}' differs" for n, v in whole.items() if not np.array_equal(parts[n], v)]
    rows = [json.loads(line) for line in (folder / "parts" / "metrics.jsonl").open()]
    steps = [row["step"] for row in rows if "loss" in row]
    if steps != list(range(1, len(steps) + 1)):
        problems.append("metrics lack steps or have them twice")
    if len(checkpoints(folder / "parts")) != len(checkpoints(folder / "whole")):
        problems.append("checkpoints are left that nobody wants")
    return problems


if __name__ == "__main__":
    sys.exit(main())
