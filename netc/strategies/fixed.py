"""The strategies that need no search.

Each is declared once, in `FIXED`: the command line, `--help` and tests follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netc.ir.graph import Graph
from netc.ir.plan import Split
from netc.strategies.labels import REPLICATED, is_input, layer_kind, layer_letters

AUTO_ABOUT = "the fastest by prediction: a search over the splits of every layer, and the others"
"""What `auto` does, for lists; it is no fixed strategy."""
Choice = Callable[[str, str, str, str], str]
"""From a layer's kind, its letters, its producer's label and its name to its label."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to split a network."""

    name: str
    about: str
    """What it does, for lists."""
    choice: Choice

    def choose(self, graph: Graph, axes: int) -> dict[str, Split]:
        """The split of every layer over a mesh of so many axes."""
        return _choose(graph, axes, self.choice)


def _model(kind: str, letters: str, producer: str, layer: str) -> str:
    return "k" if "k" in letters else REPLICATED


def _hybrid(kind: str, letters: str, producer: str, layer: str) -> str:
    """One weird trick (Krizhevsky 2014)."""
    if kind in ("fc", "softmax_loss"):
        return "k"
    if kind == "conv":
        return "n"
    return producer if producer in letters else REPLICATED


def _spatial(kind: str, letters: str, producer: str, layer: str) -> str:
    """Convolutions and pooling by height (Jia et al. 2018), the rest as `_hybrid`."""
    if kind in ("conv", "maxpool", "avgpool") and "h" in letters:
        return "h"
    return _hybrid(kind, letters, producer, layer)


FIXED: Mapping[str, Strategy] = {
    each.name: each
    for each in (
        Strategy("single", "everything on device 0", lambda *layer: "@0"),
        Strategy("data", "every layer by `n`", lambda *layer: "n"),
        Strategy("model", "every layer by `k`, or `r` where it has no `k`", _model),
        Strategy(
            "hybrid",
            "convolutions by `n`, fully connected layers and the loss by `k`, the others as their "
            "producer",
            _hybrid,
        ),
        Strategy(
            "spatial",
            "convolutions and pooling by the height, the others as in `hybrid`",
            _spatial,
        ),
    )
}
"""Strategies by name."""


def _choose(graph: Graph, axes: int, choice: Choice) -> dict[str, Split]:
    """Ask for every layer in order, then let the inputs follow their first reader."""
    chosen: dict[str, str] = {}
    for layer, letters in layer_letters(graph).items():
        if not is_input(graph, layer):
            producer = chosen.get(_producer(graph, layer), "n")
            chosen[layer] = choice(layer_kind(graph, layer), letters, producer, layer)
    first = next(iter(chosen.values()))
    inputs = {
        layer: first if first in letters or first.startswith("@") else REPLICATED
        for layer, letters in layer_letters(graph).items() if is_input(graph, layer)
    }  # fmt: skip
    return {layer: (label,) * axes for layer, label in (inputs | chosen).items()}


def _producer(graph: Graph, layer: str) -> str:
    """The layer that feeds this one first."""
    for node in graph.by_layer[layer]:
        if node.phase == "forward":
            for operand in node.inputs:
                if graph[operand].layer != layer:
                    return graph[operand].layer
    raise AssertionError(f"layer {layer} has no producer")
