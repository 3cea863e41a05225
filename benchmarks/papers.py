"""What the papers measured, beside what netc predicts: writes docs/papers.md.

python benchmarks/papers.py [-o docs/papers.md]

Nothing is trained and no machine is needed. What goes in besides the networks and the cluster files
is listed on the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import netc_clusters
import netc_models
from netc.cost import Cluster, read_cluster
from netc.cost.accounts import moved_as_papers_count
from netc.ir.clock import simulate
from netc.ir.comm import AllGather, ReduceScatter
from netc.ir.graph import Node
from netc.ir.types import line_mesh
from netc.passes.pipeline import Options, lower_training
from netc.syntax import Network, parse_file

ONE_GPU_SECONDS = 0.3918
"""Krizhevsky 2014, Table 1: 98.05 hours for 90 epochs of 1,281,167 images, 128 a step."""
SPEEDUPS: dict[tuple[str, str | None, str], tuple[float, float, float]] = {
    ("hybrid", "b", "step"): (1.95, 3.74, 6.25),
    ("hybrid", "b", "round"): (1.93, 3.66, 6.16),
}
"""The same table, on 2, 4 and 8 GPUs; with the fully connected layers' weights updated once a step,
and after each round of 128 images."""
GPUS = (2, 4, 8)
ROWS = (*SPEEDUPS, ("hybrid", "a", "step"), ("hybrid", "c", "step"), ("data", None, "step"))
IMAGES = 32
"""Of a GPU and step, Jia et al. 2018."""
BYTES = {
    ("alexnet", "data"): (1.1132, 2.2267, 4.4537, 8.9077),
    ("vgg16", "data"): (2.0560, 4.1124, 8.2253, 16.4511),
    ("inception_v3", "data"): (0.3545, 0.7091, 1.4184, 2.8370),
    ("alexnet", "hybrid"): (0.0485, 0.1212, 0.3383, 1.0597),
    ("vgg16", "hybrid"): (0.2384, 0.5407, 1.3359, 3.6879),
    ("inception_v3", "hybrid"): (0.3259, 0.6559, 1.3276, 2.7179),
    ("alexnet", "model"): (0.2824, 0.5650, 1.1303, 2.2609),
    ("vgg16", "model"): (3.6029, 7.2063, 14.4132, 28.8268),
    ("inception_v3", "model"): (3.4457, 6.8916, 13.7835, 27.5672),
}
"""GiB of a step on 2, 4, 8 and 16 GPUs, read off Jia et al. 2018, Fig. 8 (to about 1 %)."""
NODES = (2, 4, 8, 16)
ALEXNET = Path(__file__).parents[1] / "tests" / "models" / "alexnet_optcnn.net"
"""AlexNet with 256 x 7 x 7 before fc6 and 74.7 million weights, which Fig. 8's bytes follow."""


@cache
def network(name: str) -> Network:
    """A shipped network, or the AlexNet of Fig. 8."""
    shipped = Path(netc_models.__file__).parent / f"{name}.net"
    return parse_file(ALEXNET if name == "alexnet" else shipped)


@cache
def machine(name: str) -> Cluster:
    """A shipped machine."""
    return read_cluster(Path(netc_clusters.__file__).parent / f"{name}.toml")


@cache
def step_seconds(
    gpus: int, strategy: str, scheme: str | None, update: str, overlap: bool
) -> float:  # fmt: skip
    """A step of the one tower on K20 GPUs, 128 images each."""
    options = Options(line_mesh(gpus), 128 * gpus, machine("k20"), strategy)
    if gpus > 1:
        options = replace(options, scheme=scheme, fc_update=update)
    compiled = lower_training(network("alexnet_owt"), options, verified=False)
    return simulate(compiled.program, overlap).seconds


def speedup(gpus: int, strategy: str, scheme: str | None, update: str, overlap: bool) -> float:
    """Images a second, over those of one GPU."""
    one = step_seconds(1, "single", None, "step", overlap)
    return gpus * one / step_seconds(gpus, strategy, scheme, update, overlap)


def counted(node: Node) -> bool:
    """What Fig. 8 counts: not what goes between fully connected layers, along channels."""
    return not (isinstance(node.op, AllGather | ReduceScatter) and node.op.dim == 1) or (
        node.type.rank == 4
    )


def gibibytes(name: str, strategy: str, gpus: int) -> float:
    """Bytes of a step as the paper counts them."""
    options = Options(line_mesh(gpus), IMAGES * gpus, machine("p100"), strategy, scheme="a")
    compiled = lower_training(network(name), options, verified=False)
    return moved_as_papers_count(compiled.plan, counted) / 2**30


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def krizhevsky() -> Iterator[str]:
    yield "## Krizhevsky 2014: speedups on eight K20\n"
    one = step_seconds(1, "single", None, "step", False)
    yield f"""\
One tower, 128 images a GPU, `--cluster k20`. Input: the step of one GPU, {ONE_GPU_SECONDS} s (here
{one:.4f}), to which the machine's rate was fitted; nothing else is. Without overlap a GPU does one
thing at a time, which reproduces the paper; with overlap exchanges run beside computation as far as
the program allows.
"""
    rows = []
    for row in ROWS:
        published = SPEEDUPS.get(row)
        for place, gpus in enumerate(GPUS):
            plain, hidden = (speedup(gpus, *row, overlap) for overlap in (False, True))
            found = f"{published[place]:.2f}" if published else "-"
            off = f"{plain / published[place] - 1:+.1%}" if published else "-"
            strategy, scheme, update = row
            name = strategy if scheme is None else f"{strategy}, scheme {scheme}"
            name += ", updated every round" if update == "round" else ""
            rows.append((name, str(gpus), found, f"{plain:.2f}", off, f"{hidden:.2f}"))
    header = ("plan", "GPUs", "published", "without overlap", "difference", "with overlap")
    yield from table(header, rows)


def jia() -> Iterator[str]:
    yield "\n## Jia et al. 2018: bytes of a step\n"
    yield """\
GiB that all GPUs move, 32 images each, in the paper's accounting: a parameter server for gradients,
a device's own part of what is gathered counted, exchanges between fully connected layers left out.
Published figures are read off Fig. 8. AlexNet is `tests/models/alexnet_optcnn.net` (74.7 million
weights). Under `model` every device gathers what all layers read, so our bytes grow with the square
of the devices; the figure's grow with their number, by a rule that the paper does not state.
"""
    rows = []
    for (name, strategy), published in BYTES.items():
        for gpus, figure in zip(NODES, published, strict=True):
            found = gibibytes(name, strategy, gpus)
            row = (f"{figure:.4f}", f"{found:.4f}", f"{found / figure - 1:+.1%}")
            rows.append((name, strategy, str(gpus), *row))
    yield from table(("network", "strategy", "GPUs", "published", "netc", "difference"), rows)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Compare predictions with papers.")
    parser.add_argument("-o", "--output", default="docs/papers.md", help="the page")
    path = Path(parser.parse_args().output)
    title = "# What papers measured, and what netc predicts"
    head = f"{title}\n\nWritten by `python benchmarks/papers.py`.\n"
    path.write_text("\n".join([head, *krizhevsky(), *jia()]) + "\n")


if __name__ == "__main__":
    main()
