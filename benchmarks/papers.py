"""What the papers measured, beside what netc predicts: writes docs/papers.md.

python benchmarks/papers.py [-o docs/papers.md]

Nothing is trained and no machine is needed. What goes in besides the networks and the cluster files
is listed on the page.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import netc_clusters
import netc_models
from netc.api.search import meshes_of
from netc.cli.common import request
from netc.cli.main import parser
from netc.cost import Cluster, read_cluster
from netc.cost.accounts import moved_as_papers_count
from netc.export.scene import Scene
from netc.export.speedups import SpeedupLine, draw_speedups, write_speedups
from netc.ir.clock import simulate
from netc.ir.comm import AllGather, ReduceScatter
from netc.ir.graph import Node
from netc.ir.optimizers import choose_optimizer
from netc.ir.plan import Split
from netc.ir.types import line_mesh, named_mesh
from netc.passes.build_graph import build_graph
from netc.passes.differentiate import differentiate
from netc.passes.options import Options
from netc.passes.pipeline import lower_network
from netc.planner.auto import chosen_options, find_plan
from netc.planner.compare import crossover
from netc.planner.prices import ALL_LABELS, Priced, choices_of, price
from netc.planner.terms import terms_of
from netc.strategies.search import Optimum, minimize, total
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
RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "alexnet": {
        "data": (745, 1181, 1760, 2484, 3230), "hybrid": (745, 1400, 2029, 3043, 4260),
        "layer-wise": (745, 1492, 2741, 4934, 9045), "model": (745, 1303, 1824, 2460, 3303),
    },
    "vgg16": {
        "data": (184, 343, 632, 1080, 1660), "hybrid": (184, 360, 700, 1216, 1990),
        "layer-wise": (184, 364, 727, 1417, 2715), "model": (184, 313, 502, 778, 1048),
    },
    "inception_v3": {
        "data": (157, 305, 503, 966, 1690), "hybrid": (157, 310, 522, 992, 1745),
        "layer-wise": (157, 316, 632, 1248, 2430), "model": (157, 220, 264, 224, 160),
    },
}  # fmt: skip
"""Images a second on 1, 2, 4, 8 and 16 GPUs, read off Jia et al. 2018, Fig. 7."""
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
    compiled = lower_network(network("alexnet_owt"), options, verified=False)
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
    compiled = lower_network(network(name), options, verified=False)
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
    yield """
![His speedups, ours predicted for his machine, and ours measured](pictures/speedups-k20.svg)

The same beside each other, and what was measured on two H200 in bf16 with 128 images each
([results/gpu.md](results/gpu.md)).
"""


MEASURED = {"AlexNet": 121_394 / 64_977, "VGG-16": 11_197 / 5_779}
"""`hybrid`, scheme a, on two H200, over one (docs/results/gpu.md)."""


def speedup_plot() -> Scene:
    """Krizhevsky's speedups, ours predicted for his machine, and ours measured."""
    published = zip(GPUS, SPEEDUPS["hybrid", "b", "step"], strict=True)
    found = [SpeedupLine("published, scheme b", ((1, 1.0), *published))]
    for strategy, scheme, overlap, words in (
        ("hybrid", "b", False, "predicted, scheme b, without overlap"),
        ("hybrid", "a", True, "predicted, scheme a, with overlap"),
        ("data", None, False, "predicted, data, without overlap"),
    ):
        points = [(gpus, speedup(gpus, strategy, scheme, "step", overlap)) for gpus in GPUS]
        found.append(SpeedupLine(words, ((1, 1.0), *points)))
    for name, times in MEASURED.items():
        found.append(SpeedupLine(f"measured, {name}, H200", ((1, 1.0), (2, times))))
    tiles = [("K20", "machine"), ("128 images a GPU", "a step"), ("Krizhevsky 2014", "published")]
    return draw_speedups("One weird trick: times as fast as one GPU", tiles, found)


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


@cache
def as_fast(name: str) -> Cluster:
    """The P100 machine, with GPUs that take one GPU's published step for a network: rates of
    arithmetic and memory are multiplied by one constant.
    """
    known, wanted = machine("p100"), IMAGES / RATES[name]["data"][0]
    factor = 1.0
    for _ in range(3):
        factor *= _one_gpu(name, _scaled(known, factor)) / wanted
    return _scaled(known, factor)


