"""choose-splits: a strategy and pins become one legal split for every layer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from netc.errors import ERROR_LIMIT, Diagnostic, PlanError, Span, did_you_mean
from netc.ir.graph import Graph
from netc.ir.plan import Split
from netc.ir.types import Mesh
from netc.strategies.fixed import FIXED
from netc.strategies.labels import NAMES, layer_kind, layer_letters, parse_split, why_not

Splits = dict[str, Split]
"""The split of every layer."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A split asked for by a person: `--pin 'fc*=k'`, or a line of a strategy file."""

    pattern: str
    """A layer's name, or a shell pattern; without a dot it also matches inside blocks."""
    split: str
    span: Span | None = None
    """Where it was asked for, if in a file."""


def choose_splits(graph: Graph, mesh: Mesh, strategy: str, pins: Sequence[Pin] = ()) -> Splits:
    """One split for every layer of `graph`: the strategy's, then the pins in order.

    Raises PlanError where a pin matches no layer, or asks for a split that the layer lacks.
    """
    splits = FIXED[strategy].choose(graph, len(mesh.shape))
    problems: list[Diagnostic] = []
    pinned: dict[str, Pin] = {}
    for pin in pins:
        layers = matching(pin.pattern, splits)
        split = parse_split(pin.split, len(mesh.shape))
        if not layers:
            problems.append(unmatched(pin, splits))
        elif split is None:
            problems.append(_unreadable(pin, len(mesh.shape)))
        else:
            splits.update(dict.fromkeys(layers, split))
            pinned.update(dict.fromkeys(layers, pin))
        if len(problems) >= ERROR_LIMIT:
            raise PlanError(*problems)
    problems += _illegal(graph, mesh, splits, pinned)
    if problems:
        raise PlanError(*problems[:ERROR_LIMIT])
    return splits


def matching(pattern: str, splits: Collection[str]) -> list[str]:
    """The one layer of this name, or all that the pattern matches, also inside blocks."""
    if pattern in splits:
        return [pattern]
    return [
        layer
        for layer in splits
        if fnmatchcase(layer, pattern) or fnmatchcase(layer.rsplit(".", 1)[-1], pattern)
    ]


def unmatched(pin: Pin, splits: Collection[str]) -> Diagnostic:
    """What is wrong with a pattern that no layer matches."""
    hint = did_you_mean(pin.pattern, splits) + "'netc summary' lists the layers."
    return Diagnostic("E042", f"no layer matches '{pin.pattern}'.", pin.span, help=hint)


def _unreadable(pin: Pin, axes: int) -> Diagnostic:
    labels = "n, k, c, h, w, r (everywhere) or @0 (on one device)"
    each = labels if axes == 1 else f"{axes} of them with commas between: {labels}"
    message = f"'{pin.split}' is not a split of '{pin.pattern}'."
    return Diagnostic("E042", message, pin.span, help=f"a split is {each}.")


def _illegal(graph: Graph, mesh: Mesh, splits: Splits, pinned: dict[str, Pin]) -> list[Diagnostic]:
    """Labels that a layer lacks, and coordinates that the mesh lacks."""
    problems = []
    letters = layer_letters(graph)
    for layer, split in splits.items():
        for axis, label in enumerate(split):
            if label in letters[layer] or label == "r":
                continue
            if label.startswith("@"):
                if int(label[1:]) < mesh.shape[axis]:
                    continue
                message = (
                    f"'{layer}' is pinned to {label}, but there are {mesh.shape[axis]} devices."
                )
                problems.append(Diagnostic("E041", message, _place(graph, layer, pinned)))
                continue
            problems.append(_lacks(graph, layer, label, letters[layer], pinned))
    return problems


def _lacks(
    graph: Graph, layer: str, label: str, letters: str, pinned: dict[str, Pin]
) -> Diagnostic:
    kind = layer_kind(graph, layer)
    message = f"split '{label}' on '{layer}' is not possible: {why_not(kind, label)}."
    known = ", ".join(f"{c} ({NAMES[c]})" for c in letters)
    hint = f"'{layer}' can be split by {known}, or computed everywhere (r) or on one device (@0)."
    asked = pinned.get(layer)
    notes = (f"asked for by '{asked.pattern}={asked.split}'",) if asked else ()
    return Diagnostic("E041", message, _place(graph, layer, pinned), notes=notes, help=hint)


def _place(graph: Graph, layer: str, pinned: dict[str, Pin]) -> Span | None:
    """The layer in the network file; a strategy file's own line is told in a note."""
    spans = (node.span for node in graph.by_layer[layer] if node.span)
    return next(spans, pinned[layer].span if layer in pinned else None)
