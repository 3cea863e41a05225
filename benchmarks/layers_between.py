"""Which split suits the layers in between: writes docs/layers-between.md.

    python benchmarks/layers_between.py [-o docs/layers-between.md]

Convolutions and dense layers decide how a network is split. What is between them (pooling,
activations, normalization, dropout, the loss) could follow the layer before, prepare for the one
behind, or go its own way. For many networks, batches, numbers of devices and links the search of
`--strategy auto` finds the cheapest plan of the additive model; the page counts what it gives the
layers in between, and shows what the alternatives would cost. No machine is needed.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import netc_clusters
import netc_models
from netc.cost import Cluster, read_cluster
from netc.ir.graph import Graph
from netc.ir.optimizers import choose_optimizer
from netc.ir.plan import Split
from netc.ir.types import line_mesh
from netc.passes.build_graph import build_graph
from netc.passes.differentiate import differentiate
from netc.planner.prices import choices_of, price
from netc.planner.terms import terms_of
from netc.planner.why import Alternative, alternatives
from netc.strategies.labels import layer_kind
from netc.strategies.search import minimize
from netc.syntax import Network, parse_file, parse_text

NETWORKS = ("alexnet", "alexnet_owt", "vgg16", "resnet18", "googlenet")
BATCHES = (32, 256, 2048)
DEVICES = (2, 4, 8)
LINKS = {"slow": 1e9, "PCI Express": 1e10, "NVLink": 2e11}
"""Bytes a second of a device."""
HIDDEN = 0.5
"""The part of the exchange of gradients that is taken to hide."""
BETWEEN = ("relu", "maxpool", "avgpool", "lrn", "bn", "dropout", "add", "concat", "softmax_loss")
SHOWN = {
    "alexnet": ("maxpool1", "lrn1", "relu1", "maxpool3", "dropout1", "relu6", "softmax_loss1"),
    "resnet18": ("maxpool1", "avgpool1", "softmax_loss1"),
}
"""Layers whose alternatives are priced on the page."""
KERNELS = (1, 3, 5, 7, 11)
"""Sizes of the convolutions, and of the pooling, of networks that are alike else."""
CHANGING = ("alexnet_owt", "vgg16")
"""Networks whose batches of change are looked for."""
LEAST, MOST = 2**5, 2**14
"""Images, between which they are."""
VIEWS = ("flatten", "input")
Link = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Case:
    """One network on some devices, with the plan found for it."""

    network: str
    batch: int
    devices: int
    link: str
    """In words; its bytes a second are in `LINKS`."""
    graph: Graph
    splits: Mapping[str, Split]


def machine(bytes_per_second: float) -> Cluster:
    """Devices as those of a P100, joined in one level of links."""
    known = read_cluster(Path(netc_clusters.__file__).parent / "p100.toml")
    (inner, *_) = known.links.levels
    level = replace(inner, devices=None, bytes_per_second=bytes_per_second)
    return replace(known, links=replace(known.links, levels=(level,)))


def network(name: str) -> Network:
    """A shipped network."""
    return parse_file(Path(netc_models.__file__).parent / f"{name}.net")


def of_kernels(size: int) -> Network:
    """Four convolutions with pooling, normalization and dense layers, all windows of one size."""
    conv = f"conv {size}x{size} {{}} pad={size // 2} | bn | relu"
    pool = f"maxpool {size}x{size} /2 pad={size // 2}"
    lines = [f"net kernels{size}", "input image 3x64x64", conv.format(64), pool, conv.format(128),
             conv.format(128), pool, conv.format(256), pool, "fc 1024 | relu | dropout 0.5",
             "fc 1000", "softmax_loss"]  # fmt: skip
    return parse_text("\n".join(lines) + "\n")


def training_graph(network: Network, batch: int) -> Graph:
    """A training graph."""
    return differentiate(build_graph(network, batch, "fp32"), choose_optimizer("sgd"))


def found(of: Network, batch: int, devices: int, link: str) -> Case:
    """The cheapest plan of the additive model."""
    graph, mesh, name = training_graph(of, batch), line_mesh(devices), of.name
    choices = choices_of(graph, mesh)
    priced = price(terms_of(graph, choices), mesh, machine(LINKS[link]), choices)
    best = minimize([len(own) for own in priced.choices], priced.tables(HIDDEN))
    return Case(name, batch, devices, link, graph, priced.splits(best.choices))


Change = tuple[int, str, str]
"""The largest batch of the split before, that split, and the one after."""


def changes(name: str, devices: int, link: str) -> Iterator[tuple[str, Change]]:
    """The layers whose split changes with the batch, with what changes. Looked for at powers of
    two, and by halving between them.
    """
    known: dict[int, Mapping[str, Split]] = {}

    def plan(batch: int) -> Mapping[str, Split]:
        if batch not in known:
            known[batch] = found(network(name), batch, devices, link).splits
        return known[batch]

    batches = [2**n for n in range(LEAST.bit_length() - 1, MOST.bit_length())]
    for layer in plan(LEAST):
        # What computes nothing costs nothing, however it is split.
        nothing = layer_kind(training_graph(network(name), LEAST), layer) in VIEWS
        for low, high in () if nothing else pairwise(batches):
            before, after = plan(low)[layer], plan(high)[layer]
            while before != after and high - low > devices:
                middle = (low + high) // 2 // devices * devices
                low, high = (middle, high) if plan(middle)[layer] == before else (low, middle)
            if before != plan(high)[layer]:
                yield layer, (low, ",".join(before), ",".join(plan(high)[layer]))


def change_rows() -> Iterator[Sequence[str]]:
    """A row for each change; layers that change alike are one."""
    for name in CHANGING:
        for link in LINKS:
            alike: dict[Change, list[str]] = defaultdict(list)
            for layer, change in changes(name, 4, link):
                alike[change].append(layer)
            for (batch, before, after), layers in sorted(alike.items()):
                yield name, link, ", ".join(layers), before, f"{batch:,}", after


def neighbours(graph: Graph, layer: str) -> tuple[str | None, str | None]:
    """The layer that a layer reads, and the first one that reads it, in the forward pass."""
    own = [node for node in graph.by_layer[layer] if node.phase == "forward"]
    before = (graph[name].layer for node in own for name in node.inputs)
    behind = (
        graph[user].layer
        for node in own
        for user in graph.users[node.name]
        if graph[user].phase == "forward"
    )
    first, last = (
        next((each for each in many if each != layer), None) for many in (before, behind)
    )
    return first, last


def habits(cases: Sequence[Case]) -> dict[str, Counter[str]]:
    """By kind of layer, how often it is split as the layer before, as the one behind, as both, or
    as neither."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        for layer, split in case.splits.items():
            kind = layer_kind(case.graph, layer)
            before, behind = neighbours(case.graph, layer)
            if kind not in BETWEEN or before is None:
                continue
            as_before = case.splits.get(before) == split
            as_behind = behind is not None and case.splits.get(behind) == split
            word = {(True, True): "both", (True, False): "before", (False, True): "behind"}.get(
                (as_before, as_behind), "neither"
            )
            counts[kind][word] += 1
    return counts


