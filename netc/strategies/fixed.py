"""The strategies that need no search: single, data, model, hybrid."""

from __future__ import annotations

from collections.abc import Callable

from netc.ir.graph import Graph
from netc.ir.plan import Split
from netc.strategies.labels import REPLICATED, is_input, layer_kind, layer_letters

Choice = Callable[[str, str, str, str], str]
"""From a layer's kind, its letters, its producer's label and its name to its label."""


def single(graph: Graph, axes: int) -> dict[str, Split]:
    """Everything on the first device."""
    return _choose(graph, axes, lambda kind, letters, producer, layer: "@0")


def data(graph: Graph, axes: int) -> dict[str, Split]:
    """Everything by the batch."""
    return _choose(graph, axes, lambda kind, letters, producer, layer: "n")


def model(graph: Graph, axes: int) -> dict[str, Split]:
    """Everything by the output channels; layers that cannot be are computed everywhere."""
    return _choose(graph, axes, _model)


def _model(kind: str, letters: str, producer: str, layer: str) -> str:
    return "k" if "k" in letters else REPLICATED


def hybrid(graph: Graph, axes: int) -> dict[str, Split]:
    """One weird trick (Krizhevsky 2014): fully connected by k, convolutions by n.

    The layers between follow their producer, the loss goes by k.
    """
    return _choose(graph, axes, _hybrid)


def _hybrid(kind: str, letters: str, producer: str, layer: str) -> str:
    if kind in ("fc", "softmax_loss"):
        return "k"
    if kind == "conv":
        return "n"
    return producer if producer in letters else REPLICATED


FIXED: dict[str, Callable[[Graph, int], dict[str, Split]]] = {
    "single": single,
    "data": data,
    "model": model,
    "hybrid": hybrid,
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
    source = first if first == "n" or first.startswith("@") else REPLICATED
    inputs = (layer for layer in layer_letters(graph) if is_input(graph, layer))
    return {
        layer: (label,) * axes for layer, label in (dict.fromkeys(inputs, source) | chosen).items()
    }


def _producer(graph: Graph, layer: str) -> str:
    """The layer that feeds this one first."""
    for node in graph.by_layer[layer]:
        if node.phase == "forward":
            for operand in node.inputs:
                if graph[operand].layer != layer:
                    return graph[operand].layer
    raise AssertionError(f"layer {layer} has no producer")