def _scaled(known: Cluster, factor: float) -> Cluster:
    rates = {dtype: rate * factor for dtype, rate in known.flops_per_second.items()}
    memory = known.memory_bytes_per_second * factor
    return replace(known, flops_per_second=rates, memory_bytes_per_second=memory)


def _one_gpu(name: str, cluster: Cluster) -> float:
    options = Options(line_mesh(1), IMAGES, cluster, "single")
    return simulate(lower_network(network(name), options, verified=False).program).seconds


@cache
def images_a_second(name: str, strategy: str, gpus: int) -> tuple[float, float]:
    """Without overlap of exchange and computation, and with it; the search is in the space of the
    paper.
    """
    options = Options(line_mesh(gpus), IMAGES * gpus, as_fast(name), strategy, scheme="a")
    if strategy == "layer-wise":
        options = replace(options, strategy="data", updates="replicated")
        found = find_plan(network(name), options, meshes_of(gpus, options), "nkhw")
        options = chosen_options(options, found.best)
    program = lower_network(network(name), options, verified=False).program
    plain, hidden = (
        IMAGES * gpus / simulate(program, overlap).seconds for overlap in (False, True)
    )
    return plain, hidden


def figure_7() -> Iterator[str]:
    yield "\n## Jia et al. 2018, Fig. 7: images a second on 16 P100\n"
    yield """\
32 images a GPU, `--cluster p100`. Three constants are fitted, one for each network, to the row of
one GPU; links are those of the data sheets, nothing of them is fitted. Layer-wise is `--strategy
auto --search-labels n,k,h,w`. Gradients go directly between GPUs, which is a parameter server
spread over all of them.

With overlap, layer-wise comes out within 5 % for VGG-16 and Inception v3 and up to 25 % too fast
for AlexNet, and `data` on 8 and 16 GPUs within 7 % for AlexNet and VGG-16. AlexNet's `hybrid` is up
to twice as fast here as there: what took theirs longer the paper does not say. Under `model` the
paper counts exchanges by another rule (above). The order data, hybrid, layer-wise holds with
overlap, but that `hybrid` is 1 % slower than `data` for Inception v3 on 8 and 16 GPUs, whose one
dense layer has next to nothing to gain.
"""
    rows = []
    for name, strategies in RATES.items():
        for strategy, published in strategies.items():
            for gpus, figure in zip(NODES, published[1:], strict=True):
                found = images_a_second(name, strategy, gpus)
                off = (f"{each:,.0f} ({each / figure - 1:+.0%})" for each in found)
                rows.append((name, strategy, str(gpus), f"{figure:,.0f}", *off))
    header = ("network", "strategy", "GPUs", "published", "without overlap", "with overlap")
    yield from table(header, rows)


@cache
def searched(labels: str) -> tuple[Priced, Optimum]:
    """VGG-16 on one node of four P100, 32 images each, as two by two devices."""
    mesh, batch = named_mesh((2, 2)), 4 * IMAGES
    built = build_graph(network("vgg16"), batch, "fp32")
    graph = differentiate(built, choose_optimizer("sgd"))
    choices = choices_of(graph, mesh, labels)
    priced = price(terms_of(graph, choices), mesh, machine("p100"), choices)
    sizes = [len(own) for own in priced.choices]
    return priced, minimize(sizes, priced.tables())


def as_published(own: Mapping[str, Split], last: Split, widest: Split) -> dict[str, Split]:
    """Table 5's plan: all by the batch but the last block, and dense layers by channels."""
    found = dict(own)
    for layer in found:
        if layer.startswith("stage5"):
            found[layer] = last
    return {**found, "fc6": ("k", "k"), "fc7": ("k", "k"), "fc8": widest}


