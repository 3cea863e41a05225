"""Ship what was measured here: which of cuDNN's plans are fastest on this GPU.

    netc tune resnet50 --batch 256 --precision bf16
    python benchmarks/plans.py ~/.cache/netc/plans.json

Adds what the file has of each GPU to `kernels/cuda/plans`, a file for each GPU and major version of
cuDNN. What was shipped before stays where nothing newer is known.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from netc_runtime.cuda.plans import shipped, shipped_text

FOLDER = Path(__file__).parent.parent / "kernels" / "cuda" / "plans"


def main() -> None:
    """Merge every file that is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="plans.json")
    for path in parser.parse_args().files:
        machines = json.loads(path.read_text(encoding="utf-8"))["machines"]
        for machine, plans in sorted(machines.items()):
            told = re.fullmatch(r"(.+), cuDNN (\d+), kernels \w+", machine)
            if told is not None:
                add(told[1], told[2], plans)


def add(gpu: str, library: str, plans: dict[str, str]) -> None:
    """Add a GPU's plans to its file."""
    name = re.sub(r"\W+", "-", gpu.lower()).strip("-")
    target = FOLDER / f"{name}-cudnn{library[0]}.json"
    every = shipped(gpu, library) | plans
    target.write_text(shipped_text(gpu, library, every), encoding="utf-8")
    print(f"{target.name}: {len(every)} choices, {len(plans)} of them from here")


if __name__ == "__main__":
    main()
