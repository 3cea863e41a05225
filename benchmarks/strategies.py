"""Strategies beside each other on the same devices, in turn: steps measured, and predicted.

    python benchmarks/strategies.py vgg16:256 alexnet_owt:2048 --devices 2 --precision bf16 \\
        --cluster h200 --strategies data hybrid "data --updates sharded" --out strategies.json

A strategy is what `--strategy` takes, with further options of `netc run` behind it. All programs of
a network are in memory at once and take turns, a burst of steps each, so that what else the machine
does meets all of them. Images are synthetic and stay where they are. A row is the median of its
bursts; its spread is the distance of the extremes. Then the first device's waits for exchanges are
measured, and its launches, whose texts, seconds, operations and bytes are in the JSON: `learn.py`
puts those into the measurements of a machine. Beside PyTorch, and over numbers of devices:
`scaling.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from peers import HERE, Contestant, Peer, ended, start, take_turns

Row = dict[str, Any]


def main() -> None:
    """Every network in processes of its own; print and keep the rows of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="+", metavar="NET:BATCH")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--cluster", help="default: this machine, if it was calibrated")
    parser.add_argument("--strategies", nargs="+", default=["data", "model", "hybrid", "spatial"])
    parser.add_argument("--share-gpus", action="store_true", help="all devices on one GPU")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="of a burst (default 20)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: list[Row] = []
    for case in options.cases:
        rows = measured(case, options)
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
    """The rows of a network."""
    network, batch = case.split(":")
    common = {"network": network, "batch": int(batch), "devices": options.devices,
              "precision": options.precision}  # fmt: skip
    asked = {"cluster": options.cluster, "strategies": options.strategies,
             "share_gpus": options.share_gpus}  # fmt: skip
    peer = start_netc(**common, **asked)
    with ended([peer]):
        peer.warm()
        programs = peer.about.get("programs", [{"strategy": s} for s in options.strategies])
        rows = [{**common, **program} for program in programs]
        running = {place: Contestant(peer, place) for place in warm_places(peer)}
        take_turns(list(running.values()), options.repeats, options.steps)
        for place, row in enumerate(rows):
            if place in running and peer.runs:
                row |= {"seconds": running[place].seconds, **running[place].judged()}
                row |= peer.ask(f"launches {place}") or {}
            if "exposed" not in row:
                row.setdefault("failed", peer.about.get("unsupported", "was not measured"))
    return rows


def start_netc(**case: Any) -> Peer:
    """A process with programs of netc; `case` are the fields of `netc_programs.Case`."""
    name = f"netc, {case['network']} {case['batch']} on {case['devices']}"
    return start(name, [sys.executable, str(HERE / "netc_programs.py"), json.dumps(case)])


def warm_places(peer: Peer) -> list[int]:
    """The programs of a peer that can be asked."""
    programs = peer.about.get("programs", ()) if peer.runs else ()
    return [place for place, each in enumerate(programs) if "failed" not in each]


if __name__ == "__main__":
    main()