def table_5() -> Iterator[str]:
    yield "\n## Jia et al. 2018, Table 5: the plan of VGG-16 on four GPUs\n"
    yield """\
The search of `--strategy auto` in the paper's space (`--search-labels n,k,h,w`), 32 images a GPU,
on one node of `--cluster p100` as 2 x 2 devices; the cost is that of the additive model,
exchanges of gradients in full. Both split the first four blocks by samples and dense layers by
output channels. Theirs splits the last block by height and width: its convolutions then read
borders of their neighbours' parts, while its weights' gradients are exchanged all the same, so it
costs more here. With splits by input channels too (`c`) dense layers take turns: one whose
predecessor gives sums in parts need not have them gathered. That space has a cheaper plan.
"""
    rows = []
    paper, best = searched("nkhw")
    own = paper.splits(best.choices)
    rows.append(("found, n k h w", _plan_text(own), f"{1e3 * best.cost:.2f} ms"))
    for last, widest in ((("h", "w"), ("k", "r")), (("n", "n"), ("k", "r"))):
        theirs = as_published(own, last, widest)
        cost = total(paper.number(theirs), paper.tables())
        name = "published" if last == ("h", "w") else "published, but the last block"
        rows.append((name, _plan_text(theirs), f"{1e3 * cost:.2f} ms"))
    whole, optimum = searched(ALL_LABELS)
    found = whole.splits(optimum.choices)
    rows.append(("found, n k c h w", _plan_text(found), f"{1e3 * optimum.cost:.2f} ms"))
    yield from table(("plan", "splits", "cost"), rows)


def _plan_text(splits: Mapping[str, Split]) -> str:
    """The convolutions' splits by block, and the dense layers'."""
    words = []
    for block in range(1, 6):
        own = {",".join(s) for layer, s in splits.items() if layer.startswith(f"stage{block}.conv")}
        words.append(f"block {block} {' / '.join(sorted(own))}")
    words += [f"{layer} {','.join(splits[layer])}" for layer in ("fc6", "fc7", "fc8")]
    return "; ".join([*words, f"loss {','.join(splits['softmax_loss1'])}"])


CROSSED = {"alexnet_owt": 58_621_952 / 17_408, "vgg16": 123_633_664 / 33_280}
"""Weights of the dense layers over the values that an image exchanges for them."""


@cache
def crossed(name: str, gpus: int, of: str) -> int | None:
    """The largest batch at which `hybrid` (scheme a) is better than `data`, on H200 in bf16."""
    asked = ["compile", name, "--cluster", "h200", "--precision", "bf16", "--scheme", "a"]
    options = request(parser().parse_args([*asked, "--devices", str(gpus)])).options
    return crossover(network(name), options, "hybrid", "data", lambda plan: getattr(plan, of))


def crossovers() -> Iterator[str]:
    yield "\n## Where dense layers are better split by channels\n"
    yield """\
The largest batch, over all GPUs, at which `hybrid` (scheme a) sends less than `data`, and at which
its step is predicted to be shorter, found by halving the batch (`netc compare NET --crossover
hybrid,data`). The rule is that of the bytes: weights of the dense layers, over the values that an
image exchanges for them forward (and as many backward). In time (`--cluster h200`, bf16) `data` may
be better earlier, where its exchange hides behind computation, or later, where updates of whole
weights take longer than what they spare. Measured on two H200 (docs/results/gpu.md), AlexNet's
`hybrid` is 9 % faster at 256 and 5 % at 512, and as fast as `data` at 1,024 and 2,048 (0.3 % before
and 1.4 % behind, within what both vary by).
"""
    rows = []
    for name, rule in CROSSED.items():
        for gpus in (2, 4):
            sent, took = (crossed(name, gpus, of) for of in ("sent_bytes", "seconds"))
            rows.append((name, str(gpus), f"{rule:,.0f}", f"{sent:,}", f"{took:,}"))
    yield from table(("network", "GPUs", "rule", "by bytes", "by time, H200"), rows)


def main() -> None:
    """Write the page."""
    options = argparse.ArgumentParser(description="Compare predictions with papers.")
    options.add_argument("-o", "--output", default="docs/papers.md", help="the page")
    path = Path(options.parse_args().output)
    write_speedups(path.parent / "pictures" / "speedups-k20.svg", speedup_plot())
    title = "# What papers measured, and what netc predicts"
    head = f"{title}\n\nWritten by `python benchmarks/papers.py`.\n"
    parts = (krizhevsky, jia, figure_7, table_5, crossovers)
    path.write_text("\n".join([head, *(line for part in parts for line in part())]) + "\n")


if __name__ == "__main__":
    main()
