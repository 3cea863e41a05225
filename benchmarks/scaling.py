"""Training over numbers of GPUs, beside PyTorch, the simulator and papers: docs/results/scaling.md.

    python benchmarks/scaling.py --nets vgg16,alexnet_owt --images 128 --devices 1,2 --minutes 8
    python benchmarks/scaling.py --simulate --cluster h100 --devices 4,8
    python benchmarks/scaling.py --cpu --devices 2,4,8
    python benchmarks/scaling.py --add rows-of-another-machine.json
    python benchmarks/scaling.py --page

A round is a network, images and a number of GPUs, by default all of 1, 2, 4 and 8 that there are.
netc's plans and PyTorch's ways are in memory together with those of one GPU, each number of devices
a group of processes, and take turns, a burst of steps each. Before that, losses of every plan's
first steps are compared with those of one GPU with the same batch; a plan that differs is not
timed. Weak scaling: --images are a GPU's. Strong: they are of the whole step, on all numbers.

Rows go into --out, a JSON file, after every round, beside those of other runs; the page and its
pictures stand beside it, and say "not run" where there is no row. With --simulate rows are
predicted, and no GPU is needed; with --cpu losses alone are compared, on virtual devices of the
CPU, of networks with images of --side pixels; --check does that on GPUs. PyTorch is
DistributedDataParallel, channels last, as in gpu_torch.py; `--modes autocast,compile,graph` has it
compiled too, and recorded as a CUDA graph; --torch names the Python that has it. --jax names one
that has JAX, which then takes part on one GPU.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from itertools import product
from pathlib import Path

import scaling_page
from peers import HERE
from scaling_round import Asked, one_round
from scaling_rows import (
    IMAGES,
    NETWORKS,
    STRATEGIES,
    STRONG,
    WEAK,
    Book,
    Row,
    predicted,
    rounds,
)

from netc.planner.compare import SCHEMES
from netc_kernels import cuda

OUT = HERE.parent / "docs" / "results" / "scaling.json"
COUNTS = (1, 2, 4, 8)


def names(text: str) -> list[str]:
    return text.split(",")


def numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def parsed() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--simulate", action="store_true", help="predict, and run nothing")
    how.add_argument("--cpu", action="store_true", help="compare losses, on virtual devices")
    how.add_argument("--check", action="store_true", help="compare losses, and time nothing")
    how.add_argument(
        "--page", action="store_true", help="write the page of the rows that are there"
    )
    how.add_argument("--add", type=Path, metavar="JSON", help="take the rows of another file")
    parser.add_argument("--nets", type=names, default=list(NETWORKS))
    parser.add_argument("--images", type=numbers, help="default 128,32; with --cpu 8")
    parser.add_argument("--devices", type=numbers, help="default: those of 1,2,4,8 that are there")
    parser.add_argument("--scalings", type=names, default=[WEAK, STRONG])
    parser.add_argument("--strategies", type=names, default=list(STRATEGIES))
    parser.add_argument("--schemes", type=names, default=list(SCHEMES), help="of hybrid")
    parser.add_argument("--precision", help="default bf16; with --cpu fp64")
    parser.add_argument("--cluster", default="h200", help="by which is predicted (default h200)")
    parser.add_argument("--modes", type=names, default=["autocast"], help="of PyTorch, or 'none'")
    parser.add_argument("--torch", default=sys.executable, help="an interpreter that has PyTorch")
    parser.add_argument("--jax", help="an interpreter that has JAX, for one GPU")
    parser.add_argument("--side", type=int, help="of images, in pixels; with --cpu 96")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="of a burst (default 20)")
    parser.add_argument("--minutes", type=float, default=60.0,
                        help="begin no round that would probably end later")  # fmt: skip
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    options.precision = options.precision or ("fp64" if options.cpu else "bf16")
    options.images = options.images or ([8] if options.cpu else list(IMAGES))
    options.side = options.side or (96 if options.cpu else None)
    if options.cpu:
        options.scalings = [WEAK]
    if options.devices is None:
        there = 8 if options.cpu or options.simulate else cuda.found()[0]
        options.devices = [n for n in COUNTS if n <= there]
    if not (options.devices or options.page or options.add):
        parser.error("no GPU is visible; --simulate and --cpu need none")
    return options


def main() -> int:
    """Do what is asked for, and write the page; 1 where a plan's losses are wrong."""
    options = parsed()
    book, good = Book.read(options.out), True
    if options.simulate:
        simulate(book, options)
    elif options.add:
        book.add(*Book.read(options.add).parts)
    elif not options.page:
        good = run(book, options)
    scaling_page.write(book)
    return 0 if good else 1


def simulate(book: Book, options: argparse.Namespace) -> None:
    """Predict all rows."""
    cases = product(options.nets, options.images, options.scalings)
    for network, images, scaling in cases:
        rows = predicted(
            network, images, scaling, options.devices, options.cluster, options.precision,
            options.strategies, options.schemes,
        )  # fmt: skip
        book.add(predicted=rows)
        best = max(rows, key=lambda row: (row["devices"], row["speedup"]))
        where = f"{network}, {images} images, {scaling}: {best['plan']} on {best['devices']}"
        print(f"{where} is {best['speedup']:.2f} times as fast as one", flush=True)


def run(book: Book, options: argparse.Namespace) -> bool:
    """Go through the rounds; whether all losses were right."""
    # Processes that were started are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    began, longest, good = time.monotonic(), 0.0, True
    how = Asked(
        options.strategies, options.schemes, options.precision, options.cluster, options.modes,
        options.torch, options.jax, options.side, "cpu" if options.cpu else "cuda",
        not (options.cpu or options.check), options.repeats, options.steps,
    )  # fmt: skip
    for of in rounds(options.nets, options.images, options.scalings, options.devices):
        if of.devices == 1 and (not how.timed or max(options.devices) > 1):
            continue  # One device is in every round.
        spent = time.monotonic() - began
        if spent + longest > 60 * options.minutes:
            print(f"{of.text}: not run, as {options.minutes:g} minutes are over", flush=True)
            continue
        checks, rows = one_round(of, how)
        book.add(checks=checks, measured=rows)
        good = good and all(check.get("agrees", True) for check in checks)
        for row in (*checks, *rows):
            print(told(row), flush=True)
        longest = max(longest, time.monotonic() - began - spent)
    return good


def told(row: Row) -> str:
    """A row in a line."""
    who = f"{row['network']} {row['batch']} on {row['devices']}, {row['program']} {row['plan']}: "
    if "failed" in row:
        return f"{who}{row['failed']}"
    if "apart" in row:
        return f"{who}losses {row['apart']:.1e} from one device's, {row['tolerance']:g} allowed"
    off = f", predicted {row['off']:+.1%}" if "off" in row else ""
    return (
        f"{who}{row['images_per_second']:,.0f} images/s, {row['step_ms']:.4g} ms, "
        f"spread {row['spread']:.1%}, {scaling_page.times(row)} times one{off}"
    )


if __name__ == "__main__":
    sys.exit(main())
