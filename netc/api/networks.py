"""Networks by a path or a shipped name, with their parameters, and what their recipes say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import netc_models
from netc.api.compiled import is_compiled, no_network
from netc.api.shipped import find
from netc.errors import Diagnostic, UsageError, clip
from netc.ir.graph import Graph
from netc.ir.optimizers import WeightRule
from netc.passes.build_graph import build_graph
from netc.passes.differentiate import check_rules
from netc.syntax import Call, Network, Recipe, WholeRecipe, parse_file

ONNX = ".onnx"
"""The suffix of models that are imported, not read."""


def read_network(
    name: str, defines: Mapping[str, str], settings: Sequence[str], asked: str
) -> Network:
    """The network of a path or a shipped name, with parameters, and settings of its recipe
    (`train.NAME=VALUE` each); `asked` is what wants it, in a word.

    Raises as `parse_file`, and UsageError: E051 for an unknown name, E057 for a compiled program or
    an ONNX model.
    """
    path = find(name, netc_models, ".net")
    if path.suffix.lower() == ONNX and path.is_file():
        shown = clip(str(path), 80)
        message = f"'{shown}' is an ONNX model, and no network."
        hint = f"'netc import {shown} -o X.net' makes one of it."
        raise UsageError(Diagnostic("E057", message, help=hint))
    if is_compiled(path):
        raise UsageError(no_network(path, asked))
    return parse_file(path, defines, settings)


def weight_rules(recipe: Recipe | WholeRecipe) -> tuple[WeightRule, ...]:
    """How a recipe moves some weights otherwise than the rest."""
    return tuple(_rule(each) for each in recipe.weights)


def _rule(call: Call) -> WeightRule:
    told: dict[str, Any] = dict(call.kwargs)
    return WeightRule(str(call.args[0]), **told, span=call.span)


def checked_graph(network: Network) -> Graph:
    """The graph of a network for one image. Raises NetError where shapes, or what its recipe says
    of weights, are wrong.
    """
    graph = build_graph(network, batch=1)
    check_rules(graph, weight_rules(network.recipe))
    return graph