def habit_rows(counts: Mapping[str, Counter[str]]) -> Iterator[Sequence[str]]:
    """A row for each kind of layer."""
    for kind in BETWEEN:
        own = counts.get(kind, Counter())
        total = sum(own.values())
        if total:
            shares = (
                f"{100 * own[w] / total:.0f} %" for w in ("both", "before", "behind", "neither")
            )
            yield (kind, str(total), *shares)


def letters(cases: Sequence[Case], of: str) -> Iterator[Sequence[str]]:
    """By the value of a case's field, the parts of the splits that layers in between have."""
    values = list(dict.fromkeys(getattr(case, of) for case in cases))
    for value in values:
        own: Counter[str] = Counter()
        for case in cases:
            if getattr(case, of) == value:
                kinds = ((layer_kind(case.graph, layer), s) for layer, s in case.splits.items())
                own.update(split[0] for kind, split in kinds if kind in BETWEEN)
        total = sum(own.values())
        yield (str(value), *(f"{100 * own[c] / total:.0f} %" for c in "nkhwr"), _rest(own, total))


def _rest(own: Counter[str], total: int) -> str:
    return f"{100 * sum(n for c, n in own.items() if c not in 'nkhwr') / total:.0f} %"


def prices(case: Case) -> Iterator[Sequence[str]]:
    """What every split of some layers would cost, beside the plan's."""
    mesh, cluster = line_mesh(case.devices), machine(LINKS[case.link])
    every = alternatives(case.graph, mesh, cluster, case.splits)
    for layer in SHOWN.get(case.network, ()):
        if layer in every:
            (taken,) = (each for each in every[layer] if each.chosen)
            others = "; ".join(_more(each, taken) for each in every[layer] if each is not taken)
            around = [
                ",".join(case.splits[n]) if n is not None and n in case.splits else "-"
                for n in neighbours(case.graph, layer)
            ]
            yield (layer, around[0], ",".join(taken.split), around[1], others)


