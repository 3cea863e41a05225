"""Kill a training again and again: `python tests/kill.py --kills 60 --seed S`.

A training of a small network, which is always writing a checkpoint, is killed at random moments,
without a warning, and started again by the same command each time: some soon after they began, most
while they train. In the end its weights, those that were best and its metrics must equal those of
one that was never stopped, to the bit. Exit code 1 where they do not.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from itertools import zip_longest
from pathlib import Path

import numpy as np
from saved import newest

from netc_runtime.io.checkpoint import checkpoints, load, unfinished
from netc_runtime.train.folder import BEST

NETWORK = """
net killed(classes = 10)
input image 1x8x8
fc 64 | relu | dropout 0.5
fc classes
softmax_loss
train { data digits() ; batch 48 ; epochs EPOCHS ; sgd lr=0.01 momentum=0.9 ; schedule cosine() }
"""
STEPS_AN_EPOCH, SAVED_EVERY = 29, 2
EPOCHS_A_KILL, LONGEST_SECONDS = 9, 0.4
"""So long that most runs are killed before they end."""
EARLY, EARLY_SECONDS = 0.2, 1.5
"""So many runs are killed by their age, and may not have begun."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    choose = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="netc-kill-") as name:
        folder = Path(name)
        epochs = max(1, EPOCHS_A_KILL * options.kills)
        (folder / "n.net").write_text(NETWORK.replace("EPOCHS", str(epochs)))
        assert _start(folder, "whole").wait() == 0
        killed = writing = 0
        for _ in range(options.kills):
            killed += _killed(folder, choose)
            writing += bool(unfinished(folder / "parts"))
        assert _start(folder, "parts").wait() == 0, "the last run did not end well"
        problems = _differences(folder, epochs)
    print(
        f"seed {options.seed}: {killed} of {options.kills} runs were killed before they ended, "
        f"{writing} of them within a file"
    )
    print("; ".join(problems) or "nothing was lost")
    return int(bool(problems))


def _start(folder: Path, out: str) -> subprocess.Popen[bytes]:
    """Begin a training, or go on with it where there is something to go on with."""
    command = [sys.executable, "-m", "netc.cli.main", "run", str(folder / "n.net"), "--plain"]
    options = ["--kernels", "reference", "--out", str(folder / out), "--resume", "auto"]
    saves = ["--save-every", str(SAVED_EVERY)] if out == "parts" else []
    return subprocess.Popen([*command, *options, *saves], stdout=subprocess.DEVNULL)


def _killed(folder: Path, choose: random.Random) -> bool:
    """Kill a run so long after it began, or after its metrics moved; whether it was running."""
    metrics = folder / "parts" / "metrics.jsonl"
    before = metrics.stat() if metrics.exists() else None
    running = _start(folder, "parts")
    if choose.random() < EARLY:
        time.sleep(choose.uniform(0, EARLY_SECONDS))
    else:
        while running.poll() is None and not _moved(metrics, before):
            time.sleep(0.002)
        time.sleep(choose.uniform(0, LONGEST_SECONDS))
    ran = running.poll() is None
    assert ran or not running.returncode, "a run did not end well"
    running.kill()
    running.wait()
    return ran


def _moved(metrics: Path, before: object) -> bool:
    """Whether a run has begun to write into its metrics: it takes lines away first."""
    return metrics.exists() and metrics.stat() != before


def _differences(folder: Path, epochs: int) -> list[str]:
    problems = []
    for name, file in (("newest", newest), ("best", lambda out: out / BEST)):
        whole, parts = (load(file(folder / out))[0] for out in ("whole", "parts"))
        differ = [n for n, value in whole.items() if not np.array_equal(parts[n], value)]
        problems += [f"'{each}' of the {name} checkpoint differs" for each in differ]
    wanted, found = _curves(folder / "whole"), _curves(folder / "parts")
    if [row["step"] for row in wanted if "loss" in row] != _steps(epochs):
        problems.append("metrics of the whole training lack steps")
    if found != wanted:
        pairs = zip_longest(wanted, found)
        first = next(f"{each}, now {other}" for each, other in pairs if each != other)
        problems.append(f"metrics differ: {first}")
    if len(checkpoints(folder / "parts")) != len(checkpoints(folder / "whole")):
        problems.append("checkpoints are left that nobody wants")
    if unfinished(folder / "parts"):
        problems.append("files are left that were not finished")
    return problems


def _steps(epochs: int) -> list[int]:
    return list(range(1, epochs * STEPS_AN_EPOCH + 1))


def _curves(folder: Path) -> list[dict[str, object]]:
    """The metrics, but for those of the clock."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    return [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]


if __name__ == "__main__":
    sys.exit(main())