def _more(each: Alternative, taken: Alternative) -> str:
    more = 1e6 * (each.seconds - taken.seconds)
    return f"{','.join(each.split)} {more:+,.0f}"


def table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """In Markdown."""
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def page(cases: Sequence[Case]) -> Iterator[str]:
    """The page."""
    many = len(cases)
    yield f"""\
# Layers in between: which split suits them

Written by `python benchmarks/layers_between.py`: {many} plans,
of {", ".join(NETWORKS)}, with batches of {", ".join(map(str, BATCHES))} images over
{", ".join(map(str, DEVICES))} devices (P100), joined by links of
{", ".join(f"{r / 1e9:g} GB/s" for r in LINKS.values())}. Each is the optimum of the additive model
over `n`, `k`, `c`, `h`, `w`, everywhere (`r`) and one device (`@0`) for every layer, half of the
gradients' exchange hidden ([adr/0018-search.md](adr/0018-search.md)).

## Whom they follow

How often a layer is split as the one it reads and as the first one that reads it (both), as one of
them, or as neither. Where both are split alike there is nothing to decide.
"""
    yield from table(("layer", "cases", "both", "as before", "as behind", "neither"),
                     habit_rows(habits(cases)))  # fmt: skip
    yield "\n## By what they are split\n"
    for of, words in (("batch", "batch"), ("devices", "devices"), ("link", "link")):
        yield from table((words, "n", "k", "h", "w", "r", "one device"), letters(cases, of))
        yield ""
    yield f"""\
The size of windows: {len(KERNELS) * len(BATCHES) * len(LINKS)} plans, with the same batches and
links on 4 devices, of a network of four convolutions with batch norm, pooled three times, and two
dense layers.
"""
    sizes = [
        replace(found(of_kernels(size), batch, 4, link), network=f"{size}x{size}")
        for size in KERNELS
        for batch in BATCHES
        for link in LINKS
    ]
    yield from table(("windows", "n", "k", "h", "w", "r", "one device"), letters(sizes, "network"))
    yield f"""
Windows of one pixel have no borders: a split by height then costs what one by samples does.

## From which batch on

On 4 devices, the layers whose split changes with the batch, of {LEAST} to {MOST:,} images: up to
which batch each has the split before. All others are split alike throughout.
"""
    yield from table(("network", "link", "layers", "up to it", "batch", "beyond"), change_rows())
    yield """
## What else would cost

For two networks on 4 devices with PCI Express and 256 images: a layer's split between those of the
layer before and behind, and by how many microseconds a step every other split is dearer, all other
layers as they are.
"""
    for case in cases:
        if (case.batch, case.devices, case.link) == (256, 4, "PCI Express") and (
            case.network in SHOWN
        ):
            yield f"**{case.network}**\n"
            header = ("layer", "before", "split", "behind", "others, microseconds more")
            yield from table(header, prices(case))
            yield ""


RULE = """\
## The rule of thumb

A layer in between has next to no arithmetic and no weights worth an exchange, so moving its
values costs more than it could gain: **it is split as its neighbours are**, which in nearly all
plans are alike. Where they differ, the change goes where the values are fewest: behind a pooling
layer, which stays as the layer before it; an activation or a dropout is as large before as
behind, and stays with either. Behind a dense layer that leaves sums in parts, and for the loss,
everywhere (`r`) is taken: what is there is small, and whoever comes next has it. Height and width
are never taken at these sizes, but where windows have one pixel: their borders cost what a split by
samples does not. The smaller the batch, the larger the windows and the faster the links, the more
layers are split by channels; the slower the links, the more is done everywhere. From some thousand
images on, exchanging weights costs less than exchanging images, and dense layers are split by
samples as well.
"""


def main() -> None:
    """Write the page."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("-o", "--output", type=Path, default=Path("docs/layers-between.md"))
    path = options.parse_args().output
    cases = [
        found(network(name), batch, devices, link)
        for name in NETWORKS
        for batch in BATCHES
        for devices in DEVICES
        for link in LINKS
    ]
    path.write_text("\n".join([*page(cases), RULE]).rstrip() + "\n")


if __name__ == "__main__":
    main()
